"""Run folders: written whole or not at all, and read back.

recipe.json    the recipe's name, all settings, versions, device
history.csv    one line an epoch          curves.png    the same, drawn
metrics.json   figures on test and validation, parameters, seconds
model.keras    the model, to train on     saved_model/  the model, to serve without this package
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

from scripts.training import distributed, untrusted
from scripts.training.command_line import InputError


def unfinished(folder):
    """Where a run is written until it is whole: beside its folder, hidden."""
    folder = pathlib.Path(folder)
    return folder.parent / f".{folder.name}.unfinished"


@contextlib.contextmanager
def open_run(folder, name, settings, given, resume=False, overwrite=False):
    """The folder in which a run of the recipe `name` is written, and the run's settings.

    It becomes `folder` if all goes well. After an interruption it stays, if there is a checkpoint
    to resume from.
    """
    again = f"python -m scripts.train {name} --resume {folder}"
    folder, (index, _) = pathlib.Path(folder), distributed.task()
    if index:  # only the chief writes the run; the others keep checkpoints
        folder = folder.parent / f"{folder.name}-worker-{index}"
    partial = unfinished(folder)
    lost = settings.strategy == "multiworker" and not partial.exists()
    if resume and not lost:
        settings = resumed_settings(folder, name, given)
    else:  # a new run, or a worker whose disk was lost
        make_room(folder, overwrite)
    try:
        yield partial, settings
    except InputError:
        if not any(partial.glob("checkpoints/*")):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    except KeyboardInterrupt:
        print(f"interrupted; to continue: {again}", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        raise InputError(f"{error}; to continue once this is fixed: {again}") from error
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def make_room(folder, overwrite):
    """Make the folder of an unfinished run, where there is no run or an old one may go."""
    partial = unfinished(folder)
    if folder.exists():
        if not overwrite:
            raise InputError(
                f"{folder} exists: --overwrite replaces it, --output names another folder"
            )
        if not (folder / "recipe.json").is_file():
            raise InputError(f"{folder} is not a run, so --overwrite does not replace it")
    if partial.exists():
        if not overwrite:
            raise InputError(
                f"{folder} is unfinished: --resume {folder} continues it, --overwrite starts again"
            )
        shutil.rmtree(partial)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder.parent} ({error.strerror}): --output names another folder"
        ) from error


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
    return dataclasses.replace(settings, **given)


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
