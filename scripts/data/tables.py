"""tables: any tabular data set of tfds with one class per row as three tf.data pipelines.

    rows -> numbers as they are, classes one-hot, texts left out -> shuffled (training only)
         -> batched -> prefetched

A missing number (NaN) becomes the mean of its column in the training part.
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.prepare import prepare
from scripts.training.command_line import InputError

ENDS = (
    0.6,
    0.8,
)  # where validation and test begin; tfds has stored the rows in a fixed random order


@dataclasses.dataclass(frozen=True)
class Table:
    """Batches of rows `(B, *shape)` with labels `(B,)`.

    moments: mean and variance of each column in the training part.
    columns: names of the columns. classes: names of the classes.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    shape: tuple[int]
    moments: tuple[np.ndarray, np.ndarray]
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    found: dict | None = None


def load_table(name, *, batch_size, seed, data_dir=None, download_dir=None, without=()):
    """The pipelines of a data set with the split `train` alone.

    Args:
        name: of a tfds data set whose `supervised_keys` are one or more columns and a class.
        batch_size: of all three parts.
        seed: of the order of the training part.
        data_dir, download_dir: see `prepare`.
        without: columns to leave out, such as what is known only after the fact.
    """
    builder = prepare(name, data_dir, download_dir)
    keys, label = builder.info.supervised_keys or (None, None)
    features = dict(builder.info.features.items())
    if not isinstance(features.get(label), tfds.features.ClassLabel):
        raise InputError(f"data set {name} is not a table with one class per row")
    keys = list(keys) if isinstance(keys, dict) else [keys]
    # penguins/simple lists the class itself among the columns to predict it from.
    keys = [key for key in keys if key not in {label, *without}]
    rows = list(builder.as_dataset(split="train", shuffle_files=False).as_numpy_iterator())
    columns = {}
    for key in keys:
        columns |= numbers(key, features[key], [row[key] for row in rows])
    x = np.stack(list(columns.values()), axis=1)
    labels = np.array([row[label] for row in rows])
    ends = [round(end * len(rows)) for end in ENDS]
    known = x[: ends[0]].astype("float64")
    mean, variance = np.nanmean(known, axis=0), np.nanvar(known, axis=0)
    x = np.where(np.isnan(x), mean, x).astype("float32")

    def pipeline(begin, end, training=False):
        examples = tf.data.Dataset.from_tensor_slices((x[begin:end], labels[begin:end]))
        if training:
            examples = examples.shuffle(end, seed=seed)
        return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    return Table(
        name=name,
        train=pipeline(0, ends[0], training=True),
        validation=pipeline(ends[0], ends[1]),
        test=pipeline(ends[1], len(rows)),
        shape=(x.shape[1],),
        moments=(mean, variance),
        columns=tuple(columns),
        classes=tuple(features[label].names),
    )


def numbers(key, feature, values):
    """The columns `{name: (rows,)}` that a feature becomes; a text becomes none."""
    if isinstance(feature, tfds.features.ClassLabel):
        return {
            f"{key} {name}": np.equal(values, i).astype("float32")
            for i, name in enumerate(feature.names)
        }
    values = np.array(values)
    if values.dtype.kind not in "biuf":
        return {}
    if values.ndim == 1:
        return {key: values.astype("float32")}
    return {f"{key} {i}": values[:, i].astype("float32") for i in range(values.shape[1])}
