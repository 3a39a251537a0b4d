"""Train each graph layer on molecules and on one large graph, and measure what an edge costs:

    python -m scripts.studies.memory GATConv GraphConv --mode graph
    python -m scripts.studies.memory --lengths 1024 2048 4096        attention, beside Keras's

One layer takes a batch of 128 molecules first, then 169,000 nodes with 1.2 million edges, the sizes
of ogbn-arxiv. The bytes of an edge are the growth of the process's peak memory from a training step
on the nodes alone to one with all edges, divided by their number. Each layer has a process of its
own.

With `--lengths`, `MultiHeadAttention` of 8 heads of 64, here and in Keras, trains on (1, T, 512):
what is measured is how far a step takes the process's memory beyond where it was before.
"""

import json
import math
import pathlib
import resource
import subprocess
import sys
import time

from scripts.training import command_line, record

LAYERS = {
    "GraphConv": {"units": 64},
    "SAGEConv": {"units": 64},
    "GINConv": {"network": 64},
    "GATConv": {"units": 8, "heads": 8},
    "GATv2Conv": {"units": 8, "heads": 8},
}
FEATURES = 128
ATTENTION_COLUMNS = ["layers", "mode", "length", "causal", "megabytes", "seconds_a_step"]
COLUMNS = ["layer", "mode", "nodes", "edges", "bytes_an_edge", "seconds_a_step"]


def measure(name, mode, nodes, edges):
    """Bytes an edge and seconds of a training step, measured in this process."""
    import numpy as np
    import tensorflow as tf

    import custom_layers

    rng = np.random.default_rng(0)
    arguments = dict(LAYERS[name])
    if "network" in arguments:
        arguments["network"] = custom_layers.Dense(arguments["network"], "relu")
    layer = getattr(custom_layers, name)(**arguments)

    def graph(nodes, edges, *batch):
        return [
            tf.constant(rng.standard_normal((*batch, nodes, FEATURES), "float32")),
            tf.constant(rng.integers(0, nodes, (*batch, edges, 2), "int32")),
        ]

    def train(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs[0])
            loss = tf.reduce_mean(layer(inputs, training=True) ** 2)
        slopes = tape.gradient(loss, [inputs[0], *layer.trainable_variables])
        return [loss, *(tf.reduce_sum(slope) for slope in slopes)]

    molecules, large = graph(18, 40, 128), graph(nodes, edges)
    layer([molecules[0][0], molecules[1][0]])  # builds it
    step = tf.function(train, jit_compile=mode == "xla")
    seen = [np.array(step(molecules))]
    seen.append(np.array(step([large[0], large[1][:0]])))
    before = peak()
    seen.append(np.array(step(large)))
    growth, begun = peak() - before, time.perf_counter()
    seen.append(np.array(step(large)))
    if not np.isfinite(seen).all():
        raise SystemExit(f"{name}: a loss or a gradient is not finite: {seen}")
    return growth / edges, time.perf_counter() - begun


def measure_attention(library, mode, length, causal):
    """Bytes beyond the start and seconds of a training step, measured in this process."""
    import keras
    import numpy as np
    import tensorflow as tf

    import custom_layers

    namespace = {"custom_layers": custom_layers, "keras.layers": keras.layers}[library]
    layer = namespace.MultiHeadAttention(8, 64)

    def train(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(layer(x, x, training=True, use_causal_mask=causal) ** 2)
        slopes = tape.gradient(loss, [x, *layer.trainable_variables])
        return [loss, *(tf.reduce_sum(slope) for slope in slopes)]

    rng = np.random.default_rng(0)
    short, long = (
        tf.constant(rng.standard_normal((1, size, 512), "float32")) for size in (16, length)
    )
    layer(short, short)  # builds it
    step = tf.function(train, jit_compile=mode == "xla")
    step(short)
    before = peak()
    seen = [np.array(step(long))]
    growth, begun = peak() - before, time.perf_counter()
    seen.append(np.array(step(long)))
    if not np.isfinite(seen).all():
        raise SystemExit(f"{library}: a loss or a gradient is not finite: {seen}")
    return growth, time.perf_counter() - begun


def peak():
    """The most bytes that this process has held so far."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # `resource` also counts what the process that started this one has held
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on macOS it is bytes
    return kilobytes if sys.platform == "darwin" else 1024 * kilobytes


def in_a_process(*arguments, function="measure"):
    call = f"{function}(*{arguments!r})"
    code = f"from scripts.studies.memory import *; print(json.dumps({call}))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise command_line.InputError(f"{arguments[0]}: its process ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.studies.memory", description=__doc__)
    parser.add_argument("layers", nargs="*", metavar="LAYER", help=", ".join(LAYERS))
    parser.add_argument("--mode", choices=["graph", "xla"], default="graph", help="how it runs")
    parser.add_argument("--nodes", type=command_line.count, default=169_000, help="of the graph")
    parser.add_argument("--edges", type=command_line.count, default=1_200_000, help="of the graph")
    parser.add_argument(
        "--lengths",
        nargs="+",
        type=command_line.count,
        help="T of attention (default: no attention)",
    )
    parser.add_argument("--causal", action="store_true", help="attention to earlier places alone")
    parser.add_argument(
        "--output", help="folder of a table, such as scripts/results (default: no table)"
    )
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        if unknown := set(options.layers) - set(LAYERS):
            raise command_line.InputError(
                f"unknown layer {', '.join(sorted(unknown))}: expected {', '.join(LAYERS)}"
            )
        if options.lengths:
            attention(options)
            return
        size, lines = (options.nodes, options.edges), []
        for name in options.layers or LAYERS:
            cost, seconds = in_a_process(name, options.mode, *size)
            lines.append((name, options.mode, *size, round(cost), round(seconds, 3)))
            print(f"{name}: {cost:.0f} bytes an edge, {seconds:.2f} s a step", flush=True)
        if options.output:
            about = {"features": FEATURES, "layers": LAYERS}
            name = f"graph-memory-{options.mode}"
            record.write_table(options.output, name, about, COLUMNS, lines)


def attention(options):
    """Measure both libraries' attention at each length, and write a table if it has a folder."""
    lines = []
    for length in options.lengths:
        for library in ("custom_layers", "keras.layers"):
            case = (library, options.mode, length, options.causal)
            try:
                cost, seconds = in_a_process(*case, function="measure_attention")
            except command_line.InputError as error:  # out of memory
                print(f"{library} at {length}: {error}", flush=True)
                cost, seconds = math.nan, math.nan
            lines.append((*case, round(cost / 1e6, 1), round(seconds, 3)))
            print(f"{library} at {length}: {cost / 1e6:.0f} MB, {seconds:.2f} s", flush=True)
    if options.output:
        name = f"attention-memory-{options.mode}" + "-causal" * options.causal
        about = {"heads": 8, "size": 64, "batch": 1}
        record.write_table(options.output, name, about, ATTENTION_COLUMNS, lines)


if __name__ == "__main__":
    main()
