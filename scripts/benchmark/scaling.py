"""A picture of how the time of a training step grows: ours, Keras's, and the machine's own limit.

    python -m scripts.benchmark.scaling     writes docs/scaling.png, and a CSV to scripts/results/

It grows with the time steps, batch and width of an LSTM, and with the edges of a GraphConv. The
floor of LSTM is its matrix products alone, that of GraphConv one pass over the rows that it must
read and write for each edge. Keras has no graph layers: GraphConv is compared with TensorFlow's
product of a sparse matrix, which XLA lacks, and with itself compiled by XLA.
"""

import math
import pathlib

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import custom_layers
from scripts.benchmark.layers import moving, recurrent_floor
from scripts.benchmark.results import results_path, write_csv
from scripts.benchmark.timing import alone, compare, median, passes, timers
from scripts.training import record
from scripts.training.command_line import Parser, count

PICTURE = pathlib.Path(__file__).parents[2] / "docs" / "scaling.png"
COLUMNS = ["panel", "size", "mode", "ours_ms", "other_ms", "floor_ms", "compiled_ms", "pairs"]
LABELS = {"steps": "time steps"}
COLORS = {"ours_ms": "tab:blue", "other_ms": "tab:orange", "floor_ms": "0.4"}
COLORS["compiled_ms"] = "tab:cyan"
BATCH, TIME, WIDTH = 32, 100, 64
SIZES = {
    "steps": [10, 30, 100, 300, 1000, 2000],
    "batch": [1, 4, 16, 64, 256],
    "width": [8, 32, 128, 512],
    "edges": [1_000, 10_000, 100_000, 1_000_000],
}


class SparseProduct(keras.layers.Layer):
    """Â x W with a sparse matrix Â (N, N), differentiated by TensorFlow."""

    def __init__(self, matrix, units):
        super().__init__()
        self.matrix, self.dense = matrix, keras.layers.Dense(units)

    def call(self, x):
        return tf.sparse.sparse_dense_matmul(self.matrix, self.dense(x))


def lstm_sides(panel, size):
    b, t, width = (
        size if panel == name else usual
        for name, usual in (("batch", BATCH), ("steps", TIME), ("width", WIDTH))
    )
    x = tf.random.stateless_normal((b, t, width), (0, 0))
    sides = [space.LSTM(width, return_sequences=True) for space in (custom_layers, keras.layers)]
    return [(layer, x) for layer in sides], recurrent_floor(b, t, width, width, 4)


def graph_sides(edges, each=8, features=64):
    """A random graph with `each` edges into each node."""
    rng = np.random.default_rng(0)
    nodes = edges // each
    rows = rng.integers(0, nodes, (edges, 2), dtype="int32")
    x = tf.random.stateless_normal((nodes, features), (0, 0))
    order = np.lexsort(rows.T)  # by target, then by source, as sparse matrices are
    entries = rows[order][:, ::-1].astype("int64")
    matrix = tf.sparse.SparseTensor(entries, np.ones(edges, "float32"), (nodes, nodes))
    ours = custom_layers.GraphConv(features, normalize=None, add_self_loops=False)
    sides = [(ours, [x, tf.constant(rows)]), (SparseProduct(matrix, features), x)]
    return sides, moving((edges, features), (edges, features))  # forward and backward


def measure(panel, size, mode, pairs):
    sides, floor = graph_sides(size) if panel == "edges" else lstm_sides(panel, size)
    ours, other = (timers(passes(layer, x, mode))["step"] for layer, x in sides)
    times = zip(*compare(ours, other, pairs, warm_up=2), strict=True)
    seconds = [*map(median, times), alone(floor(), pairs)]
    if panel == "edges":
        seconds.append(alone(passes(*sides[0], "xla")["step"], pairs))
    ms = [round(1e3 * value, 4) for value in seconds] + [""] * (panel != "edges")
    return dict(zip(COLUMNS, [panel, size, mode, *ms, pairs], strict=True))


def draw(rows):
    """One panel for each thing that grows, both axes logarithmic."""
    panels = list(dict.fromkeys(r["panel"] for r in rows))
    picture = Figure(figsize=(5 * min(2, len(panels)), 4 * math.ceil(len(panels) / 2)))
    picture.set_layout_engine("constrained")
    mode = rows[0]["mode"]
    picture.suptitle(f"A training step ({mode} mode, {record.device()})", fontsize=11)
    grid = picture.subplots(math.ceil(len(panels) / 2), min(2, len(panels)), squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        these = [r for r in rows if r["panel"] == panel]
        x = [r["size"] for r in these]
        rival = "TensorFlow's sparse product" if panel == "edges" else "keras.layers"
        floor = "one pass over the rows" if panel == "edges" else "matrix products alone"
        for field, label, style in (
            ("other_ms", rival, "s--"),
            ("ours_ms", "custom_layers", "o-"),
            ("compiled_ms", "custom_layers, XLA", "^-"),
            ("floor_ms", floor, ":"),
        ):
            if these[0][field] != "":
                y = [r[field] for r in these]
                axes.plot(x, y, style, color=COLORS[field], label=label)
        usual = {"steps": TIME, "batch": BATCH, "width": WIDTH}
        fixed = ", ".join(f"{k} {v}" for k, v in usual.items() if k != panel)
        title = "GraphConv, 64 features, 8 edges a node" if panel == "edges" else f"LSTM, {fixed}"
        axes.set(
            xscale="log", yscale="log", xlabel=LABELS.get(panel, panel), ylabel="ms", title=title
        )
        axes.title.set_fontsize(10)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=9)
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    return picture


def main(argv=None):
    parser = Parser(description=__doc__)
    parser.add_argument("panel", nargs="*", help=f"of {', '.join(SIZES)} (default: all)")
    parser.add_argument("--mode", choices=["graph", "xla"], default="graph", help="how it runs")
    parser.add_argument("--pairs", type=count, default=9, help="how often both are timed")
    parser.add_argument("--most", type=count, default=10**9, help="leave out larger sizes")
    parser.add_argument("--output", type=pathlib.Path, default=PICTURE, help="the picture")
    parser.add_argument("--no-csv", action="store_true", help="only the picture")
    arguments = parser.parse_intermixed_args(argv)
    if unknown := set(arguments.panel) - set(SIZES):
        parser.error(f"unknown panel {', '.join(sorted(unknown))}; known: {', '.join(SIZES)}")
    panels = arguments.panel or (list(SIZES) if arguments.mode == "graph" else list(SIZES)[:3])
    if arguments.mode == "xla" and "edges" in panels:
        parser.error("XLA has no sparse product: `edges` are measured in graph mode")
    if all(size > arguments.most for panel in panels for size in SIZES[panel]):
        parser.error(f"--most {arguments.most} leaves no size")
    rows = []
    for panel in panels:
        for size in SIZES[panel]:
            if size <= arguments.most:
                rows.append(measure(panel, size, arguments.mode, arguments.pairs))
                r = rows[-1]
                print(
                    f"{panel:10} {size:8} ours {r['ours_ms']:9.2f} ms, other {r['other_ms']:9.2f} "
                    f"ms, floor {r['floor_ms']:9.2f} ms",
                    flush=True,
                )
                keras.backend.clear_session()
    draw(rows).savefig(arguments.output, dpi=150)
    print(f"wrote {arguments.output}")
    if not arguments.no_csv:
        path = results_path("keras", arguments.mode, kind="scaling")
        write_csv(path, rows, columns=COLUMNS, module="scripts.benchmark.scaling")


if __name__ == "__main__":
    main()
