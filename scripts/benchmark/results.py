"""The rows that the benchmark measures: on the screen, in a CSV of the device, in README.

All comparisons have the same columns, so that one reader serves them all. Times are medians in ms;
`ratio` is the median of other/ours over the pairs, with its quartiles: above 1, ours is faster.
"""

import datetime
import math
import pathlib
import sys

import keras
import tensorflow as tf

from scripts.benchmark.timing import median, quantile
from scripts.training import record

COLUMNS = ["name", "size", "mode", "against", "pass", "ours_ms", "other_ms", "ratio"]
COLUMNS += ["ratio_q1", "ratio_q3", "floor_ms", "ours_kept_kb", "other_kept_kb", "pairs"]
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
    return dict(zip(COLUMNS, values, strict=True))


def show(rows):
    """Print each row when it comes, then their means. Returns them as a list."""
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


def results_path(subject, mode, kind="benchmark"):
    versions = f"tf{tf.__version__}-keras{keras.__version__}"
    return RESULTS / f"{kind}-{subject}-{mode}-{record.device_name()}-{versions}.csv"


def command(argv):
    """As it was typed, except for the path of another Python, which differs everywhere."""
    words = list(argv)
    for i, word in enumerate(words[:-1]):
        if word == "--torch-python":
            words[i + 1] = "PYTHON"
    return " ".join(words)


def write_csv(path, rows, versions=None, columns=COLUMNS, module="scripts.benchmark"):
    """Write rows, dicts of all columns, with what they depend on: device, versions, command."""
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, **(versions or {})}
    comments = [
        f"{record.device()}, {datetime.date.today()}",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"python -m {module} {command(sys.argv[1:])}",
    ]
    record.write_csv(path, columns, [[r[column] for column in columns] for r in rows], comments)
    print(f"wrote {path}")


TITLES = {
    "keras": "layers, Keras",
    "torch": "layers, PyTorch",
    "pyg": "graphs, PyG",
    "models": "models, Keras",
    "lengths": "many lengths, Keras",
    "first": "first steps, Keras",
    "trainings": "epochs, PyTorch",
}


def tables(paths):
    """The tables of README: a line for each CSV and pass, then a line for each graph or length."""
    columns = ["what, against", "mode", "pass", "rows", "geometric mean", "least", "most"]
    single = ["", "against", "mode", "pass", "ours ms", "other ms", "other/ours"]
    lines, single_lines, made = [], [], {}
    for path in sorted(paths):
        rows, comments = record.read_csv(path)
        subject, mode = path.name.split("-")[1:3]
        made.setdefault(comments[0], []).append(comments[2])
        for kind, ratios in by_pass(rows).items():
            least = min((r for r in rows if r["pass"] == kind), key=lambda r: float(r["ratio"]))
            of_all = [f"{geometric_mean(ratios):.2f}", f"{min(ratios):.2f} (`{least['name']}`)"]
            title = TITLES[subject.rstrip("1")]
            lines.append([title, mode, kind, len(ratios), *of_all, f"{max(ratios):.2f}"])
        for r in rows:
            if r["against"] == "PyG" or r["name"].endswith("lengths"):
                what = [f"{r['name']}, {r['size']}", r["against"], r["mode"], r["pass"]]
                times = [f"{float(r[side]):.4g}" for side in ("ours_ms", "other_ms")]
                single_lines.append([*what, *times, f"{float(r['ratio']):.2f}"])
    text = [record.markdown(columns, lines)]
    if single_lines:
        text += ["", record.markdown(single, single_lines)]
    for machine, commands in made.items():
        text += ["", f"Measured on {machine}, by", "", "```sh", *commands, "```"]
    return "\n".join(text) + "\n"


def write_readme():
    """Put the tables of all CSVs of this device between their two marks in README."""
    paths = list(RESULTS.glob(f"benchmark-*-{record.device_name()}-*.csv"))
    text = README.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (paths and begin and end):
        raise SystemExit(f"benchmark: no CSV in {RESULTS}, or no marks in {README}")
    README.write_text(f"{before}{begin}\n{tables(paths)}\n{end}{after}", encoding="utf-8")
    print(f"wrote {README}")
