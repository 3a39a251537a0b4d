"""masks: a segmentation data set of tfds as three tf.data pipelines.

file -> (image, mask) -> cached -> shuffled (training only) -> batched -> image / 255 -> prefetched
"""

import dataclasses

import tensorflow as tf

from scripts.data.images import pipelines, resized, shape_of
from scripts.data.prepare import prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Masks:
    """Batches of images `(B, H, W, C)` in [0, 1] with the class of each pixel `(B, H, W)`.

    shape: of one image. classes: their names, the first is the background.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    shape: tuple[int, int, int]
    classes: tuple[str, ...]


def load_masks(
    name, classes, *, batch_size, seed, values=None, size=None, data_dir=None, download_dir=None
):
    """The pipelines of a data set that has the features `image` and `segmentation_mask`.

    Args:
        name: of the tfds data set.
        classes: names of the classes of pixels.
        batch_size: of all three parts.
        seed: of the order of the training part.
        values: the value of each class in the mask; None means 0, 1, 2, ...
        size: `(H, W)` that images are scaled to; needed where their sizes differ.
        data_dir, download_dir: see `prepare`.
    """
    builder = prepare(name, data_dir, download_dir)
    if not {"image", "segmentation_mask"} <= set(builder.info.features):
        raise InputError(f"data set {name} has no segmentation masks")
    shape = shape_of(name, builder.info.features["image"].shape, size)
    values = tf.constant(range(len(classes)) if values is None else values, tf.uint8)

    def read(example):
        image, mask = example["image"], example["segmentation_mask"]
        if size is not None:
            mask = tf.image.resize(mask, size, "nearest")
        return resized(image, size), tf.argmax(mask == values, -1, tf.int32)

    return Masks(
        name=name,
        **pipelines(builder, read, batch_size, seed),
        shape=shape,
        classes=tuple(classes),
    )
