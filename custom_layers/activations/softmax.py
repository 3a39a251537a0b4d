"""Softmax: positive numbers that sum to 1.

    y = exp(x - M) / Σ exp(x - M)        x, y (...)      M = max x, sum and maximum over the axes

With a mask m, M and Σ run over the places where m is True, and y = 0 at the others.

Backward, given dy = dL/dy:

    dx = y (dy - Σ dy y)                 it needs only y, which the next layer keeps anyway

Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, broadcasts
from custom_layers.gradients import wide, with_backward
from custom_layers.private_apis import keep_logits


def softmax_forward(x, mask=None, *, axis=(-1,)):
    """x (...), mask of booleans that broadcasts to x or None -> y (...), 0 where the mask is False.

    Where a mask leaves nothing of an axis, y is 0 all along it.
    """
    dtype, x = x.dtype, wide(x)
    if mask is None and len(axis) == 1:
        y = tf.nn.softmax(x, axis[0])
    elif mask is None:
        y = tf.exp(x - tf.reduce_max(x, axis, keepdims=True))
        y /= tf.reduce_sum(y, axis, keepdims=True)
    else:
        nothing = tf.zeros((), x.dtype)
        largest = tf.reduce_max(tf.where(mask, x, x.dtype.min), axis, keepdims=True)
        y = tf.where(mask, tf.exp(tf.where(mask, x - largest, nothing)), nothing)
        y = tf.math.divide_no_nan(y, tf.reduce_sum(y, axis, keepdims=True))
    y = tf.cast(y, dtype)
    return y, (y, mask)


def softmax_backward(dy, cache, *, axis=(-1,)):
    """y (...) -> dx (...), 0 where the mask is False, whatever dy is there."""
    y, mask = cache
    if mask is not None:
        dy = tf.where(mask, dy, tf.zeros((), dy.dtype))
    dtype, y, dy = y.dtype, wide(y), wide(dy)
    return tf.cast(y * (dy - tf.reduce_sum(dy * y, axis, keepdims=True)), dtype), None


softmax = with_backward(softmax_forward, softmax_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class Softmax(Layer):
    """Positive numbers that sum to 1 along an axis, or several. Output as input.

    A mask that broadcasts to the input leaves out entries where it is False (or at most 0.5).

    Raises:
        ValueError: the mask does not broadcast to the input.
    """

    def __init__(self, axis: int | tuple[int, ...] = -1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs, mask=None):
        axis = tuple(self.axis) if isinstance(self.axis, (tuple, list)) else (self.axis,)
        if mask is None:
            y = softmax(inputs, axis=axis)
            if len(axis) == 1:
                keep_logits(y, inputs)
            return y
        mask = tf.convert_to_tensor(mask)
        self._check_mask(mask, inputs)
        if mask.dtype != tf.bool:
            mask = tf.cast(mask, tf.float32) > 0.5
        return softmax(inputs, mask, axis=axis)

    def _check_mask(self, mask, inputs):
        shapes = f"Received: inputs.shape={inputs.shape}, mask.shape={mask.shape}"
        if mask.shape.rank > inputs.shape.rank:
            raise ValueError(
                "The `mask` must be broadcastable to `inputs` and must not have more dimensions. "
                + shapes
            )
        if not broadcasts(mask.shape, inputs.shape):
            raise ValueError(
                "The `mask` must be broadcastable to `inputs`. Each mask dimension must be 1 or "
                f"match the corresponding input dimension. {shapes}"
            )

    def compute_output_shape(self, input_shape):
        return input_shape
