"""Run folders: written whole or not at all, and read back.

recipe.json    the recipe's name, all settings, versions, device
history.csv    one line an epoch          curves.png    the same, drawn
metrics.json   figures on test and validation, parameters, seconds
model.keras    the model, to train on     saved_model/  the model, to serve without this package
"""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil

from scripts.training import untrusted
from scripts.training.command_line import InputError

PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets", "custom_layers")


def unfinished(folder):
    """Where a run is written until it is whole: beside its folder, hidden."""
    folder = pathlib.Path(folder)
    return folder.parent / f".{folder.name}.unfinished"


@contextlib.contextmanager
def new_run(folder, overwrite=False):
    """Yield the folder of an unfinished run, which becomes `folder` if all goes well.

    After an interruption it stays, if there is a checkpoint to resume from.
    """
    folder, partial = pathlib.Path(folder), unfinished(folder)
    if folder.exists():
        if not overwrite:
            raise InputError(
                f"{folder} exists: --overwrite replaces it, --output names another folder"
            )
        if not (folder / "recipe.json").is_file():
            raise InputError(f"{folder} is no run, so --overwrite does not replace it")
    if partial.exists():
        if not overwrite:
            raise InputError(
                f"{folder} was begun and not finished: --resume {folder} goes on with it, "
                "--overwrite begins anew"
            )
        shutil.rmtree(partial)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder.parent} ({error.strerror}): --output names another folder"
        ) from error
    with _finished(partial, folder):
        yield partial


@contextlib.contextmanager
def resumed_run(folder):
    """Yield the folder of an unfinished run, as `new_run` does."""
    partial = unfinished(folder)
    with _finished(partial, pathlib.Path(folder)):
        yield partial


def resumed_settings(folder, recipe, given):
    """The settings of an unfinished run, with other places of the data if those are given."""
    folder, partial = pathlib.Path(folder), unfinished(folder)
    if not partial.exists():
        state = "is finished" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {state}: there is nothing to resume")
    path = partial / "recipe.json"
    try:
        untrusted.check_folder(partial)
        begun, settings = untrusted.check_run(path, untrusted.read_json(path))
    except InputError as error:
        raise InputError(f"{error}: --overwrite begins anew") from error
    if begun != recipe:
        raise InputError(f"{folder} is a run of {begun}, not of {recipe}")
    for key, value in given.items():
        if key in ("data_dir", "download_dir"):
            settings[key] = value
        elif settings.get(key) != value:
            raise InputError(
                f"{folder} was begun with {key} {settings.get(key)}, which --resume keeps; "
                f"received {value}"
            )
    return settings


@contextlib.contextmanager
def _finished(partial, folder):
    try:
        yield
    except InputError:
        if not any(partial.glob("checkpoints/*")):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def read_run(folder):
    """What `recipe.json` of a run says, checked: the run may be a stranger's."""
    folder = pathlib.Path(folder)
    if not all(
        (folder / name).is_file() for name in ("recipe.json", "model.keras", "metrics.json")
    ):
        raise InputError(
            f"{folder} is no run: expected a folder that `python -m scripts.train` wrote"
        )
    untrusted.check_folder(folder)
    run = untrusted.read_json(folder / "recipe.json")
    untrusted.check_run(folder / "recipe.json", run)
    return run


def load_model(folder):
    """The trained model of a run."""
    import keras

    # Keras finds the classes of imported modules only.
    import custom_layers  # noqa: F401
    import models.detector
    import models.gan
    import models.vae  # noqa: F401

    path = pathlib.Path(folder) / "model.keras"
    untrusted.check_model(path)
    try:
        return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # what Keras raises for a wrong configuration is not documented
        reason = str(error) if len(str(error)) < 500 else f"{str(error)[:500]}..."
        raise InputError(f"{path} cannot be read: {reason}") from error


def write_json(path, content):
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def versions():
    """Of Python and of the packages that a result may depend on."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def device():
    """The accelerators in words, or the processor and how many cores this process may use."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
        return ", ".join(names)
    name = platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        name = models[0] if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
