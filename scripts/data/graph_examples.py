"""graph_examples: what the builders of graphs share, and the names that their features have.

The names are those of tfds' `ogbg_molpcba`, so that one pipeline reads all:

    num_nodes (1,)      node_feat (N, F)    labels: of the graph, or one for each node
    num_edges (1,)      edge_feat (E, F')   edge_index (E, 2), rows (source, target)

A graph with a class for each node also has split (N,), the part that a node's label belongs to;
and where features are sparse, it has in place of node_feat the nonzero columns and their values,
node_ids (N, L), padded with -1, and node_weights (N, L).
"""

import hashlib
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from scripts.training.command_line import InputError

PARTS = ("train", "validation", "test", "none")


def graph_features(labels, width, edge_width=None):
    """The features of graphs with `width` numbers a node."""
    edges = {"edge_feat": matrix(np.float32, edge_width)} if edge_width else {}
    return tfds.features.FeaturesDict(
        {
            "num_nodes": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            "node_feat": matrix(np.float32, width),
            "num_edges": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            **edges,
            "edge_index": matrix(np.int64, 2),
            "labels": labels,
        }
    )


def node_features(classes, width=None):
    """The features of a graph with a class for each node; sparse ones where `width` is None."""
    sparse = {"node_ids": matrix(np.int32), "node_weights": matrix(np.float32)}
    return tfds.features.FeaturesDict(
        {
            "num_nodes": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            **({"node_feat": matrix(np.float32, width)} if width else sparse),
            "num_edges": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            "edge_index": matrix(np.int64, 2),
            "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=classes)),
            "split": tfds.features.Sequence(tfds.features.ClassLabel(names=PARTS)),
        }
    )


def matrix(dtype, width=None):
    encoding = "none" if width else "zlib"  # tfds wants one where both sizes are unknown
    return tfds.features.Tensor(shape=(None, width), dtype=dtype, encoding=encoding)


def structure(num_nodes, edges):
    """The entries of an example that describe its edges."""
    return {
        "num_nodes": np.array([num_nodes]),
        "num_edges": np.array([len(edges)]),
        "edge_index": edges.astype("int64"),
    }


def split_of(num_nodes, **parts):
    """The feature `split`, from the nodes of each part."""
    split = np.full(num_nodes, PARTS.index("none"))
    for name, nodes in parts.items():
        split[nodes] = PARTS.index(name)
    return split


def fetch(dl_manager, url, sums):
    """The path of a file, found by its name or downloaded, whose sha256 is `sums[name]`.

    tfds verifies checksums only where it also knows the file's size; this one is always verified.

    Raises:
        InputError: the file has another checksum.
    """
    name = url.rpartition("/")[2]
    # The public name is meant for data sets that can only be downloaded by hand.
    folder = dl_manager._manual_dir
    if folder is not None and (pathlib.Path(folder) / name).is_file():
        path = pathlib.Path(folder) / name
    else:
        path = pathlib.Path(dl_manager.download(url))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sums[name]:
        raise InputError(f"{path} is not {name}: its sha256 is {found}, expected {sums[name]}")
    return path
