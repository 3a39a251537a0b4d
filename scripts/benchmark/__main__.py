"""The speed of layers and models, compared with Keras, PyTorch, PyG and the machine's own limit.

    python -m scripts.benchmark                          all layers, small sizes, against Keras
    python -m scripts.benchmark LSTM GRU --sizes all --mode xla --csv
    python -m scripts.benchmark --mode eager             layers called eagerly, on tiny inputs
    python -m scripts.benchmark --against torch --torch-python PATH
    python -m scripts.benchmark --against pyg --torch-python PATH --mode xla    layers of graphs
    python -m scripts.benchmark models --against torch --torch-python PATH      an epoch of training
    python -m scripts.benchmark models [MODEL ...]       fit and predict of whole models
    python -m scripts.benchmark lengths                  an epoch of texts of 50 lengths
    python -m scripts.benchmark first [MODEL ...]        the first steps of whole models
    python -m scripts.benchmark --markdown               the tables of README, from the CSVs

Both sides are timed in turn, one call each, in one process (PyTorch: in a second process, which
waits while ours runs). The table shows medians over the pairs, the ratio other/ours with its
quartiles (above 1: ours is faster), the bytes kept between forward and backward, and the floor: the
bare matrix products, or one pass over the bytes. A step is the forward and the gradients of inputs
and weights; for GCN and GAT, all that `fit` does for a batch. A first step, and the first of a new
shape, include tracing and compilation; kept is what the process grew by for the new shape.
"""

import os

import keras

import custom_layers
from scripts.benchmark import timing
from scripts.benchmark.first_steps import NEW_SHAPE, every_first
from scripts.benchmark.graphs import every_graph_case
from scripts.benchmark.layers import every_case, tiny_cases
from scripts.benchmark.models import every_model, many_lengths
from scripts.benchmark.results import results_path, row, show, write_csv, write_readme
from scripts.benchmark.rivals.worker import Worker
from scripts.benchmark.trainings import every_training
from scripts.training.command_line import InputError, Parser, count, one_line_errors

RIVALS = {"keras": "Keras", "torch": "PyTorch", "pyg": "PyG"}  # as the table has them


def case_rows(case, mode, pairs, against, worker):
    """The row of each pass of a case; none if the rival has no such layer."""
    data = case.data()
    theirs = worker.timers(case, data) if worker else case.timers(data, keras.layers, mode)
    ours = case.timers(data, custom_layers, mode) if theirs else {}
    floor = timing.alone(case.floor()) if ours and case.floor else None
    kept = (None, None)
    if case.kept and mode == "graph" and not worker:
        kept = [case.kept(data, layers) for layers in (custom_layers, keras.layers)]
    for name in [name for name in ours if name in theirs]:
        times = case.times(ours[name], theirs[name], pairs)
        extra = (floor, kept) if name in ("step", NEW_SHAPE) else ()
        yield row(case.name, case.size, mode, RIVALS[against], name, times, *extra)


def parse(argv):
    parser = Parser(
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument(
        "name", nargs="*", help="layers, or: models [MODEL ...], or: first [MODEL ...], or: lengths"
    )
    parser.add_argument(
        "--mode", choices=["graph", "xla", "eager"], default="graph", help="how it runs"
    )
    parser.add_argument("--against", choices=RIVALS, default="keras", help="beside whom")
    parser.add_argument(
        "--sizes", choices=["small", "all"], default="small", help="of the layers' input"
    )
    parser.add_argument(
        "--pairs", type=count, help="how often both are timed (default: 31; first: 5; lengths: 3)"
    )
    parser.add_argument("--threads", type=count, help="how many processors to use (default: all)")
    parser.add_argument("--torch-python", help="a Python that has torch (and torch_geometric)")
    parser.add_argument("--csv", action="store_true", help="write to scripts/results/")
    parser.add_argument("--markdown", action="store_true", help="write README's tables")
    arguments = parser.parse_intermixed_args(argv)
    subject = arguments.name[0] if arguments.name else None
    special = subject in ("models", "first", "lengths")
    arguments.subject = subject if special else arguments.against
    arguments.name = arguments.name[special:]
    if subject == "models" and arguments.against == "torch":
        arguments.subject = "trainings"
    elif special and arguments.against != "keras":
        raise InputError(f"{subject} are measured against keras, not {arguments.against}")
    if special and arguments.mode == "eager":
        raise InputError(f"{subject} are measured with --mode graph or xla, not eager")
    if arguments.against != "keras" and not arguments.torch_python:
        raise InputError(f"--against {arguments.against} needs --torch-python")
    if arguments.torch_python and not os.access(arguments.torch_python, os.X_OK):
        raise InputError(f"--torch-python {arguments.torch_python} is not a program")
    processors = len(os.sched_getaffinity(0))
    if arguments.threads and arguments.threads > processors:
        raise InputError(f"--threads {arguments.threads}: there are {processors} processors")
    return arguments


def chosen(arguments):
    """The cases that were asked for."""
    layers = tiny_cases if arguments.mode == "eager" else every_case
    cases = {"models": every_model, "first": every_first, "lengths": many_lengths}
    cases |= {"pyg": every_graph_case, "trainings": every_training}
    known = cases.get(arguments.subject, layers)()
    names = {case.name for case in known if arguments.subject != "lengths"}
    if unknown := set(arguments.name) - names:
        unknown, names = (", ".join(sorted(some)) for some in (unknown, names))
        raise InputError(f"unknown name {unknown}; known: {names or 'none'}")
    return [
        case
        for case in known
        if (not arguments.name or case.name in arguments.name)
        and (arguments.sizes == "all" or case.small)
    ]


def measure(cases, arguments, worker):
    for case in cases:
        yield from case_rows(case, arguments.mode, arguments.pairs, arguments.against, worker)
        keras.backend.clear_session()  # the next case does not pay for what this one made


def main(argv=None):
    with one_line_errors():
        arguments = parse(argv)
        cases = chosen(arguments)
    if arguments.markdown:
        write_readme()
        return
    if arguments.threads:  # before the first operation, which starts the threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    worker = None
    if arguments.against != "keras":
        rival = {"torch": "pytorch"}.get(arguments.subject, arguments.subject)
        worker = Worker(arguments.torch_python, rival)
    rows = show(measure(cases, arguments, worker))
    versions = worker.ask(versions=True) if worker else {}
    if arguments.csv:
        subject = arguments.subject + ("1" if arguments.threads == 1 else "")
        write_csv(results_path(subject, arguments.mode), rows, versions)
    if worker:
        worker.close()


if __name__ == "__main__":
    main()
