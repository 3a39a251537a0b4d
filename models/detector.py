"""detector: boxes around objects, found in one pass, at most one for each class in each cell.

    stage      Conv 3x3, strides 2 -> Norm -> ReLU -> Conv 3x3 -> Norm -> ReLU      halves the image
    detector   stages -> Dropout -> Conv 3x3 -> Norm -> ReLU -> two heads of Conv 1x1:

    classes    (G, G', classes)   probability that an object of the class has its center in a cell
    boxes      (G, G', 4)         y, x of that center relative to the cell's, then log height and
                                  log width, in units of cells

There are no anchors: what a cell predicts about a box depends on the cell alone. `detections` turns
the heads into a list of boxes and suppresses overlapping boxes of the same class.

Zhou, Wang & Krähenbühl, Objects as points, 2019; focal loss: Lin et al., ICCV 2017.
"""

import keras
import tensorflow as tf

import custom_layers
from models.penalty import penalty

RARE = -4.0  # initial logit of a class in a cell, since nearly all cells are empty


def detector(
    input_shape,
    classes,
    *,
    filters=(32, 64),
    dropout=0.25,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A detector of objects.

    Args:
        input_shape: `(H, W, C)`; a cell is `2 ** len(filters)` pixels on a side.
        classes: number of classes, not counting the background.
        filters: channels of each stage.
        dropout: fraction of features dropped before the heads.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from images `(B, H, W, C)` to a dict of the heads `classes` and `boxes`.
    """

    def conv(x, channels, strides, name):
        x = layers.Conv2D(
            channels,
            3,
            strides=strides,
            padding="same",
            use_bias=False,  # the normalization adds one
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"{name}_conv",
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def head(x, channels, name, **arguments):
        return layers.Conv2D(
            channels, 1, kernel_regularizer=penalty(l1, l2, layers), name=name, **arguments
        )(x)

    inputs = x = keras.Input(input_shape, name="image")
    for i, channels in enumerate(filters, 1):
        x = conv(x, channels, 2, f"stage_{i}_down")
        x = conv(x, channels, 1, f"stage_{i}")
    x = layers.Dropout(dropout, name="dropout")(x)
    x = conv(x, filters[-1], 1, "context")
    rare = keras.initializers.Constant(RARE)
    outputs = {
        "classes": head(x, classes, "classes", activation="sigmoid", bias_initializer=rare),
        "boxes": head(x, 4, "boxes"),
    }
    return keras.Model(inputs, outputs, name="detector")


def encode(boxes, labels, grid, classes):
    """The targets of the heads for one image.

    Args:
        boxes: `(n, 4)`: top, left, bottom, right, each in [0, 1].
        labels: `(n,)`.
        grid: `(G, G')`, the numbers of cells along height and width.
        classes: number of classes.

    Returns:
        The heads `classes` and `boxes`, and the number of centers `(G, G')` in each cell (0 or 1:
        where several objects share a cell, the last one is kept).
    """
    size = tf.constant(grid, tf.float32)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 * size  # (n, 2), in cells
    extent = (boxes[:, 2:] - boxes[:, :2]) * size
    cell = tf.minimum(tf.cast(center, tf.int32), tf.constant(grid) - 1)
    offset = center - tf.cast(cell, tf.float32) - 0.5
    values = tf.concat([offset, tf.math.log(tf.maximum(extent, 1e-3))], 1)
    blank = {"classes": tf.zeros((*grid, classes)), "boxes": tf.zeros((*grid, 4))}
    heads = {
        "classes": tf.tensor_scatter_nd_update(blank["classes"], cell, tf.one_hot(labels, classes)),
        "boxes": tf.tensor_scatter_nd_update(blank["boxes"], cell, values),
    }
    return heads, tf.reduce_max(heads["classes"], -1)


def decode(heads):
    """The box that each cell predicts: heads `(B, G, G', 4)` -> `(B, G, G', 4)` in [0, 1]."""
    grid = tf.shape(heads)[1:3]
    rows, columns = tf.meshgrid(tf.range(grid[0]), tf.range(grid[1]), indexing="ij")
    cell = tf.cast(tf.stack([rows, columns], -1), heads.dtype)
    center = cell + 0.5 + heads[..., :2]
    half = tf.exp(tf.minimum(heads[..., 2:], 10.0)) / 2
    size = tf.cast(grid, heads.dtype)
    return tf.concat([(center - half) / size, (center + half) / size], -1)


@keras.saving.register_keras_serializable(package="models")
class Detections(keras.layers.Layer):
    """The heads as a list of boxes, best first, padded with zeros.

    Args:
        score: the lowest probability of a detection.
        overlap: the largest intersection over union of two boxes of one class; above it, the less
            probable one is suppressed.
        most: the largest number of detections in an image.
    """

    def __init__(self, score=0.05, overlap=0.5, most=20, **kwargs):
        super().__init__(**kwargs)
        self.score, self.overlap, self.most = score, overlap, most

    def call(self, heads):
        classes = heads["classes"]
        cells = tf.reduce_prod(tf.shape(classes)[1:3])
        found = tf.image.combined_non_max_suppression(
            tf.reshape(decode(heads["boxes"]), (-1, cells, 1, 4)),
            tf.reshape(classes, (-1, cells, classes.shape[-1])),
            max_output_size_per_class=self.most,
            max_total_size=self.most,
            iou_threshold=self.overlap,
            score_threshold=self.score,
        )
        return {
            "boxes": found.nmsed_boxes,  # (B, most, 4), in [0, 1]
            "labels": tf.cast(found.nmsed_classes, tf.int32),  # (B, most)
            "scores": found.nmsed_scores,  # (B, most)
            "count": found.valid_detections,  # (B,)
        }

    def compute_output_spec(self, heads):
        batch = heads["classes"].shape[0]
        return {
            "boxes": keras.KerasTensor((batch, self.most, 4)),
            "labels": keras.KerasTensor((batch, self.most), "int32"),
            "scores": keras.KerasTensor((batch, self.most)),
            "count": keras.KerasTensor((batch,), "int32"),
        }

    def get_config(self):
        own = {"score": self.score, "overlap": self.overlap, "most": self.most}
        return {**super().get_config(), **own}


def detections(model, **arguments):
    """A detector with its heads turned into boxes, for prediction and export.

    Args:
        model: what `detector` returned.
        **arguments: of `Detections`.
    """
    return keras.Model(model.input, Detections(**arguments)(model.output), name="detections")
