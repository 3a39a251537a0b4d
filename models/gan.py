"""gan: two networks that play against each other, so that one learns to generate images.

    generator       Dense -> Norm -> ReLU -> (Conv2DTranspose 4x4, strides 2 -> Norm -> ReLU) ...
                    -> Conv 3x3 -> sigmoid                                   (latent,) -> (H, W, C)
    discriminator   (Conv 4x4, strides 2 -> LeakyReLU -> Dropout) ... -> Flatten -> Dense
                    logit that the image is real                             (H, W, C) -> (1,)

    discriminator's loss   log(1 + exp(-d(x))) + log(1 + exp(d(g(z))))      z ~ N(0, 1)
    generator's loss       log(1 + exp(-d(g(z))))

Goodfellow et al., Generative adversarial nets, NeurIPS 2014; Radford, Metz & Chintala, Unsupervised
representation learning with deep convolutional GANs, ICLR 2016.
"""

import math

import keras
import tensorflow as tf

import custom_layers
from models.penalty import penalty


def generator(output_shape, latent, *, filters, l1, l2, layers):
    """A model from `latent` numbers to an image `(H, W, C)` of values in [0, 1]."""
    height, width, channels = output_shape
    step = 2 ** len(filters)
    if height % step or width % step:
        raise ValueError(
            f"With {len(filters)} filters, height and width must be multiples of {step}. "
            f"Received: shape={tuple(output_shape)}"
        )
    small = (height // step, width // step, filters[-1])

    def norm_relu(x, name):
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    inputs = keras.Input((latent,), name="latent")
    x = layers.Dense(
        math.prod(small), use_bias=False, kernel_regularizer=penalty(l1, l2, layers), name="unfold"
    )(inputs)
    x = norm_relu(keras.layers.Reshape(small, name="reshape")(x), "unfold")
    for i, width in reversed(list(enumerate(filters, 1))):
        x = layers.Conv2DTranspose(
            width,
            4,
            strides=2,
            padding="same",
            use_bias=False,
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"up_{i}",
        )(x)
        x = norm_relu(x, f"up_{i}")
    outputs = layers.Conv2D(
        channels,
        3,
        padding="same",
        activation="sigmoid",
        kernel_regularizer=penalty(l1, l2, layers),
        name="image",
    )(x)
    return keras.Model(inputs, outputs, name="generator")


def discriminator(input_shape, *, filters, dropout, l1, l2, layers):
    """A model from images `(B, H, W, C)` to logits `(B, 1)`, positive where one looks real."""
    inputs = x = keras.Input(input_shape, name="image")
    for i, channels in enumerate(filters, 1):
        x = layers.Conv2D(
            channels,
            4,
            strides=2,
            padding="same",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"down_{i}",
        )(x)
        x = layers.LeakyReLU(0.2, name=f"relu_{i}")(x)
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(1, kernel_regularizer=penalty(l1, l2, layers), name="logit")(x)
    return keras.Model(inputs, outputs, name="discriminator")


@keras.saving.register_keras_serializable(package="models")
class GAN(keras.Model):
    """A generator and a discriminator, trained together on images; labels are ignored.

    Called on latent numbers, it is the generator. `fit` updates both at once with one optimizer;
    with Adam, that is the same as one optimizer for each.
    """

    def __init__(self, generator, discriminator, **kwargs):
        super().__init__(**kwargs)
        self.generator, self.discriminator = generator, discriminator
        self.random = keras.random.SeedGenerator()
        self.entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        self.means = [
            keras.metrics.Mean(name=name)
            for name in ("loss", "generator_loss", "discriminator_loss")
        ]

    @property
    def metrics(self):
        return self.means

    def call(self, latent, training=None):
        return self.generator(latent, training=training)

    def play(self, images, training):
        """The losses of the generator and of the discriminator."""
        shape = (tf.shape(images)[0], self.generator.input_shape[-1])
        seed = self.random if training else 0  # tests draw the same numbers each time
        fake = self.generator(keras.random.normal(shape, seed=seed), training=training)
        on_real = self.discriminator(images, training=training)
        on_fake = self.discriminator(fake, training=training)
        ones, zeros = tf.ones_like(on_fake), tf.zeros_like(on_fake)
        inventing = self.entropy(ones, on_fake)
        judging = self.entropy(ones, on_real) + self.entropy(zeros, on_fake)
        return inventing, judging

    def train_step(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        players = self.generator, self.discriminator
        with tf.GradientTape(persistent=True) as tape:
            losses = self.play(images, training=True)
            penalized = [
                loss + tf.add_n([0.0, *player.losses])
                for loss, player in zip(losses, players, strict=True)
            ]
        gradients, weights = [], []
        for loss, player in zip(penalized, players, strict=True):
            gradients += tape.gradient(loss, player.trainable_variables)
            weights += player.trainable_variables
        self.optimizer.apply(gradients, weights)
        return self.log(losses)

    def test_step(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.log(self.play(images, training=False))

    def log(self, losses):
        for mean, value in zip(self.means, (sum(losses), *losses), strict=True):
            mean.update_state(value)
        return {mean.name: mean.result() for mean in self.means}

    def export(self, *arguments, **options):
        """Export the generator, all that generating images needs."""
        return self.generator.export(*arguments, **options)

    def get_config(self):
        players = {"generator": self.generator, "discriminator": self.discriminator}
        return {
            **super().get_config(),
            **{k: keras.saving.serialize_keras_object(v) for k, v in players.items()},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        for player in ("generator", "discriminator"):
            config[player] = keras.saving.deserialize_keras_object(config[player], custom_objects)
        return cls(**config)


def gan(
    input_shape,
    *,
    latent=32,
    filters=(32, 64),
    dropout=0.25,
    l1=0.0,
    l2=0.0,
    layers=custom_layers,
):
    """A GAN of images with values in [0, 1].

    Args:
        input_shape: `(H, W, C)`; H and W are multiples of `2 ** len(filters)`.
        latent: how many numbers an image is made from.
        filters: channels of each stage of the discriminator; the generator has them in reverse.
        dropout: fraction of features dropped in the discriminator.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `GAN`, which is a `keras.Model` from latent numbers `(B, latent)` to images.
    """
    shared = {"filters": filters, "l1": l1, "l2": l2, "layers": layers}
    model = GAN(
        generator(input_shape, latent, **shared),
        discriminator(input_shape, dropout=dropout, **shared),
        name="gan",
    )
    model.build((None, latent))
    return model
