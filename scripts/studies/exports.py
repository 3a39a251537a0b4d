"""Export a tiny model of each kind in every format, and let other programs answer with it:

    python -m scripts.studies.exports

Each program has a process of its own without anything of this project. The table, in Markdown, has
the largest differences from the answers of the model itself.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from scripts.export import formats
from scripts.export.formats import named
from scripts.export.tiny_models import TINY
from scripts.training import command_line, record

CONSUMER = pathlib.Path(__file__).parents[1] / "export" / "consumer.py"
COUNTS = 3, 1, 8  # of examples, nodes or graphs
COLUMNS = {  # consumer: the format that it reads, and the heading of its column
    "saved_model": ("saved_model", "SavedModel, `tf.saved_model.load`"),
    "tfsm_layer": ("saved_model", "SavedModel, `keras.layers.TFSMLayer`"),
    "onnx": ("onnx", "ONNX, onnxruntime"),
    "litert": ("litert", "LiteRT, ai-edge-litert"),
}


def expected(model, x):
    import tensorflow as tf

    y = model(tf.nest.map_structure(tf.constant, x), training=False)
    y = y if isinstance(y, dict) else formats.numbered(y)
    return {name: np.asarray(part) for name, part in y.items()}


def export(tiny, model, path, format):
    """Write the model for any number of examples, or for one if the format cannot do more.

    Returns:
        The note in the table, and the numbers of examples to try.
    """
    if formats.write_for_most(model, path, format) == 1:
        return " (one at a time)", [1]
    return "", [n + tiny.least for n in COUNTS]


def answers(kind, jobs):
    """The answers of a kind of consumer, as {output: array}; jobs are (path of model, inputs)."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, (path, inputs) in enumerate(jobs):
            np.savez(f"{folder}/x{i}.npz", **inputs)
            files += [path, f"{folder}/x{i}.npz", f"{folder}/y{i}.npz"]
        done = subprocess.run(
            [sys.executable, "-I", CONSUMER, kind, *files],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{kind}: {done.stderr[-2000:]}")
        return [dict(np.load(file)) for file in files[2::3]]


def difference(actual, wanted):
    """The largest difference, divided by the largest number if that is above 1.

    Infinite if an output is missing, has another shape or dtype, or is NaN.
    """
    if actual.keys() != wanted.keys():
        return np.inf
    worst = 0.0
    for name, y in wanted.items():
        if actual[name].shape != y.shape or actual[name].dtype != y.dtype:
            return np.inf
        if y.size:
            scale = max(1.0, np.abs(y).max())
            worst = np.maximum(worst, np.abs(actual[name].astype("float64") - y).max() / scale)
    return np.inf if np.isnan(worst) else float(worst)


def measure(names, kinds):
    """{(name of the model, kind of consumer): its cell in the table}"""
    cells, jobs = {}, {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            tiny = TINY[name]
            model = tiny.build()
            for format in dict.fromkeys(COLUMNS[kind][0] for kind in kinds):
                path = pathlib.Path(folder, format, name.replace(" ", "_"))
                mine = [kind for kind in kinds if COLUMNS[kind][0] == format]
                try:
                    note, counts = export(tiny, model, path, format)
                except formats.LackingError as error:
                    lacking = f"no {', '.join(error.operations)}"
                    cells.update({(name, kind): lacking for kind in mine})
                    continue
                for kind in mine:
                    cells[name, kind] = note
                    for x in map(tiny.inputs, counts):
                        jobs[kind].append((name, path, named(model, x), expected(model, x)))
        for kind in kinds:
            found = answers(kind, [(path, x) for _, path, x, _ in jobs[kind]])
            errors = {}
            for (name, *_, y), answer in zip(jobs[kind], found, strict=True):
                errors[name] = max(errors.get(name, 0.0), difference(answer, y))
            for name, error in errors.items():
                cells[name, kind] = f"{error:.1e}{cells[name, kind]}"
    return cells


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.studies.exports", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=TINY, metavar="MODEL", help="just these (default: all)"
    )
    parser.add_argument("--csv", help="also write the table to this file (default: only print it)")
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        names, kinds = options.only or list(TINY), list(COLUMNS)
        cells = measure(names, kinds)
        columns = ["model", *(COLUMNS[kind][1] for kind in kinds)]
        rows = [[name, *(cells[name, kind] for kind in kinds)] for name in names]
        print(record.markdown(columns, rows))
        if options.csv:
            record.write_csv(options.csv, columns, rows)


if __name__ == "__main__":
    main()
