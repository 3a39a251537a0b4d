"""Checkpoint: after each epoch, all that a training needs to go on as if nothing had happened.

    checkpoints/epoch-00007.npz     weights, seeds, moving averages, optimizers, the best weights
                                    so far, and the history as text

A file is written under another name, flushed to the disk and then renamed, so it is whole or not
there; the one before stays until the next is whole. A file that cannot be read (a zip archive
carries checksums) is passed over, with a message, in favor of the one before.
"""

import json
import os
import pathlib
import sys
import zipfile

import keras
import numpy as np

KEEP = 2  # files; the older one is there for the day when the newer one is damaged


class Checkpoint(keras.callbacks.Callback):
    """Write a checkpoint after each epoch, and restore the newest one.

    To be the last of the callbacks: what the others have logged is then in the history.

    Args:
        folder: of the checkpoints; made when the first is written.
        keep_best: the `keras.callbacks.EarlyStopping` that holds the best weights so far.
        write: whether this process writes (of several workers only the chief does).
    """

    def __init__(self, folder, keep_best, write=True):
        super().__init__()
        self.folder, self.keep_best, self.write = pathlib.Path(folder), keep_best, write
        self.history, self.best = {}, None

    def restore(self, model):
        """Put a compiled model where the newest readable checkpoint left it.

        Returns:
            The number of epochs that are done, 0 without a checkpoint.
        """
        for path in reversed(self._files()):
            try:
                with np.load(path, allow_pickle=False) as file:
                    arrays = {name: file[name] for name in file.files}
                state = json.loads(str(arrays["state"]))
                variables = state_variables(model)
                values = [arrays[f"variable-{i}"] for i in range(len(variables))]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                print(f"{path} cannot be read ({error}): using the one before", file=sys.stderr)
                continue
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            self.history = state["history"]
            weights = [arrays[f"best-{i}"] for i in range(state["best_weights"])]
            self.best = {**state["best"], "best_weights": weights or None}
            return state["epochs"]
        return 0

    def on_train_begin(self, logs=None):
        if self.best is not None:  # after keep_best has begun anew
            for name, value in self.best.items():
                setattr(self.keep_best, name, value)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.write:
            self._write(epoch + 1)

    def _write(self, epochs):
        best = {name: getattr(self.keep_best, name) for name in ("best", "best_epoch", "wait")}
        best = {k: None if v is None else np.asarray(v).item() for k, v in best.items()}
        best_weights = self.keep_best.best_weights or []
        state = {
            "epochs": epochs,
            "history": self.history,
            "best": best,
            "best_weights": len(best_weights),
        }
        arrays = {"state": np.asarray(json.dumps(state))}
        for i, variable in enumerate(state_variables(self.model)):
            arrays[f"variable-{i}"] = variable.numpy()
        for i, weight in enumerate(best_weights):
            arrays[f"best-{i}"] = weight
        self.folder.mkdir(parents=True, exist_ok=True)
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
