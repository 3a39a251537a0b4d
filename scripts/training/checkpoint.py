"""Checkpoint: after each epoch, all that training needs to continue as if nothing had happened.

    checkpoints/epoch-00007.npz     weights, seeds, moving averages, optimizers, the best weights
                                    so far, and the history as text

A file is written under another name, flushed to the disk and then renamed, so it is whole or
absent; the previous one stays until the next is whole. A file that cannot be read (a zip archive
carries checksums) is skipped, with a message, and the previous one is used.
"""

import io
import json
import os
import pathlib
import sys
import time
import zipfile

import keras
import numpy as np

from scripts.training.command_line import InputError
from scripts.training.untrusted import NOT_ZIP, check_zip

UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, RecursionError),
    *NOT_ZIP,
)
BEST = ("best", "best_epoch", "wait")  # of EarlyStopping, beside the weights
KEEP = 2  # files; the older one serves if the newer one is damaged


class Checkpoint(keras.callbacks.Callback):
    """Write a checkpoint after each epoch, and restore the newest one.

    It must be the last callback, so that the history holds what the others have logged.

    Args:
        folder: of the checkpoints; made when the first is written.
        keep_best: the `keras.callbacks.EarlyStopping` that holds the best weights so far.
    """

    def __init__(self, folder, keep_best):
        super().__init__()
        self.folder, self.keep_best = pathlib.Path(folder), keep_best
        self.history, self.best = {}, None
        self.seconds = 0.0  # of training, those before an interruption included

    def newest(self):
        """(epochs done, content) of the newest checkpoint that can be read, or (0, b"")."""
        for path in reversed(self._files()):
            try:
                with zipfile.ZipFile(path) as archive:
                    check_zip(path, archive)
                content = path.read_bytes()
                return _read(content)["state"]["epochs"], content
            except (InputError, *UNREADABLE) as error:
                print(f"{path} cannot be read ({error}): using the previous one", file=sys.stderr)
        return 0, b""

    def columns(self, content):
        """The names in the history of a checkpoint with this content."""
        return _read(content)["state"]["history"].keys()

    def restore(self, model, content):
        """Bring a compiled model to the state of a checkpoint with this content.

        Returns:
            The number of epochs done.

        Raises:
            InputError: it is the checkpoint of another model.
        """
        arrays = _read(content)
        state, variables = arrays["state"], state_variables(model)
        try:
            for i, variable in enumerate(variables):
                variable.assign(arrays[f"variable-{i}"])
            weights = [arrays[f"best-{i}"] for i in range(state["best_weights"])]
            if [w.shape for w in weights] not in ([], [w.shape for w in model.get_weights()]):
                raise ValueError("the best weights have other shapes")
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"the checkpoint in {self.folder} belongs to another model ({error}): "
                "--overwrite starts again"
            ) from error
        self.history, self.seconds = state["history"], state["seconds"]
        self.best = {**state["best"], "best_weights": weights or None}
        return state["epochs"]

    def on_train_begin(self, logs=None):
        self.last = time.perf_counter()
        if self.best is not None:  # after keep_best has reset itself
            for name, value in self.best.items():
                setattr(self.keep_best, name, value)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        now = time.perf_counter()
        self.seconds, self.last = self.seconds + now - self.last, now
        self._write(epoch + 1)

    def _write(self, epochs):
        best = {name: getattr(self.keep_best, name) for name in BEST}
        best = {k: None if v is None else np.asarray(v).item() for k, v in best.items()}
        best_weights = self.keep_best.best_weights or []
        state = {
            "epochs": epochs,
            "history": self.history,
            "seconds": self.seconds,
            "best": best,
            "best_weights": len(best_weights),
        }
        arrays = {"state": np.asarray(json.dumps(state))}
        for i, variable in enumerate(state_variables(self.model)):
            arrays[f"variable-{i}"] = variable.numpy()
        for i, weight in enumerate(best_weights):
            arrays[f"best-{i}"] = weight
        self.folder.mkdir(exist_ok=True)  # without parents: the run's folder must be there
        path = self.folder / f"epoch-{epochs:05d}.npz"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for old in self._files()[:-KEEP]:
            old.unlink()

    def _files(self):
        return sorted(self.folder.glob("epoch-*.npz"))


def _read(content):
    """The arrays of a checkpoint, all of them, so that each checksum is verified."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    state = arrays["state"] = json.loads(str(arrays["state"]))
    epochs, columns = state["epochs"], state["history"].values()
    numbers = [
        *state["best"].values(),
        state["seconds"],
        *(x for column in columns for x in column),
    ]
    if (
        type(epochs) is not int
        or type(state["best_weights"]) is not int
        or state["best"].keys() != set(BEST)
        or {len(column) for column in columns} != {epochs}
        or not all(x is None or type(x) in (int, float) for x in numbers)
    ):
        raise ValueError("its state is malformed")
    return arrays


def state_variables(model):
    """Weights, seeds and statistics of a compiled model, and the state of its optimizers."""
    variables = list(model.variables)
    for optimizer in vars(model).values():
        if isinstance(optimizer, keras.optimizers.Optimizer):
            if not optimizer.built:
                optimizer.build(model.trainable_variables)
            variables += optimizer.variables
    seen = set()
    return [v for v in variables if not (id(v) in seen or seen.add(id(v)))]
