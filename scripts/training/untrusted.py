"""untrusted: what is checked before a file that somebody else may have made is read.

A run folder holds plain files, no links; JSON of a bounded size; settings that the command line
would accept. A `.keras` file is a zip archive that unpacks to no more than itself, whose
configuration names only classes of Keras and of this project, and whose weights are plain arrays.
Nothing is imported and no memory is taken before this is known. Each function raises an InputError.
"""

import collections
import io
import json
import math
import os
import pathlib
import stat
import zipfile
import zlib

from scripts.settings import check_settings
from scripts.training.command_line import InputError

LARGEST_JSON = 32_000_000  # bytes; the configuration of a model has a few thousand
LARGEST_MODEL = 8_000_000_000  # bytes
MANY = 10_000  # files of a run
MODULES = ("keras", "custom_layers", "models", "builtins")  # builtins: what Keras calls functions
# Classes that run what their configuration holds, under whatever name of a module.
RUNNING = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
MOST_LAYERS = 2000
SIZES = ("units", "filters", "input_dim", "output_dim", "num_heads", "key_dim")  # of weights
NOT_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def check_folder(folder):
    """Check that it holds only plain files and folders: a link leads elsewhere, a pipe blocks."""
    seen = 0
    for place, folders, files in os.walk(folder):
        for path in (pathlib.Path(place, name) for name in folders + files):
            seen += 1
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise InputError(f"{path} is not a plain file: a run has no links")
            if seen > MANY:
                raise InputError(f"{folder} holds more than {MANY} files, too many for a run")


def read_json(path):
    """The content of a JSON file."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def check_run(path):
    """The recipe's name and the Settings of a run, from its `recipe.json` at `path`."""
    run = read_json(path)
    if not isinstance(run, dict) or not isinstance(run.get("recipe"), str):
        raise InputError(f"{path}: expected the name of a recipe under `recipe`")
    settings = run.get("settings")
    if not isinstance(settings, dict):
        raise InputError(f"{path}: expected names and values under `settings`")
    return run["recipe"], check_settings(path, settings)


def figures(path):
    """The figures of the test part, as `metrics.json` has them; NaN for a missing one."""
    metrics = read_json(path)
    figures = metrics.get("test") if isinstance(metrics, dict) else None
    if not isinstance(figures, dict) or not all(type(x) in (int, float) for x in figures.values()):
        raise InputError(f"{path}: expected numbers under `test`")
    return collections.defaultdict(lambda: math.nan, figures)


def check_download(path):
    """Check that a zip file of data unpacks into its own folder and is not a bomb."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_zip(path, archive, max(1_000_000_000, 30 * path.stat().st_size))


def check_zip(path, archive, most=None):
    """Check that an archive unpacks into its own folder, to at most `most` bytes or its size."""
    most = path.stat().st_size if most is None else most
    if sum(entry.file_size for entry in archive.infolist()) > most:
        raise InputError(f"{path} would unpack to more than {most} bytes")
    for entry in archive.infolist():
        name = entry.filename
        outside = name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/")
        if outside or stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError(f"{path} holds {name!r}, which leads out of it")


def check_model(path):
    """Check that loading a `.keras` file runs no code from it and takes no more than its size.

    Returns:
        Its configuration, and how many numbers its weights have.
    """
    try:
        if path.stat().st_size > LARGEST_MODEL:
            raise InputError(f"{path} has more than {LARGEST_MODEL} bytes")
        with zipfile.ZipFile(path) as archive:
            check_zip(path, archive)
            if archive.getinfo("config.json").file_size > LARGEST_JSON:
                raise InputError(f"{path}: its config.json is larger than {LARGEST_JSON}")
            config = json.loads(archive.read("config.json"))
            numbers = check_weights(path, archive.read("model.weights.h5"))
            check_config(path, config, numbers)
            return config, numbers
    except (OSError, KeyError, ValueError, RecursionError, *NOT_ZIP) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def check_config(path, config, numbers):
    """Check that a configuration names only classes of Keras and ours that run no code from it.

    `numbers` is how many its weights have: a model that says to be larger is not theirs.
    """
    left, layers = [config], 0
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            module, name = part.get("module"), part.get("class_name")
            known = module is None or str(module).partition(".")[0] in MODULES
            if not known or str(name).rpartition(".")[2] in RUNNING:
                raise InputError(f"{path} is not read, for safety: it asks for {module}.{name}")
            layers += "inbound_nodes" in part or "build_config" in part
            if layers > MOST_LAYERS:
                raise InputError(f"{path} has more than {MOST_LAYERS} layers")
            for size in SIZES:
                if isinstance(part.get(size), int) and part[size] > numbers:
                    raise InputError(
                        f"{path}: a layer has {size} {part[size]}, but the weights are {numbers} "
                        "numbers in all"
                    )


def check_weights(path, content):
    """Check that an HDF5 file holds groups and plain arrays, in no more bytes than it has.

    Returns:
        How many numbers the arrays have.
    """
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        left, room, numbers = [file], len(content), 0
        while left:
            group = left.pop()
            for name in group:
                kind = group.get(name, getlink=True)
                if not isinstance(kind, h5py.HardLink):
                    raise InputError(f"{path}: its weights hold a link, {name}")
                part = group[name]
                if isinstance(part, h5py.Group):
                    left.append(part)
                    room -= 1  # so that a group inside itself comes to an end
                elif part.external or part.is_virtual or part.dtype.hasobject:
                    raise InputError(f"{path}: its weights are elsewhere: {name}")
                else:
                    room -= part.nbytes
                    numbers += part.size
                if room < 0:
                    raise InputError(
                        f"{path}: its weights would unpack to more than their {len(content)} bytes"
                    )
    return numbers
