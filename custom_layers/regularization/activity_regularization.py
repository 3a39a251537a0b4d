"""ActivityRegularization: the identity, which adds a penalty on its input to the loss.

    y = x         R = (l1 Σ |x| + l2 Σ x²) / B         the mean over a batch of B

Backward: dx = dy + dR (l1 sign(x) + 2 l2 x) / B, whose second term is the backward of `penalty`
(regularizers.py).
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer
from custom_layers.gradients import wide
from custom_layers.regularization.regularizers import penalty


@keras.saving.register_keras_serializable(package="custom_layers")
class ActivityRegularization(Layer):
    """Adds `(l1 Σ |x| + l2 Σ x²) / B` to `layer.losses`. Output as input `(B, ...)`.

    In half precision the penalty is computed in single, whose range it does not leave.

    Raises:
        ValueError: `l1` or `l2` is negative or not finite.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("l1", l1), ("l2", l2)):
            if not (isinstance(value, (int, float)) and 0 <= value < float("inf")):
                raise ValueError(
                    f"Invalid value for argument {name}: expected a non-negative float. "
                    f"Received: {name}={value}"
                )
        self.l1 = l1
        self.l2 = l2
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs):
        total = penalty(wide(inputs), l1=self.l1, l2=self.l2)
        if inputs.shape.rank > 0:
            total = tf.math.divide_no_nan(total, tf.cast(tf.shape(inputs)[0], total.dtype))
        self.add_loss(total)
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape
