"""How fast this is, beside Keras, PyTorch and PyG, and beside what the machine can do.

    python -m scripts.benchmark                          all layers, small sizes, against Keras
    python -m scripts.benchmark LSTM GRU --sizes all --mode xla --csv
    python -m scripts.benchmark --mode eager             layers called eagerly, on tiny inputs
    python -m scripts.benchmark --against torch --torch-python PATH
    python -m scripts.benchmark --against pyg --torch-python PATH --mode xla    layers of graphs
    python -m scripts.benchmark models [MODEL ...]       fit and predict of whole models
    python -m scripts.benchmark lengths                  an epoch of texts of 50 lengths
    python -m scripts.benchmark --markdown               the tables of README, from the CSVs

Ours and the other are timed in turn, one call each, in one process (PyTorch: a second process that
waits while ours runs). The table gives medians over the pairs, the ratio other/ours with its
quartiles (above 1: ours is faster), the bytes kept between forward and backward, and the floor:
the bare matrix products, or one pass over the bytes. A step is the forward and the gradients of
inputs and weights; of GCN and GAT, all that `fit` does for a batch.
"""

import argparse
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

import custom_layers
from scripts.benchmark.graphs import every_graph_case
from scripts.benchmark.layers import every_case, tiny_cases
from scripts.benchmark.models import every_model, length_rows, model_rows
from scripts.benchmark.results import results_path, row, show, write_csv, write_readme
from scripts.benchmark.rivals.worker import Worker, threads
from scripts.benchmark.timing import compare, functions, kept_bytes, median, seconds
from scripts.training.command_line import InputError, Parser, count, one_line_errors


def floor_seconds(case):
    if case.floor is None:
        return None
    function = case.floor()
    return median([seconds(function) for _ in range(13)][3:])


def keras_rows(case, mode, pairs):
    x = tf.constant(case.inputs())
    layers = [case.build(space) for space in (custom_layers, keras.layers)]
    built = [functions(layer, x, mode) for layer in layers]
    kept = [kept_bytes(layer, x) if mode == "graph" else None for layer in layers]
    floor = floor_seconds(case)
    for n, name in enumerate(("forward", "step")):
        ours, other = (lambda f=f[n]: seconds(f) for f in built)
        times = compare(ours, other, pairs)
        extra = (floor, kept) if name == "step" else ()
        yield row(case.layer, case.size, mode, "Keras", name, times, *extra)


def torch_rows(case, mode, pairs, worker):
    if not worker.ask(prepare=case.layer, size=case.size, shape=case.shape):
        return
    x, layer = tf.constant(case.inputs()), case.build(custom_layers)
    floor = floor_seconds(case)
    for name, function in zip(("forward", "step"), functions(layer, x, mode), strict=True):
        times = compare(*timers(function, name, worker), pairs)
        extra = (floor,) if name == "step" else ()
        yield row(case.layer, case.size, mode, "PyTorch", name, times, *extra)


def pyg_rows(case, mode, pairs, worker):
    arrays = case.arrays()
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "arrays.npz")
        np.savez(file, **arrays)
        worker.ask(prepare=case.name, file=file)
    for name, function in case.ours(arrays, mode).items():
        times = compare(*timers(function, name, worker), pairs)
        yield row(case.name, case.size, mode, "PyG", name, times)


def timers(function, name, worker):
    return (lambda: seconds(function)), (lambda: worker.ask(time=name))


def parse(argv):
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="*", help="names of layers, or: models [MODEL ...], lengths")
    parser.add_argument("--mode", choices=["graph", "xla", "eager"], default="graph")
    parser.add_argument("--against", choices=["keras", "torch", "pyg"], default="keras")
    parser.add_argument("--sizes", choices=["small", "all"], default="small")
    parser.add_argument("--pairs", type=count, help="how often (31; of lengths 3)")
    parser.add_argument("--threads", type=count, help="use so many processors (default: all)")
    parser.add_argument("--torch-python", help="a Python that has torch (and torch_geometric)")
    parser.add_argument("--csv", action="store_true", help="write to scripts/results/")
    parser.add_argument("--markdown", action="store_true", help="write README's tables from CSVs")
    arguments = parser.parse_intermixed_args(argv)
    subject = arguments.name[0] if arguments.name else None
    special = subject in ("models", "lengths")
    arguments.subject = subject if special else arguments.against
    arguments.name = arguments.name[special:]
    if special and arguments.against != "keras":
        raise InputError(f"{subject} are measured against keras, not {arguments.against}")
    if special and arguments.mode == "eager":
        raise InputError(f"{subject} are measured with --mode graph or xla, not eager")
    if arguments.against != "keras" and not arguments.torch_python:
        raise InputError(f"--against {arguments.against} needs --torch-python")
    if arguments.torch_python and not os.access(arguments.torch_python, os.X_OK):
        raise InputError(f"--torch-python {arguments.torch_python} is no program")
    if arguments.threads and arguments.threads > threads():
        raise InputError(f"--threads {arguments.threads}: there are {threads()} processors")
    return arguments


def chosen(arguments):
    """The cases that were asked for."""
    if arguments.subject == "lengths":
        known = {}
    elif arguments.subject == "models":
        known = every_model()
    elif arguments.subject == "pyg":
        known = every_graph_case()
    else:
        known = tiny_cases() if arguments.mode == "eager" else every_case()

    def name(case):
        return getattr(case, "layer", None) or case.name

    names = {name(case) for case in known}
    if unknown := set(arguments.name) - names:
        unknown, names = (", ".join(sorted(some)) for some in (unknown, names))
        raise InputError(f"unknown name {unknown}; known: {names or 'none'}")
    cases = [case for case in known if not arguments.name or name(case) in arguments.name]
    if arguments.sizes == "small":
        cases = [case for case in cases if getattr(case, "small", True)]
    return cases


def measure(cases, arguments, worker):
    mode, pairs = arguments.mode, arguments.pairs or 31
    if arguments.subject == "lengths":
        yield from length_rows(mode, arguments.pairs or 3)
    for case in cases:
        if arguments.subject == "models":
            yield from model_rows(case, mode, pairs)
        elif arguments.subject == "keras":
            yield from keras_rows(case, mode, pairs)
        elif arguments.subject == "torch":
            yield from torch_rows(case, mode, pairs, worker)
        else:
            yield from pyg_rows(case, mode, pairs, worker)
        keras.backend.clear_session()  # the next case does not pay for what this one made


def main(argv=None):
    with one_line_errors():
        arguments = parse(argv)
        cases = chosen(arguments)
    if arguments.markdown:
        write_readme()
        return
    if arguments.threads:  # before the first operation, which starts as many threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    worker = None
    if arguments.subject in ("torch", "pyg"):
        worker = Worker(arguments.torch_python, f"{arguments.subject}_worker.py")
    rows = show(measure(cases, arguments, worker))
    versions = worker.ask(versions=True) if worker else {}
    if arguments.csv:
        subject = arguments.subject + ("1" if arguments.threads == 1 else "")
        write_csv(results_path(subject, arguments.mode), rows, versions)
    if worker:
        worker.close()


if __name__ == "__main__":
    main()
