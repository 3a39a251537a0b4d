"""boxes: a detection data set of tfds as three tf.data pipelines.

    file -> (image, heads, weights) -> cached -> shuffled (training only) -> batched
         -> image / 255 -> prefetched

The heads are the targets of `models.detector`; with the weights, only cells that hold the center of
an object count in the loss of the boxes.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from models.detector import encode
from scripts.data.images import pipelines, resized, shape_of
from scripts.data.prepare import parts, prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Batches of images `(B, H, W, C)` in [0, 1] with the heads of a detector and their weights.

    truth: for "train", "validation" and "test" the boxes (n, 4) and labels (n,) of each image, in
        order. shape: of one image. grid: the numbers of cells. classes: their names.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    truth: dict[str, list[tuple[np.ndarray, np.ndarray]]]
    shape: tuple[int, int, int]
    grid: tuple[int, int]
    classes: tuple[str, ...]


def load_boxes(name, cell, *, batch_size, seed, size=None, data_dir=None, download_dir=None):
    """The pipelines of a data set that has the features `image` and `objects`.

    Args:
        name: of the tfds data set; its objects have a `bbox` and a `label`.
        cell: pixels on a side of a cell of the detector.
        batch_size: of all three parts.
        seed: of the order of the training part.
        size: `(H, W)` that images are scaled to; needed where their sizes differ.
        data_dir, download_dir: see `prepare`.
    """
    builder = prepare(name, data_dir, download_dir)
    features = builder.info.features
    if "objects" not in features or not {"bbox", "label"} <= set(features["objects"].feature):
        raise InputError(f"data set {name} has no boxes around objects")
    shape = shape_of(name, features["image"].shape, size)
    grid = tuple(-(-side // cell) for side in shape[:2])
    names = features["objects"].feature["label"].names

    def read(example):
        image, objects = example["image"], example["objects"]
        heads, centers = encode(objects["bbox"], objects["label"], grid, len(names))
        return resized(image, size), heads, {"classes": tf.ones(grid), "boxes": centers}

    def truth(split):
        examples = builder.as_dataset(split=split, shuffle_files=False)
        objects = examples.map(lambda example: example["objects"], tf.data.AUTOTUNE)
        return [(o["bbox"], o["label"]) for o in objects.as_numpy_iterator()]

    splits = zip(("train", "validation", "test"), parts(builder.info.splits), strict=True)
    return Boxes(
        name=name,
        **pipelines(builder, read, batch_size, seed),
        truth={part: truth(split) for part, split in splits},
        shape=shape,
        grid=grid,
        classes=tuple(names),
    )
