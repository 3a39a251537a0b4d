"""strangers: what is looked at before a file is read that somebody else may have made.

A run folder holds plain files, no links; JSON of a bounded size; settings that the command line
would take too. A `.keras` file is a zip archive that unpacks to no more than itself, whose
configuration names classes of Keras and of this project only, and whose weights are plain arrays.
Nothing is imported and no memory is taken before that is known. Each function raises an InputError.
"""

import argparse
import collections
import io
import json
import math
import os
import pathlib
import re
import stat
import zipfile
import zlib

from scripts.training import command_line

LARGEST_JSON = 32_000_000  # bytes; the configuration of a model has some thousand
LARGEST_MODEL = 8_000_000_000  # bytes
MANY = 10_000  # files of a run
MODULES = ("keras", "custom_layers", "models", "builtins")  # builtins: what Keras calls functions
NOT_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def choice(*allowed):
    def convert(text):
        if text not in map(str, allowed):
            raise argparse.ArgumentTypeError(f"expected one of {allowed}, received {text!r}")

    return convert


SETTINGS = {
    "epochs": command_line.count,
    "batch_size": command_line.count,
    "learning_rate": command_line.rate,
    "l1": command_line.factor,
    "l2": command_line.factor,
    "dropout": command_line.fraction,
    "seed": command_line.seed,
    "data": re.compile(r"\w+(/[\w.-]+)?"),  # without a version, which tfds reads from files
    "layers": choice("custom", "keras"),
    "strategy": choice("none", "mirrored", "multiworker"),
    "tensorboard": choice(False, True),
    "data_dir": re.compile(r"[^\0]+"),
    "download_dir": re.compile(r"[^\0]+"),
}
MAY_LACK = {"data"}


def check_folder(folder):
    """That there are but plain files and folders in it: a link leads elsewhere, a pipe blocks."""
    seen = 0
    for place, folders, files in os.walk(folder):
        for path in (pathlib.Path(place, name) for name in folders + files):
            seen += 1
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise command_line.InputError(f"{path} is not a plain file: a run has no links")
            if seen > MANY:
                raise command_line.InputError(
                    f"{folder} holds more than {MANY} files, too many for a run"
                )


def read_json(path):
    """What a JSON file holds."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise command_line.InputError(f"{path} cannot be read: {error}") from error


def check_run(path, run):
    """The name and the settings of a run, as `recipe.json` at `path` has them."""
    if not isinstance(run, dict) or not isinstance(run.get("recipe"), str):
        raise command_line.InputError(f"{path}: expected the name of a recipe under `recipe`")
    settings = run.get("settings")
    if not isinstance(settings, dict):
        raise command_line.InputError(f"{path}: expected names and values under `settings`")
    odd = (settings.keys() ^ SETTINGS.keys()) - (MAY_LACK - settings.keys())
    if odd:
        raise command_line.InputError(
            f"{path}: unknown or missing settings: {', '.join(sorted(odd))}"
        )
    for name, value in settings.items():
        check = SETTINGS[name]
        try:
            if not isinstance(check, re.Pattern):
                check(str(value))
            elif value is not None and not (isinstance(value, str) and check.fullmatch(value)):
                raise argparse.ArgumentTypeError(f"expected a name, received {value!r}")
        except argparse.ArgumentTypeError as error:
            raise command_line.InputError(f"{path}: setting {name}: {error}") from error
    return run["recipe"], settings


def figures(path):
    """The figures of the test part, as `metrics.json` has them; NaN for one that it has not."""
    metrics = read_json(path)
    figures = metrics.get("test") if isinstance(metrics, dict) else None
    if not isinstance(figures, dict) or not all(type(x) in (int, float) for x in figures.values()):
        raise command_line.InputError(f"{path}: expected numbers under `test`")
    return collections.defaultdict(lambda: math.nan, figures)


def check_download(path):
    """That an archive of data, if it is of zip, unpacks in its own folder and is no bomb."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_zip(path, archive, max(1_000_000_000, 30 * path.stat().st_size))


def check_zip(path, archive, most=None):
    """That an archive unpacks, in its own folder, to so many bytes at most, or to its own size."""
    most = path.stat().st_size if most is None else most
    if sum(entry.file_size for entry in archive.infolist()) > most:
        raise command_line.InputError(f"{path} would unpack to more than {most} bytes")
    for entry in archive.infolist():
        name = entry.filename
        outside = name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/")
        if outside or stat.S_ISLNK(entry.external_attr >> 16):
            raise command_line.InputError(f"{path} holds {name!r}, which leads out of it")


def check_model(path):
    """That a `.keras` file can be loaded without running what it says."""
    try:
        if path.stat().st_size > LARGEST_MODEL:
            raise command_line.InputError(f"{path} has more than {LARGEST_MODEL} bytes")
        with zipfile.ZipFile(path) as archive:
            check_zip(path, archive)
            if archive.getinfo("config.json").file_size > LARGEST_JSON:
                raise command_line.InputError(
                    f"{path}: its config.json is larger than {LARGEST_JSON}"
                )
            check_config(path, json.loads(archive.read("config.json")))
            check_weights(path, archive.read("model.weights.h5"))
    except (OSError, KeyError, ValueError, RecursionError, *NOT_ZIP) as error:
        raise command_line.InputError(f"{path} cannot be read: {error}") from error


def check_config(path, config):
    """That the classes of a model's configuration are Keras's or ours, and run no code of its."""
    left = [config]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            module, name = part.get("module"), part.get("class_name")
            known = module is None or str(module).partition(".")[0] in MODULES
            if not known or name in ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper"):
                raise command_line.InputError(
                    f"{path} is not read, for safety: it asks for {module}.{name}"
                )


def check_weights(path, content):
    """That an HDF5 file is made of groups and plain arrays, which take no more room than it has."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        left, room = [file], len(content)
        while left:
            group = left.pop()
            for name in group:
                kind = group.get(name, getlink=True)
                if not isinstance(kind, h5py.HardLink):
                    raise command_line.InputError(f"{path}: its weights hold a link, {name}")
                part = group[name]
                if isinstance(part, h5py.Group):
                    left.append(part)
                    room -= 1  # so that a group inside itself comes to an end
                elif part.external or part.is_virtual or part.dtype.hasobject:
                    raise command_line.InputError(f"{path}: its weights are elsewhere: {name}")
                else:
                    room -= part.nbytes
                if room < 0:
                    raise command_line.InputError(
                        f"{path}: its weights would become more than their {len(content)} bytes"
                    )
