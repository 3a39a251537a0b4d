"""texts: any data set of tfds with a text and a class as three tf.data pipelines, and its words.

    file -> (text, label) -> cached -> shuffled (training only) -> batched -> prefetched

The texts stay texts: the model begins with the vectorizer, so that a saved model reads texts too.
"""

import dataclasses

import keras
import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.prepare import parts, prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Texts:
    """Batches of texts `(B,)` with labels `(B,)`.

    vectorizer: from a text to the ids of its words, `(length,)`; 0 is padding, 1 an unknown word.
    classes: their names. found: of one's own data, what they hold.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    vectorizer: keras.layers.TextVectorization
    classes: tuple[str, ...]
    found: dict | None = None


def load_texts(
    name,
    *,
    batch_size,
    seed,
    data_dir=None,
    download_dir=None,
    keys=None,
    vocabulary=20_000,
    length=64,
):
    """The pipelines of a data set, shuffled in each epoch in an order that `seed` fixes.

    Args:
        name: of a tfds data set.
        batch_size: of all three parts.
        seed: of the order of the training part.
        data_dir, download_dir: see `prepare`.
        keys: of the text and the class among the features, where the data set names no
            `supervised_keys`; and of the class's name, where the class is only a number.
        vocabulary: the largest number of words, the most frequent ones of the training part.
        length: of a text in words; longer ones are cut off.
    """
    builder = prepare(name, data_dir, download_dir)
    text, label, *named = keys or builder.info.supervised_keys or (None, None)
    features = dict(builder.info.features.items())
    of_classes = isinstance(features.get(label), tfds.features.ClassLabel) or named
    if not isinstance(features.get(text), tfds.features.Text) or not of_classes:
        raise InputError(f"data set {name} does not consist of texts with one class each")

    def pipeline(split, training=False):
        examples = builder.as_dataset(split=split, shuffle_files=False)
        examples = examples.map(lambda example: (example[text], example[label])).cache()
        if training:
            count = builder.info.splits[split].num_examples
            examples = examples.shuffle(min(count, 50_000), seed=seed)
        return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    train, validation, test = parts(builder.info.splits)
    if named:
        classes = names(builder.as_dataset(split=train).as_numpy_iterator(), label, *named)
    else:
        classes = features[label].names
    vectorizer = keras.layers.TextVectorization(
        max_tokens=vocabulary, output_sequence_length=length, name="words"
    )
    vectorizer.adapt(pipeline(train).map(lambda texts, labels: texts))
    return Texts(
        name=name,
        train=pipeline(train, training=True),
        validation=pipeline(validation),
        test=pipeline(test),
        vectorizer=vectorizer,
        classes=tuple(classes),
    )


def names(examples, label, name):
    """The names of classes that are numbers, found under the key `name` beside each."""
    found = {int(example[label]): example[name].decode() for example in examples}
    return [found.get(i, str(i)) for i in range(max(found) + 1)]
