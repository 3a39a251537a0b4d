"""Activations as layers: Activation, ReLU, LeakyReLU, Softmax.

    ReLU         y = min(x, c)        where x > t,    else s (x - t)
    LeakyReLU    y = x                where x > 0,    else s x
    Softmax      y = exp(x - max x) / Σ exp(x - max x)          sums over the axis, or several

with s the `negative_slope`, t the `threshold` and c the `max_value` (all >= 0; none is ∞).

Backward, given dy = dL/dy:

    ReLU         dx = dy where 0 < y < c,    s dy where y <= 0,    0 where y = c
    LeakyReLU    dx = dy where y > 0,        else s dy
    Softmax      dx = y (dy - Σ dy y)

Each needs only y, which the next layer keeps anyway. The corners have no derivative: it is s at
x = t and 0 at x = c.

`Activation` applies any function; Keras's own, such as `"gelu"`, bring TensorFlow's derivatives.

Nair & Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010. Maas, Hannun
& Ng, Rectifier nonlinearities improve neural network acoustic models, ICML 2013. Bridle,
Probabilistic interpretation of feedforward classification network outputs, 1990.
"""

import numbers

import keras
import tensorflow as tf

from custom_layers.base import Layer, broadcasts
from custom_layers.gradients import with_backward
from custom_layers.private_apis import keep_logits


def relu_forward(x, *, slope=0.0, threshold=0.0, ceiling=None):
    """x of any shape -> y of the same."""
    if threshold == 0:
        y = tf.nn.relu(x) if slope == 0 else tf.nn.leaky_relu(x, slope)
    else:
        threshold = tf.constant(threshold, x.dtype)
        below = tf.zeros_like(x) if slope == 0 else tf.constant(slope, x.dtype) * (x - threshold)
        y = tf.where(x > threshold, x, below)
    if ceiling is not None:
        y = tf.minimum(y, tf.constant(ceiling, x.dtype))
    return y, y


def relu_backward(dy, y, *, slope=0.0, threshold=0.0, ceiling=None):
    # dy where y > 0, else slope dy: the kernels do it in one pass (and with the slope in float32).
    if slope == 0:
        dx = tf.raw_ops.ReluGrad(gradients=dy, features=y)
    elif threshold == 0:
        dx = tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=slope)
    else:
        dx = tf.where(y > 0, dy, tf.constant(slope, dy.dtype) * dy)
    if ceiling is not None:
        dx = tf.where(y < tf.constant(ceiling, y.dtype), dx, tf.zeros((), dx.dtype))
    return dx


relu = with_backward(relu_forward, relu_backward)


def softmax_forward(x, mask=None, *, axis=(-1,)):
    """x (...), mask of booleans that broadcasts to x or None -> y (...), 0 where the mask is False.

    Where a mask leaves nothing of an axis, y is 0 all along it.
    """
    if mask is None and len(axis) == 1:
        y = tf.nn.softmax(x, axis[0])
    elif mask is None:
        y = tf.exp(x - tf.reduce_max(x, axis, keepdims=True))
        y /= tf.reduce_sum(y, axis, keepdims=True)
    else:
        largest = tf.reduce_max(tf.where(mask, x, x.dtype.min), axis, keepdims=True)
        nothing = tf.zeros((), x.dtype)
        y = tf.where(mask, tf.exp(tf.where(mask, x - largest, nothing)), nothing)
        y = tf.math.divide_no_nan(y, tf.reduce_sum(y, axis, keepdims=True))
    return y, y


def softmax_backward(dy, y, *, axis=(-1,)):
    return y * (dy - tf.reduce_sum(dy * y, axis, keepdims=True)), None


softmax = with_backward(softmax_forward, softmax_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class Activation(Layer):
    """Applies a function: one of Keras's by name, or any callable. Output as input.

    A hand-written derivative is that of the function given (`with_backward`); for Keras's functions
    it is TensorFlow's.
    """

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs):
        return self.activation(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="custom_layers")
class ReLU(Layer):
    """The identity for large inputs, flat or flatter for small ones. Output as input, of any shape.

    Raises:
        ValueError: one of the arguments is negative.
    """

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
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
        return relu(
            inputs,
            slope=self.negative_slope,
            threshold=self.threshold,
            ceiling=self.max_value,
        )

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="custom_layers")
class LeakyReLU(Layer):
    """The identity for positive inputs, flatter for negative ones. Output as input, of any shape.

    Keras's `alpha`, a former name of `negative_slope`, is accepted.

    Raises:
        ValueError: `negative_slope` is negative.
    """

    def __init__(self, negative_slope=0.3, **kwargs):
        negative_slope = kwargs.pop("alpha", negative_slope)
        super().__init__(**kwargs)
        if not isinstance(negative_slope, numbers.Real) or negative_slope < 0:
            raise ValueError(
                "The negative_slope value of a Leaky ReLU layer cannot be None or negative value. "
                f"Expected a float. Received: negative_slope={negative_slope!r}"
            )
        self.negative_slope = negative_slope
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs):
        return relu(inputs, slope=self.negative_slope)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="custom_layers")
class Softmax(Layer):
    """Positive numbers that sum to 1 along an axis, or several. Output as input.

    A mask that broadcasts to the input leaves out entries where it is False (or at most 0.5).

    Raises:
        ValueError: the mask does not broadcast to the input.
    """

    def __init__(self, axis=-1, **kwargs):
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
