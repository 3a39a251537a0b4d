"""series: a column of numbers in the order of time, in a CSV file, `series:PATH`."""

import numpy as np
import pandas as pd

from scripts.data.own.frames import columns, read_frame
from scripts.data.series import windows
from scripts.training.command_line import InputError

HISTORY, HORIZON = 30, 7


def load_own_series(path, *, batch_size, seed, label=None, like=None):
    """The pipelines of a series, of which HISTORY values foretell the next HORIZON.

    Args:
        path: of the file.
        batch_size: of all three parts.
        seed: of the order of the training part.
        label: the column; the only one of numbers if it is None.
        like: nothing; a series has its test at its end, also for a trained model.
    """
    values = values_of(path, label)
    return windows(
        f"series:{path}",
        values,
        history=HISTORY,
        horizon=HORIZON,
        season=HORIZON,
        batch_size=batch_size,
        seed=seed,
        found={
            "values": len(values),
            "from, to, mean": f"{values.min():g}, {values.max():g}, {values.mean():g}",
            "split": "by time: 70 % training, 10 % validation, 20 % test",
        },
    )


def values_of(path, label=None):
    """The numbers of a series."""
    frame = read_frame(path)
    numeric = [key for key in frame if pd.api.types.is_numeric_dtype(frame[key])]
    if label is None and len(numeric) != 1:
        raise InputError(
            f"series:{path} has {len(numeric)} columns of numbers: --label names the one to "
            f"foretell: {columns(frame)}"
        )
    key = numeric[0] if label is None else label
    if key not in frame:
        raise InputError(f"series:{path} has no column {key}: --label is one of {columns(frame)}")
    values = pd.to_numeric(frame[key], errors="coerce").to_numpy("float32")
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise InputError(
            f"series:{path}, line {wrong[0] + 2}, column {key}: expected a number, found "
            f"{frame[key].iloc[wrong[0]]!r}: fill it in"
        )
    return values
