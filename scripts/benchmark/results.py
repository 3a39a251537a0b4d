"""The rows that the benchmark measures: on the screen, in a CSV of the device, in README.

Every comparison has the same columns, so that one reader serves them all. Times are medians in ms;
`ratio` is the median of other/ours over the pairs, with its quartiles: above 1, ours is faster.
"""

import csv
import datetime
import math
import os
import pathlib
import platform
import sys

import keras
import tensorflow as tf

from scripts.benchmark.timing import median, quantile

FIELDS = ["name", "size", "mode", "against", "pass", "ours_ms", "other_ms", "ratio"]
FIELDS += ["ratio_q1", "ratio_q3", "floor_ms", "ours_kept_kb", "other_kept_kb", "pairs"]
RESULTS = pathlib.Path(__file__).parents[1] / "results"
README = pathlib.Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- speed: written by scripts.benchmark --markdown -->\n", "<!-- end of speed -->\n"


def row(name, size, mode, against, kind, times, floor=None, kept=(None, None)):
    """One line of the table, from `times`: pairs of seconds (ours, other)."""
    ratios = [other / ours for ours, other in times]
    values = [
        *(name, size, mode, against, kind),
        *(round(1e3 * median(side), 3) for side in zip(*times, strict=True)),
        *(round(quantile(ratios, q), 3) for q in (0.5, 0.25, 0.75)),
        "" if floor is None else round(1e3 * floor, 3),
        *("" if k is None else round(k / 1024) for k in kept),
        len(times),
    ]
    return dict(zip(FIELDS, values, strict=True))


def show(rows):
    """Print each row when it comes, then what they come to; returns them as a list."""
    head = f"{'what and size':44} pass     "
    print(f"{head}{'ours ms':>9} {'other ms':>9}  {'other/ours':18} floor ms  kept KiB")
    seen = []
    for r in rows:
        seen.append(r)
        spread = f"{r['ratio']:.2f} ({r['ratio_q1']:.2f}-{r['ratio_q3']:.2f})"
        kept = f"{r['ours_kept_kb']} / {r['other_kept_kb']}" if r["ours_kept_kb"] != "" else ""
        print(
            f"{r['name'] + ' ' + r['size']:44} {r['pass']:8} {r['ours_ms']:9.2f} "
            f"{r['other_ms']:9.2f}  {spread:18} {r['floor_ms']:>8}  {kept}",
            flush=True,
        )
    for kind, ratios in by_pass(seen).items():
        print(f"{kind}: geometric mean {geometric_mean(ratios):.2f}, least {min(ratios):.2f}")
    return seen


def by_pass(rows):
    ratios = {}
    for r in rows:
        ratios.setdefault(r["pass"], []).append(float(r["ratio"]))
    return ratios


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def device():
    gpus = tf.config.list_physical_devices("GPU")
    name = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "cpu"
    return name.replace(" ", "_")


def results_path(subject, mode, kind="benchmark"):
    name = f"{kind}-{subject}-{mode}-{device()}-tf{tf.__version__}-keras{keras.__version__}"
    return RESULTS / f"{name}.csv"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def command(argv):
    """As it was typed, but for the place of another Python, which is different everywhere."""
    words = list(argv)
    for i, word in enumerate(words[:-1]):
        if word == "--torch-python":
            words[i + 1] = "PYTHON"
    return " ".join(words)


def write_csv(path, rows, versions=None, fields=FIELDS, module="scripts.benchmark"):
    """Write rows with what they depend on: processor, cores, date, versions, command."""
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, **(versions or {})}
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        cores = len(os.sched_getaffinity(0))
        file.write(f"# {processor()}, {cores} cores, {datetime.date.today()}\n")
        file.write(f"# {', '.join(f'{k} {v}' for k, v in versions.items())}\n")
        file.write(f"# python -m {module} {command(sys.argv[1:])}\n")
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path}")


def read_csv(path):
    """The rows of a CSV of `write_csv`, and its comments."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = file.read().splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return list(csv.DictReader(lines[len(comments) :])), comments


TITLES = {
    "keras": "layers, Keras",
    "torch": "layers, PyTorch",
    "pyg": "graphs, PyG",
    "models": "models, Keras",
    "lengths": "many lengths, Keras",
}


def markdown(paths):
    """The tables of README: a line for each CSV and pass, then a line for each graph or model."""
    lines = ["| what, against | mode | pass | rows | geometric mean | least | most |"]
    lines += ["|---|---|---|---|---|---|---|"]
    detail = ["| | against | mode | pass | ours ms | other ms | other/ours |"]
    detail += ["|---|---|---|---|---|---|---|"]
    made = {}
    for path in sorted(paths):
        rows, comments = read_csv(path)
        subject, mode = path.name.split("-")[1:3]
        made.setdefault(comments[0], []).append(comments[2])
        for kind, ratios in by_pass(rows).items():
            least = min((r for r in rows if r["pass"] == kind), key=lambda r: float(r["ratio"]))
            lines.append(
                f"| {TITLES[subject.rstrip('1')]} | {mode} | {kind} | {len(ratios)} | "
                f"{geometric_mean(ratios):.2f} | {min(ratios):.2f} (`{least['name']}`) | "
                f"{max(ratios):.2f} |"
            )
        for r in rows:
            if r["against"] == "PyG" or r["name"].endswith("lengths"):
                detail.append(
                    f"| {r['name']}, {r['size']} | {r['against']} | {r['mode']} | {r['pass']} | "
                    f"{float(r['ours_ms']):.4g} | {float(r['other_ms']):.4g} | "
                    f"{float(r['ratio']):.2f} |"
                )
    if len(detail) > 2:
        lines += ["", *detail]
    for machine, commands in made.items():
        lines += ["", f"Measured on {machine}, by", "", "```sh", *commands, "```"]
    return "\n".join(lines) + "\n"


def write_readme():
    """Put the tables of all CSVs of this device between their two marks in README."""
    paths = list(RESULTS.glob(f"benchmark-*-{device()}-*.csv"))
    text = README.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (paths and begin and end):
        raise SystemExit(f"benchmark: no CSV in {RESULTS}, or no marks in {README}")
    README.write_text(f"{before}{begin}\n{markdown(paths)}\n{end}{after}", encoding="utf-8")
    print(f"wrote {README}")
