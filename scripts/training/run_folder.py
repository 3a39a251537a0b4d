"""Run folders: written whole or not at all, and read back.

recipe.json    the recipe's name, all settings, versions, device
history.csv    one line an epoch          curves.png    the same, drawn
metrics.json   figures on test and validation, parameters, seconds
model.keras    the model, to train on     saved_model/  the model, to serve without this package
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys

from scripts.training import command_line, distributed, record, untrusted
from scripts.training.command_line import InputError
from scripts.training.lock import locked

ELSEWHERE = "--output names another folder"


def unfinished(folder):
    """Where a run is written until it is whole: beside its folder, hidden."""
    folder = pathlib.Path(folder)
    return folder.parent / f".{folder.name}.unfinished"


@contextlib.contextmanager
def open_run(folder, name, settings, given, resume=False, overwrite=False):
    """The folder in which a run of the recipe `name` is written, and the run's settings.

    It becomes `folder` if all goes well. After an interruption it stays, to be resumed; before its
    first checkpoint it does not hinder a new start.
    """
    folder, (index, _) = pathlib.Path(folder), distributed.task()
    more = ["--import", given["import_module"]] if given.get("import_module") else []
    again = command_line.shell_command("scripts.train", name, "--resume", folder, *more)
    if index:  # only the chief writes the run; the others keep checkpoints
        folder = folder.parent / f"{folder.name}-worker-{index}"
    partial = unfinished(folder)
    with lock_of(folder):
        lost = settings.strategy == "multiworker" and not (partial / "recipe.json").is_file()
        if resume and not lost:
            settings = resumed_settings(folder, name, given)
        else:  # a new run, or a worker whose disk was lost
            with writing(folder):
                make_room(folder, overwrite)
        content = {"recipe": name, "settings": dataclasses.asdict(settings)}
        record.write_json(partial / "recipe.json", content)
        try:
            yield partial, settings
        except InputError:
            if not begun(partial):
                shutil.rmtree(partial, ignore_errors=True)
            raise
        except KeyboardInterrupt:
            # The launcher of several workers tells itself how to continue all of them.
            told = "" if distributed.launched() else f"; to continue: {again}"
            print(f"interrupted{told}", file=sys.stderr)
            sys.exit(command_line.INTERRUPTED)
        except OSError as error:
            raise InputError(f"{error}; to continue once this is fixed: {again}") from error
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def begun(partial):
    """Whether an unfinished run has a checkpoint, without which nothing is lost with it."""
    return any(partial.glob("checkpoints/*.npz"))


@contextlib.contextmanager
def writing(folder):
    """Turn errors of the file system into one that says that no run can be written there."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that no file system has
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write to {folder.parent} ({reason}): {ELSEWHERE}") from error


@contextlib.contextmanager
def lock_of(folder):
    """Hold the lock of the run in `folder`, a place where a run can be written."""
    if folder.name in ("", ".."):
        raise InputError(f"{str(folder)!r} is no name of a folder: {ELSEWHERE}")
    with contextlib.ExitStack() as held:
        with writing(folder):
            if folder.is_symlink():
                raise InputError(f"{folder} is a link to {os.readlink(folder)}: {ELSEWHERE}")
            folder.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder))
        yield


def make_room(folder, overwrite):
    """Make the folder of an unfinished run, where there is no run or an old one may go."""
    partial = unfinished(folder)
    if folder.exists():
        if not overwrite:
            raise InputError(f"{folder} exists: --overwrite replaces it, {ELSEWHERE}")
        if not (folder / "recipe.json").is_file():
            raise InputError(f"{folder} is not a run, so --overwrite does not replace it")
    if partial.exists():
        if begun(partial) and not overwrite:
            raise InputError(
                f"{folder} is unfinished: --resume {folder} continues it, --overwrite starts again"
            )
        shutil.rmtree(partial)
    partial.mkdir()


def resumed_settings(folder, recipe, given):
    """The settings of an unfinished run; only the places of the data may be given anew."""
    partial = unfinished(folder)
    if not partial.exists():
        state = "is finished" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {state}: there is nothing to resume")
    try:
        untrusted.check_folder(partial)
        begun, settings = untrusted.check_run(partial / "recipe.json")
    except InputError as error:
        raise InputError(f"{error}: --overwrite starts again") from error
    if begun != recipe:
        raise InputError(f"{folder} is a run of {begun}, not of {recipe}")
    for key, value in given.items():
        before = getattr(settings, key)
        if key not in ("data_dir", "download_dir") and before != value:
            raise InputError(
                f"{folder} was begun with {key} {before}, which --resume keeps; received {value}"
            )
    # A run may come from anybody: what it would import must be given anew.
    return dataclasses.replace(settings, **{"import_module": None, **given})


def read_run(folder):
    """The recipe's name and the Settings of a run that anybody may have written."""
    folder = pathlib.Path(folder)
    if not all(
        (folder / name).is_file() for name in ("recipe.json", "model.keras", "metrics.json")
    ):
        raise InputError(
            f"{folder} is not a run: expected a folder that `python -m scripts.train` wrote"
        )
    untrusted.check_folder(folder)
    return untrusted.check_run(folder / "recipe.json")


def load_model(folder):
    """The trained model of a run."""
    return load_file(pathlib.Path(folder) / "model.keras")


def load_file(path):
    """The model in a `.keras` file, which is looked at before TensorFlow is imported."""
    _, numbers = untrusted.check_model(path)
    import keras

    # Keras finds the classes of imported modules only.
    import custom_layers  # noqa: F401
    import models.detector
    import models.gan
    import models.vae
    import models.whole  # noqa: F401

    try:
        with weights_within(numbers):
            return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # what Keras raises for a wrong configuration is not documented
        reason = str(error) if len(str(error)) < 500 else f"{str(error)[:500]}..."
        raise InputError(f"{path} cannot be read: {reason}") from error


@contextlib.contextmanager
def weights_within(numbers):
    """Inside, no layer makes weights that exceed so many numbers in all: the file has no more."""
    import keras

    original, left = keras.Layer.add_weight, numbers

    def add_weight(layer, shape=None, *arguments, **options):
        nonlocal left
        left -= math.prod(shape or ())
        if left < 0:
            raise ValueError(
                f"the weights of layer {layer.name} have shape {shape}, but all weights together "
                f"are {numbers} numbers"
            )
        return original(layer, shape, *arguments, **options)

    keras.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.Layer.add_weight = original


def trained_in_a_process(name, folder, arguments):
    """What `metrics.json` of a recipe's run holds, trained by a process of its own.

    Raises:
        InputError: the training failed, for the reason that it gives.
    """
    program = [sys.executable, "-m", "scripts.train", name, "--output", folder, "--overwrite"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{name}: {last.removeprefix('error: ')}")
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
