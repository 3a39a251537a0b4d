"""RMSNormalization: divides by the root of the mean square, and leaves the mean where it is.

    ρ = (1/F Σ_f x² + ε)^(-1/2)      y = x ρ γ        x, y (..., F)   ρ (..., 1)   γ (F,)

Backward, given dy = dL/dy:

    dγ = Σ dy x ρ                     over all axes but F
    dx = ρ (dy γ - x ρ² 1/F Σ_f dy γ x)

The sum in dx is what flows back through ρ. Beside `LayerNormalization` the mean, and the sum that
flows back through it, are left out. F may also be other axes, or several.

Zhang & Sennrich, Root mean square layer normalization, NeurIPS 2019.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_axes, check_number
from custom_layers.gradients import wide, with_backward


def rms_norm_forward(x, gamma, *, axes, epsilon):
    """x (...) and gamma, of x's sizes along the axes, else 1 -> y, float32 where x has 16 bits."""
    w = wide(x)
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(w), axes, keepdims=True) + epsilon)
    return w * scale * gamma, (x, gamma, scale)


def rms_norm_backward(dy, cache, *, axes, epsilon):
    """dy (...) -> dx (...), dgamma."""
    x, gamma, scale = cache
    w, others = tf.cast(x, dy.dtype), [i for i in range(x.shape.rank) if i not in axes]
    dgamma = tf.reduce_sum(dy * w * scale, others, keepdims=True)
    dy *= gamma
    through = tf.reduce_mean(dy * w, axes, keepdims=True) * tf.square(scale)
    return tf.cast(scale * (dy - w * through), x.dtype), dgamma


rms_norm = with_backward(rms_norm_forward, rms_norm_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class RMSNormalization(Layer):
    """Divides by the root mean square over `axis` at each position: `x / √(mean x² + ε) γ`.

    Input and output of any equal shape. The weight `scale` has the sizes of the axes in `axis`.
    Squares are summed in float32 at least. Arguments are those of `keras.layers.RMSNormalization`;
    unlike it, this layer hands masks on.

    Raises:
        ValueError: an axis is out of bounds, or has no static size.
    """

    def __init__(self, axis: int | list[int] = -1, epsilon: float = 1e-6, **kwargs):
        check_number("at least 0", lambda number: number >= 0, epsilon=epsilon)
        super().__init__(**kwargs)
        self.axis = list(axis) if isinstance(axis, tuple) else axis
        self.epsilon = epsilon
        self.supports_masking = True
        self.autocast = False  # a float32 input of a 16 bit layer is not rounded before the sums

    def build(self, input_shape):
        check_axes(self.axis, input_shape, known=True)
        # As in Keras, the config of a built layer has the sorted list.
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        shape = tuple(input_shape[axis] for axis in self.axis)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones", autocast=False)

    def call(self, x):
        x = x if x.dtype.is_floating else tf.cast(x, self.compute_dtype)
        axes = tuple(sorted(axis % x.shape.rank for axis in self.axis))
        gamma = tf.cast(tf.convert_to_tensor(self.scale), wide(x).dtype)
        # The sizes of `scale` are in the order of `axis`, in which -1 comes before 1.
        order = sorted(range(len(axes)), key=lambda i: self.axis[i] % x.shape.rank)
        gamma = gamma if order == sorted(order) else tf.transpose(gamma, order)
        sizes = iter(gamma.shape)
        gamma = tf.reshape(gamma, [next(sizes) if i in axes else 1 for i in range(x.shape.rank)])
        y = rms_norm(x, gamma, axes=axes, epsilon=self.epsilon)
        return tf.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return check_axes(self.axis, input_shape)
