"""ELU: the identity for positive inputs, an exponential that levels off for negative ones.

    y = x  where x > 0,      α (exp(x) - 1)  elsewhere        x, y (...)

Backward, given dy = dL/dy:

    dx = dy  where x > 0,    α exp(x) dy  elsewhere

Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by exponential linear
units, ICLR 2016.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_number, map_values
from custom_layers.gradients import with_backward


def elu_forward(x, *, alpha=1.0):
    """x of any shape -> y of the same."""
    # Of a large x, exp would be infinite, and the derivative of what `where` leaves out NaN.
    below = tf.constant(alpha, x.dtype) * tf.math.expm1(tf.minimum(x, tf.zeros((), x.dtype)))
    return tf.where(x > 0, x, below), x


def elu_backward(dy, x, *, alpha=1.0):
    """dy (...) -> dx (...)."""
    slope = tf.constant(alpha, x.dtype) * tf.exp(tf.minimum(x, tf.zeros((), x.dtype)))
    return tf.where(x > 0, dy, slope * dy)


elu = with_backward(elu_forward, elu_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class ELU(Layer):
    """The identity for positive inputs, `alpha (exp(x) - 1)` for others. Output as input.

    Arguments are those of `keras.layers.ELU`.

    Raises:
        ValueError: `alpha` is not a finite number.
    """

    def __init__(self, alpha: float = 1.0, **kwargs):
        check_number(alpha=alpha)
        super().__init__(**kwargs)
        self.alpha = alpha
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs):
        return map_values(lambda x: elu(x, alpha=self.alpha), inputs)

    def compute_output_shape(self, input_shape):
        return input_shape
