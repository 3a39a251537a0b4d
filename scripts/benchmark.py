"""How fast the layers are, beside keras.layers and PyTorch, and beside what the machine can do.

    python -m scripts.benchmark                          all layers, small sizes, against Keras
    python -m scripts.benchmark LSTM GRU --sizes all --mode xla --csv
    python -m scripts.benchmark --against torch --torch-python PATH

Ours and the other are timed in turn, one call each, in one process (PyTorch: a second process that
waits while ours runs). The table gives medians over the pairs, the ratio other/ours with its
quartiles (above 1: ours is faster), the bytes kept between forward and backward, and the floor:
the bare matrix products, or one pass over the bytes. A training step is the forward and the
gradients of inputs and weights.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

import keras
import tensorflow as tf

import custom_layers
from scripts.cases import every_case
from scripts.timing import compare, functions, kept_bytes, median, quantile, seconds

FIELDS = ["layer", "size", "mode", "against", "pass", "ours_ms", "other_ms", "ratio"]
FIELDS += ["ratio_q1", "ratio_q3", "floor_ms", "ours_kept_kb", "other_kept_kb", "pairs"]


def floor_seconds(case):
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
        yield row(case, mode, "keras", name, times, floor, kept)


def torch_rows(case, mode, pairs, worker):
    if not worker.ask(prepare=case.layer, size=case.size, shape=case.shape):
        return
    x, layer = tf.constant(case.inputs()), case.build(custom_layers)
    floor = floor_seconds(case)
    for name, function in zip(("forward", "step"), functions(layer, x, mode), strict=True):
        times = compare(
            lambda f=function: seconds(f), lambda name=name: worker.ask(time=name), pairs
        )
        yield row(case, mode, "torch", name, times, floor, (None, None))


class Worker:
    """A process of another Python, with PyTorch, that times one call whenever it is asked to."""

    def __init__(self, python):
        script = pathlib.Path(__file__).with_name("torch_worker.py")
        self.process = subprocess.Popen(
            [python, str(script), str(len(os.sched_getaffinity(0)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("benchmark: the PyTorch process ended; its message stands above")
        return json.loads(line)


def row(case, mode, against, name, times, floor, kept):
    ratios = [b / a for a, b in times]
    return dict(
        zip(
            FIELDS,
            [
                case.layer,
                case.size,
                mode,
                against,
                name,
                round(1e3 * median([a for a, _ in times]), 3),
                round(1e3 * median([b for _, b in times]), 3),
                *(round(quantile(ratios, q), 2) for q in (0.5, 0.25, 0.75)),
                round(1e3 * floor, 3) if name == "step" else "",
                *("" if k is None or name == "forward" else round(k / 1024) for k in kept),
                len(times),
            ],
            strict=True,
        )
    )


def results_path(against, mode):
    gpus = tf.config.list_physical_devices("GPU")
    device = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "cpu"
    name = f"benchmark-{against}-{mode}-{device.replace(' ', '_')}-tf{tf.__version__}"
    folder = pathlib.Path(__file__).parent / "results"
    return folder / f"{name}-keras{keras.__version__}.csv"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        cores = len(os.sched_getaffinity(0))
        file.write(f"# {processor()}, {cores} cores, {datetime.date.today()}\n")
        file.write(f"# python -m scripts.benchmark {' '.join(sys.argv[1:])}\n")
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path}")


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layer", nargs="*", help="names of layers (default: all)")
    parser.add_argument("--mode", choices=["graph", "xla", "eager"], default="graph")
    parser.add_argument("--against", choices=["keras", "torch"], default="keras")
    parser.add_argument("--sizes", choices=["small", "all"], default="small")
    parser.add_argument("--pairs", type=int, default=31)
    parser.add_argument("--torch-python", help="a Python that has torch installed")
    parser.add_argument("--csv", action="store_true", help="write to scripts/results/")
    arguments = parser.parse_args(argv)
    if arguments.pairs < 3:
        parser.error(f"--pairs must be at least 3, got {arguments.pairs}")
    if arguments.against == "torch" and not arguments.torch_python:
        parser.error("--against torch needs --torch-python")
    return arguments, parser


def main(argv=None):
    arguments, parser = parse(argv)
    known = {case.layer for case in every_case()}
    if unknown := set(arguments.layer) - known:
        parser.error(f"unknown layer {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    worker = Worker(arguments.torch_python) if arguments.against == "torch" else None
    rows = []
    print(f"{'layer and size':40} pass      ours ms  other ms  other/ours        floor  kept KiB")
    for case in every_case():
        if arguments.layer and case.layer not in arguments.layer:
            continue
        if arguments.sizes == "small" and not case.small:
            continue
        if worker:
            measured = torch_rows(case, arguments.mode, arguments.pairs, worker)
        else:
            measured = keras_rows(case, arguments.mode, arguments.pairs)
        for r in measured:
            rows.append(r)
            spread = f"{r['ratio']:.2f} ({r['ratio_q1']:.2f}-{r['ratio_q3']:.2f})"
            kept = f"{r['ours_kept_kb']} / {r['other_kept_kb']}"
            print(
                f"{case.key:40} {r['pass']:8} {r['ours_ms']:8.2f}  {r['other_ms']:8.2f}  "
                f"{spread:17} {r['floor_ms']:>6}  {kept}",
                flush=True,
            )
    if arguments.csv:
        write_csv(results_path(arguments.against, arguments.mode), rows)


if __name__ == "__main__":
    main()
