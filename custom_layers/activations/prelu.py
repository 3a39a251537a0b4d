"""PReLU: the identity for positive inputs, a line of a learned slope for negative ones.

    y = x  where x > 0,      α x  elsewhere       x, y (B, ...)      α (...), 1 along shared axes

Backward, given dy = dL/dy:

    dx = dy  where x > 0,    α dy  elsewhere
    dα = Σ dy min(x, 0)                           over the batch and the shared axes

He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015.
"""

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Layer, Regularizer
from custom_layers.gradients import wide, with_backward


def prelu_forward(x, alpha):
    """x (B, ...), alpha (...) with sizes 1 where it is shared -> y (B, ...)."""
    return tf.where(x > 0, x, alpha * x), (x, alpha)


def prelu_backward(dy, cache):
    """dy (B, ...) -> dx (B, ...), dalpha (...)."""
    x, alpha = cache
    dx = tf.where(x > 0, dy, alpha * dy)
    below = wide(dy) * wide(tf.where(x > 0, tf.zeros((), x.dtype), x))
    shared = [i + 1 for i, size in enumerate(alpha.shape) if size == 1]
    dalpha = tf.reshape(tf.reduce_sum(below, [0, *shared]), alpha.shape)
    return dx, tf.cast(dalpha, alpha.dtype)


prelu = with_backward(prelu_forward, prelu_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class PReLU(Layer):
    """The identity for positive inputs, a learned line for negative ones. Output as input.

    The weight `alpha` has the shape of one input, and size 1 along the `shared_axes`, which are
    counted with the batch as 0. Arguments are those of `keras.layers.PReLU`.

    Raises:
        ValueError: an axis that is not shared has no static size.
    """

    def __init__(
        self,
        alpha_initializer: Initializer = "Zeros",
        alpha_regularizer: Regularizer = None,
        alpha_constraint: Constraint = None,
        shared_axes: int | list[int] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.set_weight_options("alpha", alpha_initializer, alpha_regularizer, alpha_constraint)
        if shared_axes is not None and not isinstance(shared_axes, (list, tuple)):
            shared_axes = [shared_axes]
        self.shared_axes = None if shared_axes is None else list(shared_axes)
        self.supports_masking = True

    def build(self, input_shape):
        shape, shared = list(input_shape[1:]), self.shared_axes or []
        for axis in shared:
            shape[axis - 1] = 1
        if None in shape:
            raise ValueError(
                "Each axis of the input of PReLU must have a known size or be shared. "
                f"Received: input_shape={tuple(input_shape)}, shared_axes={self.shared_axes}"
            )
        self.alpha = self.add_weight(name="alpha", shape=shape, **self.weight_options("alpha"))
        known = {i: n for i, n in enumerate(input_shape) if i and i not in shared}
        self.input_spec = keras.layers.InputSpec(
            ndim=len(input_shape), axes=known if shared else {}
        )

    def call(self, inputs):
        return prelu(inputs, tf.convert_to_tensor(self.alpha))

    def compute_output_shape(self, input_shape):
        return input_shape
