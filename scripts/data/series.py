"""series: a time series of tfds as windows, cut into training, validation and test by time.

    rows in order -> values -> (the last `history` values, the next `horizon`) -> shuffled (training
         only) -> batched -> prefetched

The values to predict lie within their part; those that they are predicted from may reach back into
the part before, as they do in use.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from scripts.data.prepare import prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Series:
    """Batches of values `(B, history)` with the next ones `(B, horizon)`.

    values: all, in order. mean, variance: of the training part.
    begins: for each window of the test part, the index of the first value to predict.
    season: number of values after which the rhythm repeats.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    values: np.ndarray
    mean: float
    variance: float
    history: int
    horizon: int
    begins: np.ndarray
    season: int
    found: dict | None = None


def load_series(
    name,
    *,
    batch_size,
    seed,
    history,
    horizon,
    season,
    data_dir=None,
    download_dir=None,
    shares=(0.7, 0.1, 0.2),
):
    """The pipelines of a data set whose rows have a `value`, in the order of time.

    Args:
        name: of a tfds data set with the split `train` alone.
        batch_size: of all three parts.
        seed: of the order of the training part.
        history, horizon: numbers of values before and after the present.
        season: number of values after which the rhythm repeats.
        data_dir, download_dir: see `prepare`.
        shares: of the time, for training, validation and test.
    """
    builder = prepare(name, data_dir, download_dir)
    rows = builder.as_dataset(split="train", shuffle_files=False)
    values = np.array([row["value"] for row in rows.as_numpy_iterator()], "float32")
    sizes = {"history": history, "horizon": horizon, "season": season, "shares": shares}
    return windows(f"data set {name}", values, batch_size=batch_size, seed=seed, **sizes)


def windows(
    name, values, *, batch_size, seed, history, horizon, season, shares=(0.7, 0.1, 0.2), found=None
):
    """The pipelines of a series of values; the arguments are those of `load_series`."""
    ends = np.round(np.cumsum(shares) * len(values)).astype(int)
    earliest = max(history, season)  # so that a seasonal forecast is possible everywhere
    if ends[0] - earliest < horizon or min(np.diff(ends)) < horizon:
        raise InputError(f"{name} has {len(values)} values, too few for its windows")

    def begins(part):
        first = [earliest, ends[0], ends[1]][part]
        return np.arange(first, ends[part] - horizon + 1)

    def pipeline(part, training=False):
        places = begins(part)[:, None]
        x, y = values[places + np.arange(-history, 0)], values[places + np.arange(horizon)]
        examples = tf.data.Dataset.from_tensor_slices((x, y))
        if training:
            examples = examples.shuffle(len(places), seed=seed)
        return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    known = values[: ends[0]].astype("float64")
    return Series(
        name=name.removeprefix("data set "),
        train=pipeline(0, training=True),
        validation=pipeline(1),
        test=pipeline(2),
        values=values,
        mean=float(known.mean()),
        variance=float(known.var()),
        history=history,
        horizon=horizon,
        begins=begins(2),
        season=season,
        found=found,
    )
