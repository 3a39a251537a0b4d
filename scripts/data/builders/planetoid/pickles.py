"""pickles: reads the pickles of Planetoid and nothing else.

A pickle is a program: it may import any function and call it. These were written by Python 2, and
need no more than arrays of numpy, sparse matrices of scipy, and a dict of lists; anything else that
one asks for is refused before it is imported.
"""

import collections
import pickle

import numpy as np

from scripts.training.command_line import InputError


class SparseMatrix:
    """What a pickled csr_matrix holds: `data`, `indices` and `indptr`. It runs no code of scipy."""


def empty_array(kind, shape, letter):
    """What numpy's `_reconstruct` makes, before a pickle fills it."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError(f"an array begins empty, received {kind}, {shape}")
    return np.ndarray(shape, letter)


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): empty_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("scipy.sparse.csr", "csr_matrix"): SparseMatrix,
    ("collections", "defaultdict"): collections.defaultdict,
    ("__builtin__", "list"): list,
}


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ALLOWED[module, name]


def read(path):
    """What the pickle at `path` holds.

    Raises:
        InputError: it asks for something that data do not need, or is not a pickle.
    """
    with open(path, "rb") as file:
        try:
            return Unpickler(file, encoding="latin1").load()
        except Exception as error:  # what bytes that are not a pickle raise is not documented
            raise InputError(f"{path} is not read, for safety: {error}") from error
