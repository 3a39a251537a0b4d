"""characters: a text of tfds as windows for a language model.

text -> ids of its characters -> windows x, and the same one character later, y -> shuffled
     (training only) -> batched -> prefetched
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.prepare import prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Characters:
    """Batches of ids `(B, length)` with the ids that come next `(B, length)`.

    characters: id i stands for the one at i - 1, and id 0 for any other character.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    characters: str


def encode(text, characters):
    """Ids of a text."""
    ids = {character: i for i, character in enumerate(characters, 1)}
    return np.array([ids.get(character, 0) for character in text], "int32")


def windows(ids, length):
    """All of `ids` but the last few, `length` at a time, and what comes after each."""
    count = (len(ids) - 1) // length
    x, y = ids[: count * length], ids[1 : count * length + 1]
    return x.reshape(count, length), y.reshape(count, length)


def load_characters(name, *, batch_size, seed, data_dir=None, download_dir=None, length=100):
    """The pipelines of a data set whose splits are one text each, under the key `text`.

    Args:
        name: of a tfds data set.
        batch_size: of all three parts; an incomplete batch of training is dropped.
        seed: of the training part's order, and of where its windows begin in each epoch.
        data_dir, download_dir: see `prepare`.
        length: of a window. Its first character is predicted from nothing.
    """
    builder = prepare(name, data_dir, download_dir)
    if not isinstance(dict(builder.info.features.items()).get("text"), tfds.features.Text):
        raise InputError(f"data set {name} does not hold texts")
    missing = {"train", "validation", "test"} - builder.info.splits.keys()
    if missing:
        raise InputError(f"data set {name} has no part {' and no part '.join(sorted(missing))}")

    def text(split):
        examples = builder.as_dataset(split=split, shuffle_files=False).as_numpy_iterator()
        return "".join(example["text"].decode() for example in examples)

    characters = "".join(sorted(set(text("train"))))

    def pipeline(split):
        examples = tf.data.Dataset.from_tensor_slices(
            windows(encode(text(split), characters), length)
        )
        return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    return Characters(
        name=name,
        train=shifting(encode(text("train"), characters), length, batch_size, seed),
        validation=pipeline("validation"),
        test=pipeline("test"),
        characters=characters,
    )


def shifting(ids, length, batch_size, seed):
    """Windows that begin at other places in each epoch, so that their edges vary."""
    steps = (len(ids) - length - 1) // length // batch_size
    if steps == 0:
        raise InputError(f"the text has {len(ids)} characters: lower --batch-size")
    ids = tf.constant(ids)

    def slices(shift):
        cut = ids[shift : shift + steps * batch_size * length + 1]
        x, y = tf.reshape(cut[:-1], (-1, length)), tf.reshape(cut[1:], (-1, length))
        return tf.data.Dataset.from_tensor_slices((x, y))

    epoch = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    epoch = epoch.map(lambda number: tf.cast(number % length, tf.int32)).flat_map(slices)
    epoch = epoch.shuffle(steps * batch_size, seed=seed).batch(batch_size, drop_remainder=True)
    return epoch.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)
