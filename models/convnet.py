"""convnet: blocks of convolution and pooling, then a dense head.

    block      Conv 3x3 -> ReLU -> MaxPool 2x2 -> BatchNorm -> Dropout       (H, W) -> (H/2, W/2)
    head       Flatten -> Dense -> ReLU -> Dropout -> Dense -> softmax

Each block halves the image and has its own number of filters.
"""

import keras

import custom_layers
from models.penalty import penalty


def convnet(
    input_shape,
    classes,
    *,
    filters=(32, 64),
    units=128,
    dropout=0.25,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A classifier of images.

    Args:
        input_shape: `(H, W, C)`; H and W are at least `2 ** len(filters)`.
        classes: number of classes.
        filters: channels of each block.
        units: width of the hidden dense layer.
        dropout: fraction of features dropped after each block and before the last layer.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from images `(B, H, W, C)` to probabilities `(B, classes)`.
    """
    inputs = x = keras.Input(input_shape, name="image")
    for i, channels in enumerate(filters, 1):
        x = layers.Conv2D(
            channels,
            3,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"conv_{i}",
        )(x)
        x = layers.ReLU(name=f"relu_{i}")(x)
        x = layers.MaxPooling2D(name=f"pool_{i}")(x)
        x = layers.BatchNormalization(name=f"norm_{i}")(x)
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(
        units,
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=penalty(l1, l2, layers),
        name="hidden",
    )(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="convnet")
