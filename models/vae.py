"""vae: a variational autoencoder, which can also generate images.

    encoder   image -> mean m and log variance v of a normal distribution for each latent number
    sample    z = m + exp(v / 2) e,   e ~ N(0, 1)                      (in training; else z = m)
    decoder   z -> image;   a generated image is that of a z ~ N(0, 1)

    loss      reconstruction + KL,   KL(N(m, exp v) | N(0, 1)) = ½ Σ (m² + exp v - v - 1)

Kingma & Welling, Auto-encoding variational Bayes, ICLR 2014.
"""

import math

import keras
import tensorflow as tf

import custom_layers
from models.autoencoder import decoder, encoder


@keras.saving.register_keras_serializable(package="models")
class Sample(keras.layers.Layer):
    """Draw z from the distribution that the encoder predicts, and add the divergence to the loss.

    Input `(B, 2 latent)`, means before log variances; output `(B, latent)`.

    Args:
        weight: factor of the divergence.
        seed: of the draws.
    """

    def __init__(self, weight=1.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.weight, self.seed = weight, seed
        self.random = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        mean, log_variance = tf.split(inputs, 2, -1)
        divergence = tf.square(mean) + tf.exp(log_variance) - log_variance - 1
        self.add_loss(self.weight * tf.reduce_mean(tf.reduce_sum(divergence, -1) / 2))
        if not training:
            return mean
        noise = keras.random.normal(tf.shape(mean), dtype=mean.dtype, seed=self.random)
        return mean + tf.exp(log_variance / 2) * noise

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 2)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "seed": self.seed}


def vae(
    input_shape,
    *,
    latent=8,
    filters=(32, 64),
    divergence=1.0,
    dropout=0.0,
    l1=0.0,
    l2=0.0,
    layers=custom_layers,
):
    """A variational autoencoder of images with values in [0, 1].

    Compile it with a loss that is a mean over pixels, such as `binary_crossentropy`: the divergence
    is divided by their number too.

    Args:
        input_shape: `(H, W, C)`; H and W are multiples of `2 ** len(filters)`.
        latent: how many numbers an image is reduced to.
        filters: channels of each stage of the encoder; the decoder has them in reverse.
        divergence: factor of the divergence (the β of a β-VAE); a smaller one gives sharper
            reconstructions and worse new images.
        dropout: fraction of pixels dropped from the input in training.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from images to images, with the models `encoder` and `decoder` as layers.
    """
    shared = {"filters": filters, "l1": l1, "l2": l2, "layers": layers}
    encode = encoder(input_shape, 2 * latent, dropout=dropout, **shared)
    decode = decoder(input_shape, latent, **shared)
    inputs = keras.Input(input_shape, name="image")
    z = Sample(divergence / math.prod(input_shape), name="sample")(encode(inputs))
    return keras.Model(inputs, decode(z), name="vae")
