"""gelu, silu, softsign: smooth functions of each number, with their derivatives.

    gelu      y = x Φ(x)         dx = dy (Φ(x) + x φ(x))          Φ, φ of the normal distribution
    silu      y = x σ(x)         dx = dy σ(x) (1 + x (1 - σ(x)))  σ(x) = 1 / (1 + exp(-x))
    softsign  y = x / (1 + |x|)  dx = dy / (1 + |x|)²

Each backward needs x alone, where TensorFlow keeps what it computed on the way too; that of its
softsign has no derivative at all. `Activation` takes these where Keras's are asked for.

Hendrycks & Gimpel, Gaussian error linear units, arXiv:1606.08415 (both of the first two). Glorot &
Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
"""

import math

import keras
import tensorflow as tf

from custom_layers.gradients import wide, with_backward


def _phi(x):
    """Φ(x)."""
    return 0.5 * (1 + tf.math.erf(x * math.sqrt(0.5)))


def gelu_forward(x):
    """x (...) -> y (...)."""
    w = wide(x)
    return tf.cast(w * _phi(w), x.dtype), x


def gelu_backward(dy, x):
    """dy (...) -> dx (...)."""
    w = wide(x)
    density = tf.exp(-0.5 * tf.square(w)) / math.sqrt(2 * math.pi)
    return tf.cast(wide(dy) * (_phi(w) + w * density), x.dtype)


gelu = with_backward(gelu_forward, gelu_backward)


def silu_forward(x):
    """x (...) -> y (...)."""
    w = wide(x)
    return tf.cast(w * tf.sigmoid(w), x.dtype), x


def silu_backward(dy, x):
    """dy (...) -> dx (...)."""
    w = wide(x)
    sigma = tf.sigmoid(w)
    return tf.cast(wide(dy) * sigma * (1 + w * (1 - sigma)), x.dtype)


silu = with_backward(silu_forward, silu_backward)


def softsign_forward(x):
    """x (...) -> y (...)."""
    w = wide(x)
    return tf.cast(w / (1 + tf.abs(w)), x.dtype), x


def softsign_backward(dy, x):
    """dy (...) -> dx (...)."""
    w = wide(x)
    return tf.cast(wide(dy) / tf.square(1 + tf.abs(w)), x.dtype)


softsign = with_backward(softsign_forward, softsign_backward)

WRITTEN = [  # (Keras's function, the one here)
    (keras.activations.gelu, gelu),
    (keras.activations.silu, silu),
    (keras.activations.softsign, softsign),
]


def with_written_backward(activation):
    """The function here that is the same as one of Keras's; any other as it is."""
    return next((ours for theirs, ours in WRITTEN if theirs is activation), activation)
