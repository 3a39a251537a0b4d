"""UnitNormalization: divides by the length, so that only the direction is left.

    ρ = min((Σ x²)^(-1/2), 1/ε)      y = x ρ         x, y (..., F)   ρ (..., 1)   ε = 1e-12

Backward, given dy = dL/dy:

    dx = ρ (dy - y Σ_f dy y)          the part of dy along x is gone
    dx = dy / ε                       where Σ x² < ε²

At x = 0 the derivative is that of the second line, and so is the second derivative, 0; that of
Keras's layer is NaN there, 0 times an infinite slope of the root.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_axes
from custom_layers.gradients import wide, with_backward

EPSILON = 1e-12


def unit_norm_forward(x, *, axes):
    """x (...) -> y (...) of length 1 along the axes; x / ε where it is shorter than ε."""
    w = wide(x)
    squares = tf.reduce_sum(tf.square(w), axes, keepdims=True)
    long = squares > EPSILON**2
    # Nothing is divided by 0 on the way, for the derivative of what `where` leaves out is NaN.
    scale = tf.math.rsqrt(tf.where(long, squares, tf.ones((), w.dtype)))
    scale = tf.where(long, scale, tf.constant(1 / EPSILON, w.dtype))
    y = tf.where(tf.math.is_nan(squares), squares, w * scale)
    return tf.cast(y, x.dtype), (x, scale, long)


def unit_norm_backward(dy, cache, *, axes):
    """dy (...) -> dx (...)."""
    x, scale, long = cache
    w, dy = wide(x), wide(dy)
    along = tf.reduce_sum(dy * w, axes, keepdims=True) * tf.square(scale)
    along = tf.where(long, along, tf.zeros((), w.dtype))
    return tf.cast(scale * (dy - w * along), x.dtype)


unit_norm = with_backward(unit_norm_forward, unit_norm_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class UnitNormalization(Layer):
    """Divides by the Euclidean length over `axis`. Input and output of any equal shape.

    Arguments are those of `keras.layers.UnitNormalization`.

    Raises:
        TypeError: `axis` is neither an integer nor a list or tuple.
        ValueError: an axis is out of bounds.
    """

    def __init__(self, axis: int | list[int] = -1, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(
                "Invalid value for `axis` argument: expected an int or a list/tuple of ints. "
                f"Received: axis={axis}"
            )
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs):
        x = inputs if inputs.dtype.is_floating else tf.cast(inputs, self.compute_dtype)
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        check_axes(axes, x.shape)
        return unit_norm(x, axes=tuple(sorted(axis % x.shape.rank for axis in axes)))

    def compute_output_shape(self, input_shape):
        return check_axes(self.axis, input_shape)
