"""signals: sounds and other signals of tfds with one class each as three tf.data pipelines.

file -> (signal, label) -> cut, or padded with zeros in front -> shuffled (training only) -> batched
"""

import dataclasses

import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.prepare import parts, prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Signals:
    """Batches of signals `(B, *shape)` with labels `(B,)`.

    rate: samples per second of a sound, or None. classes: their names.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    shape: tuple[int, ...]
    rate: int | None
    classes: tuple[str, ...]


def load_signals(
    name,
    *,
    batch_size,
    seed,
    length,
    channels=None,
    people=None,
    turn=None,
    data_dir=None,
    download_dir=None,
):
    """The pipelines of a data set, shuffled in each epoch in an order that `seed` fixes.

    Args:
        name: of a tfds data set whose `supervised_keys` are a signal and a class.
        batch_size: of all three parts.
        seed: of the order of the training part.
        length: of a signal; longer ones are cut off, shorter ones get zeros in front, so that a
            recurrent layer finishes on the signal's end.
        channels: keys of the signal's parts, where it is not a sound.
        people: `(key, for validation, for test)`, to have each person in one part only: the key
            of the person, and the persons of the other two parts.
        turn: standard deviation, in radians, of random rotations of training signals whose three
            channels are a direction in space: no two people hold a hand alike.
        data_dir, download_dir: see `prepare`.
    """
    builder = prepare(name, data_dir, download_dir)
    features = dict(builder.info.features.items())
    signal, label = builder.info.supervised_keys or (None, None)
    if not isinstance(features.get(label), tfds.features.ClassLabel):
        raise InputError(f"data set {name} does not consist of signals with one class each")

    def read(example):
        if channels is None:
            x = tf.cast(example[signal], tf.float32) / 32768  # 16-bit integers
        else:
            x = tf.stack([tf.cast(example[signal][key], tf.float32) for key in channels], axis=-1)
        x = x[:length]
        x = tf.pad(x, [[length - tf.shape(x)[0], 0]] + [[0, 0]] * (x.shape.rank - 1))
        return tf.ensure_shape(x, shape), example[label]

    def pipeline(split, keep=None, training=False):
        examples = builder.as_dataset(split=split, shuffle_files=False)
        count = builder.info.splits[split].num_examples
        if keep is not None:
            examples = examples.filter(lambda example: keep(example[people[0]]))
            count = sum(1 for _ in examples)
            examples = examples.apply(tf.data.experimental.assert_cardinality(count))
        if training:
            examples = examples.shuffle(min(count, 10_000), seed=seed)
        batches = examples.map(read, tf.data.AUTOTUNE).batch(batch_size)
        if training and turn is not None:
            batches = batches.map(lambda x, y: (turned(x, turn, seed), y))
        return batches.prefetch(tf.data.AUTOTUNE)

    shape = (length,) if channels is None else (length, len(channels))
    if people is None:
        splits = parts(builder.info.splits)
        train, validation, test = pipeline(splits[0], training=True), *map(pipeline, splits[1:])
    else:

        def among(persons):
            return lambda person: tf.reduce_any(tf.equal(tf.cast(person, tf.int32), persons))

        apart = [among(persons) for persons in (people[1], people[2], people[1] + people[2])]
        train = pipeline("train", lambda person: not apart[2](person), training=True)
        validation, test = pipeline("train", apart[0]), pipeline("train", apart[1])
    return Signals(
        name=name,
        train=train,
        validation=validation,
        test=test,
        shape=shape,
        rate=getattr(features[signal], "sample_rate", None),
        classes=tuple(features[label].names),
    )


def turned(x, turn, seed):
    """Each signal `(T, 3)` of a batch rotated at random and scaled by at most 20 %."""
    count = tf.shape(x)[0]
    a, b, c = tf.unstack(tf.random.normal((3, count), stddev=turn, seed=seed))
    zero = tf.zeros_like(a)
    # The exponential of a skew-symmetric matrix is a rotation.
    skew = tf.stack([zero, -c, b, c, zero, -a, -b, a, zero], axis=-1)
    rotation = tf.linalg.expm(tf.reshape(skew, (-1, 3, 3)))
    strength = tf.random.uniform((count, 1, 1), 0.8, 1.2, seed=seed)
    return strength * tf.matmul(x, rotation)
