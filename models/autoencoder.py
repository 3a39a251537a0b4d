"""autoencoder: squeezes an image into a few numbers and restores it.

    encoder   (Conv 3x3, strides 2 -> ReLU) ... -> Flatten -> Dense           (H, W, C) -> (latent,)
    decoder   Dense -> ReLU -> (Conv2DTranspose 3x3, strides 2 -> ReLU) ... -> Conv 3x3 -> sigmoid

Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 2006;
with dropped pixels it is a denoising autoencoder: Vincent et al., ICML 2008.
"""

import math

import keras

import custom_layers
from models.penalty import penalty


def encoder(input_shape, units, *, filters, dropout, l1, l2, layers):
    """A model from images `(B, H, W, C)` to `units` numbers each, without an activation."""
    inputs = keras.Input(input_shape, name="image")
    x = layers.Dropout(dropout, name="pixels")(inputs)
    for i, channels in enumerate(filters, 1):
        x = layers.Conv2D(
            channels,
            3,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"down_{i}",
        )(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(units, kernel_regularizer=penalty(l1, l2, layers), name="code")(x)
    return keras.Model(inputs, outputs, name="encoder")


def decoder(output_shape, latent, *, filters, l1, l2, layers):
    """A model from `latent` numbers to an image `(H, W, C)` of values in [0, 1]."""
    height, width, channels = output_shape
    step = 2 ** len(filters)
    if height % step or width % step:
        raise ValueError(
            f"With {len(filters)} filters, height and width must be multiples of {step}. "
            f"Received: shape={tuple(output_shape)}"
        )
    small = (height // step, width // step, filters[-1])
    inputs = keras.Input((latent,), name="code")
    x = layers.Dense(
        math.prod(small),
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=penalty(l1, l2, layers),
        name="unfold",
    )(inputs)
    x = keras.layers.Reshape(small, name="reshape")(x)
    for i, width in reversed(list(enumerate(filters, 1))):
        x = layers.Conv2DTranspose(
            width,
            3,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"up_{i}",
        )(x)
    outputs = layers.Conv2D(
        channels,
        3,
        padding="same",
        activation="sigmoid",
        kernel_regularizer=penalty(l1, l2, layers),
        name="image",
    )(x)
    return keras.Model(inputs, outputs, name="decoder")


def autoencoder(
    input_shape,
    *,
    latent=16,
    filters=(32, 64),
    dropout=0.0,
    l1=0.0,
    l2=0.0,
    layers=custom_layers,
):
    """An autoencoder of images with values in [0, 1].

    Args:
        input_shape: `(H, W, C)`; H and W are multiples of `2 ** len(filters)`.
        latent: how many numbers an image is reduced to.
        filters: channels of each stage of the encoder; the decoder has them in reverse.
        dropout: fraction of pixels dropped from the input in training: the model then learns to
            repair images.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from images to images, with the models `encoder` and `decoder` as layers.
    """
    shared = {"filters": filters, "l1": l1, "l2": l2, "layers": layers}
    encode = encoder(input_shape, latent, dropout=dropout, **shared)
    decode = decoder(input_shape, latent, **shared)
    inputs = keras.Input(input_shape, name="image")
    return keras.Model(inputs, decode(encode(inputs)), name="autoencoder")
