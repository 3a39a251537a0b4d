"""images: any image-classification data set of tfds as three tf.data pipelines.

file -> (image, label) -> cached -> shuffled (training only) -> batched -> image / 255 -> prefetched

Images with other targets (masks, boxes) and videos go the same way.
"""

import dataclasses

import tensorflow as tf
import tensorflow_datasets as tfds

from scripts.data.prepare import parts, prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Images:
    """Batches of images `(B, H, W, C)` in [0, 1] with labels `(B,)`.

    shape: of one image. classes: their names. found: of one's own data, what they hold.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    found: dict | None = None


def load_images(name, *, batch_size, seed, data_dir=None, download_dir=None, size=None):
    """The pipelines of a data set, shuffled in each epoch in an order that `seed` fixes.

    Args:
        name: of a tfds data set whose `supervised_keys` are an image and a class.
        batch_size: of all three parts.
        seed: of the order of the training part.
        data_dir, download_dir: see `prepare`.
        size: `(H, W)` that images are scaled to; needed where their sizes differ.
    """
    builder = prepare(name, data_dir, download_dir)
    kinds = tfds.features.Image, tfds.features.ClassLabel
    keys = builder.info.supervised_keys or ()
    features = [builder.info.features[key] for key in keys]
    if len(features) != 2 or not all(map(isinstance, features, kinds)):
        raise InputError(f"data set {name} does not consist of images with one class each")
    image, label = features
    shape = shape_of(name, image.shape, size)

    def read(example):
        image, label = (example[key] for key in keys)
        return resized(image, size), label

    return Images(
        name=name,
        **pipelines(builder, read, batch_size, seed),
        shape=shape,
        classes=tuple(label.names),
    )


def shape_of(name, shape, size=None):
    """`(H, W, C)` of the images of the data set `name`, whose `shape` may lack sizes."""
    height, width = size or shape[:2]
    if None in (height, width):
        raise InputError(f"data set {name} has images of different sizes: its recipe must set one")
    return height, width, shape[2]


def resized(image, size=None):
    """An image in bytes, scaled to `(H, W)` where these are given."""
    return image if size is None else tf.cast(tf.image.resize(image, size), tf.uint8)


def pipelines(builder, read, batch_size, seed):
    """The batches of each part: `{"train": ..., "validation": ..., "test": ...}`.

    Args:
        builder: of tfds, prepared.
        read: `(example) -> (image, ...)`, of one example; the image (or video) in bytes.
        batch_size: of all three parts.
        seed: of the order of the training part.
    """

    def scaled(images, *others):
        return tf.cast(images, tf.float32) / 255, *others

    def pipeline(part, split):
        examples = builder.as_dataset(split=split, shuffle_files=False)
        examples = examples.map(read, tf.data.AUTOTUNE).cache()
        if part == "train":
            count = builder.info.splits[split].num_examples
            examples = examples.shuffle(min(count, 10_000), seed=seed)
        return examples.batch(batch_size).map(scaled).prefetch(tf.data.AUTOTUNE)

    splits = zip(("train", "validation", "test"), parts(builder.info.splits), strict=True)
    return {part: pipeline(part, split) for part, split in splits}
