"""resnet: a residual network for small images.

    residual   x + f(x),  f = Norm -> ReLU -> Conv 3x3 -> Norm -> ReLU -> Dropout -> Conv 3x3
    resnet     Conv 3x3 -> stages of residuals -> Norm -> ReLU -> mean over pixels -> softmax

Each stage but the first halves the image. Where f changes the shape, x goes
through a 1x1 convolution.

He, Zhang, Ren & Sun, Identity mappings in deep residual networks, ECCV 2016.
"""

import keras

import custom_layers
from models.penalty import penalty


def resnet(
    input_shape,
    classes,
    *,
    filters=(16, 32, 64),
    blocks=1,
    dropout=0.25,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A classifier of images.

    Args:
        input_shape: `(H, W, C)`; H and W are at least `2 ** (len(filters) - 1)`.
        classes: number of classes.
        filters: channels of each stage.
        blocks: residual blocks of each stage.
        dropout: fraction of features dropped inside each block and before the last layer.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from images `(B, H, W, C)` to probabilities `(B, classes)`.
    """

    def conv(x, channels, size, strides, name):
        return layers.Conv2D(
            channels,
            size,
            strides=strides,
            padding="same",
            use_bias=False,  # a normalization follows, or one has a bias to add
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=name,
        )(x)

    def norm_relu(x, name):
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def residual(x, channels, strides, name):
        y = norm_relu(x, f"{name}_1")
        if strides > 1 or x.shape[-1] != channels:
            x = conv(y, channels, 1, strides, f"{name}_skip")
        y = conv(y, channels, 3, strides, f"{name}_conv_1")
        y = norm_relu(y, f"{name}_2")
        y = layers.Dropout(dropout, name=f"{name}_dropout")(y)
        y = conv(y, channels, 3, 1, f"{name}_conv_2")
        return keras.layers.Add(name=f"{name}_add")([x, y])

    inputs = keras.Input(input_shape, name="image")
    x = conv(inputs, filters[0], 3, 1, "stem")
    for i, channels in enumerate(filters, 1):
        for j in range(1, blocks + 1):
            strides = 2 if i > 1 and j == 1 else 1
            x = residual(x, channels, strides, f"stage_{i}_block_{j}")
    x = norm_relu(x, "last")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="resnet")
