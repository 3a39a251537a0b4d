"""unet: a class for every pixel.

    level   (Conv 3x3 -> Norm -> ReLU) twice
    down    level -> kept for the way up -> MaxPool 2x2               (H, W) -> (H/2, W/2)
    up      Conv2DTranspose 2x2, strides 2 -> beside what was kept -> level     (H, W) -> (2H, 2W)
    unet    down ... down -> level -> Dropout -> up ... up -> Conv 1x1 -> softmax

The way down finds what is there; what was kept shows where.

Ronneberger, Fischer & Brox, U-Net: convolutional networks for biomedical image segmentation,
MICCAI 2015.
"""

import keras

import custom_layers
from models.penalty import penalty


def unet(
    input_shape,
    classes,
    *,
    filters=(16, 32, 64),
    dropout=0.25,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A segmenter of images.

    Args:
        input_shape: `(H, W, C)`; H and W are multiples of `2 ** (len(filters) - 1)`.
        classes: number of classes, background included.
        filters: channels of each level, from the whole image down.
        dropout: fraction of features dropped at the lowest level.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from images `(B, H, W, C)` to probabilities `(B, H, W, classes)`.
    """
    step = 2 ** (len(filters) - 1)
    if any(size is not None and size % step for size in input_shape[:2]):
        raise ValueError(
            f"With {len(filters)} levels, height and width must be multiples of {step}. "
            f"Received: input_shape={tuple(input_shape)}"
        )

    def level(x, channels, name):
        for i in (1, 2):
            x = layers.Conv2D(
                channels,
                3,
                padding="same",
                use_bias=False,  # the normalization adds one
                kernel_initializer="he_normal",
                kernel_regularizer=penalty(l1, l2, layers),
                name=f"{name}_conv_{i}",
            )(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm_{i}")(x)
            x = layers.ReLU(name=f"{name}_relu_{i}")(x)
        return x

    inputs = x = keras.Input(input_shape, name="image")
    kept = []
    for i, channels in enumerate(filters[:-1], 1):
        x = level(x, channels, f"down_{i}")
        kept.append(x)
        x = layers.MaxPooling2D(name=f"down_{i}_pool")(x)
    x = level(x, filters[-1], "bottom")
    x = layers.Dropout(dropout, name="dropout")(x)
    for i, channels in reversed(list(enumerate(filters[:-1], 1))):
        x = layers.Conv2DTranspose(
            channels,
            2,
            strides=2,
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"up_{i}_conv",
        )(x)
        x = keras.layers.Concatenate(name=f"up_{i}_beside")([kept[i - 1], x])
        x = level(x, channels, f"up_{i}")
    outputs = layers.Conv2D(
        classes,
        1,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="unet")
