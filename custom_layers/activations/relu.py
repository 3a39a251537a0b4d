"""ReLU: the identity for large inputs, 0 or a flatter line for small ones.

    y = min(x, c)  where x > t,      min(s (x - t), c)  elsewhere           x, y (...)

with s the slope, t the threshold and c the ceiling, all ≥ 0; without a ceiling, c = ∞.

Backward, given dy = dL/dy:

    dx = dy  where 0 < y < c,        s dy  where y ≤ 0,        0  where y = c

It needs only y, which the next layer keeps anyway. The corners have no derivative: here it is s at
x = t and 0 at y = c.

Nair & Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.
"""

import numbers

import keras
import tensorflow as tf

from custom_layers.base import Layer, map_values
from custom_layers.gradients import with_backward
from custom_layers.private_apis import compiled_by_xla


def relu_forward(x, *, slope=0.0, threshold=0.0, ceiling=None):
    """x of any shape -> y of the same."""
    if (slope, threshold, ceiling) == (0, 0, 6):  # one operation instead of two, in files too
        y = tf.nn.relu6(x)
        return y, y
    if threshold == 0:
        y = tf.nn.relu(x) if slope == 0 else tf.nn.leaky_relu(x, slope)
    else:
        threshold = tf.constant(threshold, x.dtype)
        below = tf.zeros_like(x) if slope == 0 else tf.constant(slope, x.dtype) * (x - threshold)
        y = tf.where(x <= threshold, below, x)  # NaN, which is not below, stays
    if ceiling is not None:
        y = tf.minimum(y, tf.constant(ceiling, x.dtype))
    return y, y


def relu_backward(dy, y, *, slope=0.0, threshold=0.0, ceiling=None):
    """slope dy where y ≤ 0, else dy: TensorFlow's kernels do it in one pass, but XLA's hide NaN."""
    if compiled_by_xla() or (threshold != 0 and slope != 0):
        below = tf.zeros_like(dy) if slope == 0 else tf.constant(slope, dy.dtype) * dy
        dx = tf.where(y <= 0, below, dy)
    elif slope == 0:
        dx = tf.raw_ops.ReluGrad(gradients=dy, features=y)
    else:
        dx = tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=slope)  # float32 inside
    if ceiling is not None:
        dx = tf.where(y >= tf.constant(ceiling, y.dtype), tf.zeros((), dx.dtype), dx)
    return dx


relu = with_backward(relu_forward, relu_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class ReLU(Layer):
    """The identity for large inputs, flat or flatter for small ones. Output as input, of any shape.

    Raises:
        ValueError: one of the arguments is negative.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if max_value is not None and (not isinstance(max_value, numbers.Real) or max_value < 0):
            raise ValueError(
                "max_value of a ReLU layer cannot be a negative value. "
                f"Received: max_value={max_value!r}"
            )
        for name, value in (("negative_slope", negative_slope), ("threshold", threshold)):
            if not isinstance(value, numbers.Real) or value < 0:
                raise ValueError(
                    f"{name} of a ReLU layer cannot be None or a negative value. "
                    f"Received: {name}={value!r}"
                )
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs):
        options = {"slope": self.negative_slope, "threshold": self.threshold}
        return map_values(lambda x: relu(x, **options, ceiling=self.max_value), inputs)

    def compute_output_shape(self, input_shape):
        return input_shape
