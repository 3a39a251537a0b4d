"""record: how figures are written down, and what they depend on: device and versions."""

import csv
import importlib.metadata
import json
import os
import pathlib
import platform

PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "custom_layers")


def write_csv(path, columns, rows, comments=()):
    """Write a table, replacing the file; rows are sequences, each comment is a line `# ...`."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {comment}\n" for comment in comments)
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def write_table(folder, name, about, columns, rows):
    """Write `<name>-<device>-tf<version>.csv`; its first line says in JSON what it depends on."""
    about = about | {"versions": versions(), "device": device()}
    path = pathlib.Path(folder) / f"{name}-{device_name()}-tf{about['versions']['tensorflow']}.csv"
    write_csv(path, columns, rows, [json.dumps(about)])


def append_csv(path, columns, row):
    """Add a row to a table; a new file begins with the columns."""
    path = pathlib.Path(path)
    if not path.exists():
        write_csv(path, columns, [])
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def read_csv(path):
    """The rows of a table, as dicts of text by column, and its comments."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return list(csv.DictReader(lines[len(comments) :])), comments


def markdown(columns, rows):
    """A table in Markdown, without a line end at its end."""
    head, *lines = (f"| {' | '.join(map(str, line))} |" for line in (columns, *rows))
    return "\n".join([head, "|---" * len(columns) + "|", *lines])


def write_json(path, content):
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def versions():
    """Of Python and of the packages that a figure may depend on."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages}


def accelerators():
    """The names of the GPUs."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    return [details(gpu)["device_name"] for gpu in tf.config.list_physical_devices("GPU")]


def device():
    """The GPUs, the processor, and how many of its cores this process may use, in words."""
    name = platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        name = models[0] if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join([*accelerators(), name, f"{cores} cores"])


def device_name():
    """The first GPU without blanks, or `cpu`: part of a file's name."""
    return next(iter(accelerators()), "cpu").replace(" ", "_")
