"""pairs: any translation data set of tfds as three tf.data pipelines, and both vocabularies.

file -> (source, target) -> ids -> cached -> shuffled (training only) -> batched
     -> ((source, start + target), target + end) -> prefetched
"""

import dataclasses

import keras
import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.prepare import parts, prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Batches of ids `((B, S), (B, T))` with the ids that come next `(B, T)`; 0 is padding.

    source, target: the symbols of each language; id i stands for the one at i.
    start, end: the ids before and after a target, the two after those of its symbols.
    length: of the longest target, `end` included.
    symbols: "word" or "character", of the source and the target.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    source: tuple[str, ...]
    target: tuple[str, ...]
    length: int
    symbols: tuple[str, str]

    @property
    def start(self):
        return len(self.target)

    @property
    def end(self):
        return len(self.target) + 1


def load_pairs(
    name,
    *,
    batch_size,
    seed,
    languages,
    symbols=("word", "word"),
    data_dir=None,
    download_dir=None,
    vocabulary=8000,
    length=40,
):
    """The pipelines of a data set, shuffled in each epoch in an order that `seed` fixes.

    Args:
        name: of a tfds data set whose features are those two languages.
        batch_size: of all three parts.
        seed: of the order of the training part.
        languages: the source and the target.
        symbols: "word" (split at white space) or "character", of the source and the target.
        data_dir, download_dir: see `prepare`.
        vocabulary: the largest number of symbols of each language, the most frequent ones.
        length: of a source or target in symbols; longer ones are cut off.
    """
    builder = prepare(name, data_dir, download_dir)
    features = dict(builder.info.features.items())
    if not all(isinstance(features.get(language), tfds.features.Text) for language in languages):
        raise InputError(f"data set {name} does not hold {' and '.join(languages)}")
    splits = dict(zip(("train", "validation", "test"), parts(builder.info.splits), strict=True))

    def texts(split):
        examples = builder.as_dataset(split=split, shuffle_files=False)
        return examples.map(lambda example: tuple(example[language] for language in languages))

    def vectorizer(i):
        layer = keras.layers.TextVectorization(
            max_tokens=vocabulary,
            standardize=None,
            split={"word": "whitespace", "character": "character"}[symbols[i]],
            ragged=True,
        )
        layer.adapt(texts(splits["train"]).map(lambda *pair: pair[i]).batch(1024))
        return layer

    reader, writer = vectorizer(0), vectorizer(1)
    start = writer.vocabulary_size()

    def ids(sources, targets):
        targets = tf.cast(writer(targets)[:, : length - 1], tf.int32)
        edge = tf.ones_like(targets[:, :1].to_tensor(shape=(None, 1)))
        before = tf.concat([start * edge, targets], 1).to_tensor()
        after = tf.concat([targets, (start + 1) * edge], 1).to_tensor()
        return (tf.cast(reader(sources)[:, :length].to_tensor(), tf.int32), before), after

    def pipeline(split, training=False):
        examples = texts(split).cache()
        if training:
            count = builder.info.splits[split].num_examples
            examples = examples.shuffle(min(count, 50_000), seed=seed)
        return examples.batch(batch_size).map(ids, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    validation = pipeline(splits["validation"])
    return Pairs(
        name=name,
        train=pipeline(splits["train"], training=True),
        validation=validation,
        test=pipeline(splits["test"]),
        source=tuple(reader.get_vocabulary()),
        target=tuple(writer.get_vocabulary()),
        length=max(after.shape[1] for _, after in validation.as_numpy_iterator()) + 1,
        symbols=symbols,
    )
