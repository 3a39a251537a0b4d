"""images: any image-classification data set of tfds as three tf.data pipelines.

file -> (image, label) -> cached -> shuffled (training only) -> batched -> image / 255 -> ahead
"""

import dataclasses

import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.command import InputError
from scripts.data.prepare import prepare


@dataclasses.dataclass(frozen=True)
class Images:
    """Batches of images `(B, H, W, C)` in [0, 1] with labels `(B,)`.

    shape: of one image. classes: their names.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    shape: tuple[int, int, int]
    classes: tuple[str, ...]


def parts(splits):
    """What to read as training, validation and test, given the names of the splits there are.

    What is missing is cut off the end of the training split, a tenth each.
    """
    train, validation, test = "train", "validation", "test"
    if "test" not in splits and "validation" not in splits:
        return "train[:80%]", "train[80%:90%]", "train[90%:]"
    if "validation" not in splits:
        train, validation = "train[:90%]", "train[90%:]"
    if "test" not in splits:
        train, test = "train[:90%]", "train[90%:]"
    return train, validation, test


def load_images(name, *, batch_size, seed, data_dir=None, download_dir=None, size=None):
    """The pipelines of a data set, shuffled in each epoch in an order that `seed` fixes.

    Args:
        name: of a tfds data set whose `supervised_keys` are an image and a class.
        batch_size: of all three parts.
        seed: of the order of the training part.
        data_dir, download_dir: see `prepare`.
        size: `(H, W)` that images are scaled to; needed where they are of several sizes.
    """
    builder = prepare(name, data_dir, download_dir)
    kinds = tfds.features.Image, tfds.features.ClassLabel
    features = [builder.info.features[key] for key in builder.info.supervised_keys or ()]
    if len(features) != 2 or not all(map(isinstance, features, kinds)):
        raise InputError(f"data set {name} is not of images with one class each")
    image, label = features
    height, width, channels = image.shape
    if size is None and None in (height, width):
        raise InputError(f"data set {name} has images of several sizes: its recipe must give one")
    height, width = size or (height, width)

    def scaled(images, labels):
        return tf.cast(images, tf.float32) / 255, labels

    def pipeline(split, training=False):
        examples = builder.as_dataset(split=split, as_supervised=True, shuffle_files=False)
        if size is not None:
            examples = examples.map(
                lambda x, y: (tf.cast(tf.image.resize(x, size), tf.uint8), y), tf.data.AUTOTUNE
            )
        examples = examples.cache()
        if training:
            count = builder.info.splits[split].num_examples
            examples = examples.shuffle(min(count, 10_000), seed=seed)
        return examples.batch(batch_size).map(scaled).prefetch(tf.data.AUTOTUNE)

    train, validation, test = parts(builder.info.splits)
    return Images(
        name=name,
        train=pipeline(train, training=True),
        validation=pipeline(validation),
        test=pipeline(test),
        shape=(height, width, channels),
        classes=tuple(label.names),
    )
