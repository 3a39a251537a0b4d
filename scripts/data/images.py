"""images: any image-classification data set of tfds as three tf.data pipelines.

file -> (image, label) -> cached -> shuffled (training only) -> batched -> image / 255 -> ahead
"""

import dataclasses

import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.pipelines import pipelines
from scripts.data.prepare import prepare
from scripts.training.command_line import InputError


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
    keys = builder.info.supervised_keys or ()
    features = [builder.info.features[key] for key in keys]
    if len(features) != 2 or not all(map(isinstance, features, kinds)):
        raise InputError(f"data set {name} is not of images with one class each")
    image, label = features
    height, width, channels = image.shape
    if size is None and None in (height, width):
        raise InputError(f"data set {name} has images of several sizes: its recipe must give one")
    height, width = size or (height, width)

    def read(example):
        image, label = (example[key] for key in keys)
        if size is not None:
            image = tf.cast(tf.image.resize(image, size), tf.uint8)
        return image, label

    return Images(
        name=name,
        **pipelines(builder, read, batch_size, seed),
        shape=(height, width, channels),
        classes=tuple(label.names),
    )
