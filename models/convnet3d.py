"""convnet3d: convnet with time (or depth) as a third axis, for videos and volumes.

    block   Conv 3x3x3 -> Norm -> ReLU -> MaxPool 2x2x2 -> Dropout     (T, H, W) -> (T/2, H/2, W/2)
    head    mean over time and space -> Dense -> softmax

Tran et al., Learning spatiotemporal features with 3D convolutional networks, ICCV 2015.
"""

import keras

import custom_layers
from models.penalty import penalty


def convnet3d(
    input_shape,
    classes,
    *,
    filters=(8, 16, 32),
    dropout=0.25,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A classifier of videos or volumes.

    Args:
        input_shape: `(T, H, W, C)`; T, H and W are at least `2 ** len(filters)`.
        classes: number of classes.
        filters: channels of each block.
        dropout: fraction of features dropped after each block.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from videos `(B, T, H, W, C)` to probabilities `(B, classes)`.
    """
    inputs = x = keras.Input(input_shape, name="video")
    for i, channels in enumerate(filters, 1):
        x = layers.Conv3D(
            channels,
            3,
            padding="same",
            use_bias=False,  # the normalization adds one
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"conv_{i}",
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm_{i}")(x)
        x = layers.ReLU(name=f"relu_{i}")(x)
        x = layers.MaxPooling3D(name=f"pool_{i}")(x)
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x)
    x = layers.GlobalAveragePooling3D(name="pool")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="convnet3d")
