"""RotaryEmbedding: turns each pair of features by an angle that grows with the position.

    θ_f = λ^(-2f / D)               f = 0 ... D/2 - 1        λ the `max_wavelength`
    φ_tf = θ_f t / c                t the position           c the `scaling_factor`
    y_f       = x_f cos φ - x_(f + D/2) sin φ                x, y (..., T, ..., D)
    y_(f+D/2) = x_(f + D/2) cos φ + x_f sin φ

Products of a turned query and a turned key depend on the difference of their positions alone.

Backward, given dy = dL/dy: the turn back, by -φ. Nothing of x is kept.

Su et al., RoFormer: enhanced transformer with rotary position embedding, arXiv:2104.09864. The
pairs (f, f + D/2) and the arguments are those of keras-hub's layer of this name.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_number
from custom_layers.gradients import wide, with_backward


def rotate_forward(x, angles):
    """x (..., D) and angles that broadcast to (..., D/2), without a gradient -> y (..., D)."""
    first, second = tf.split(wide(x), 2, -1)
    cos, sin = tf.cos(angles), tf.sin(angles)
    y = tf.concat([first * cos - second * sin, second * cos + first * sin], -1)
    return tf.cast(y, x.dtype), angles


def rotate_backward(dy, angles):
    """dx: dy, turned back."""
    return rotate_forward(dy, -angles)[0], None


rotate = with_backward(rotate_forward, rotate_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class RotaryEmbedding(Layer):
    """Turns features by their positions, as queries and keys are before their product.

    Input of any shape with an axis of positions and an even number of features; output as input.
    There are no weights. Called with `start_index`, positions begin there; with `positions`
    `(T,)` or `(B, T)` they are these. `keras.layers` has no such layer; arguments, call and pairs
    of features are those of `keras_hub.layers.RotaryEmbedding`.

    Raises:
        ValueError: `max_wavelength` or `scaling_factor` is not positive; the number of features is
            odd or not known.
    """

    def __init__(
        self,
        max_wavelength: float = 10_000,
        scaling_factor: float = 1.0,
        sequence_axis: int = 1,
        feature_axis: int = -1,
        **kwargs,
    ):
        check_number(
            "above 0",
            lambda number: number > 0,
            max_wavelength=max_wavelength,
            scaling_factor=scaling_factor,
        )
        super().__init__(**kwargs)
        self.max_wavelength = max_wavelength
        self.scaling_factor = scaling_factor
        self.sequence_axis = sequence_axis
        self.feature_axis = feature_axis
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs, start_index=0, positions=None):
        rank = inputs.shape.rank
        time, feature = self.sequence_axis % rank, self.feature_axis % rank
        features = inputs.shape[feature]
        if features is None or features % 2:
            raise ValueError(
                "`RotaryEmbedding` needs an even, known number of features. "
                f"Received: inputs.shape={tuple(inputs.shape)}, feature_axis={self.feature_axis}"
            )
        order = [axis for axis in range(rank) if axis != feature] + [feature]
        x = inputs if feature == rank - 1 else tf.transpose(inputs, order)
        dtype = wide(inputs).dtype
        if positions is None:
            positions = tf.range(tf.shape(inputs)[time]) + tf.cast(start_index, tf.int32)
        positions = tf.cast(positions, dtype) / tf.constant(self.scaling_factor, dtype)
        powers = tf.range(0, features, 2, dtype=dtype) / tf.constant(features, dtype)
        theta = tf.pow(tf.constant(self.max_wavelength, dtype), -powers)
        angles = positions[..., tf.newaxis] * theta  # (T, D/2) or (B, T, D/2)
        time = order.index(time)
        shape = [1] * (rank - 1) + [features // 2]
        shape[time] = tf.shape(positions)[-1]
        if positions.shape.rank == 2:
            shape[0] = tf.shape(positions)[0]
        y = rotate(x, tf.reshape(angles, shape))
        return y if x is inputs else tf.transpose(y, [order.index(axis) for axis in range(rank)])

    def compute_output_shape(self, input_shape):
        return input_shape
