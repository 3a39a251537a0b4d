"""LeakyReLU: the identity for positive inputs, a flatter line for negative ones.

    y = x  where x > 0,      s x  elsewhere           x, y (...)      s ≥ 0 the `negative_slope`

Backward, given dy = dL/dy:

    dx = dy  where y > 0,    s dy  elsewhere

This is `relu.relu` without threshold and ceiling.

Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models, ICML 2013.
"""

import numbers

import keras

from custom_layers.activations.relu import relu
from custom_layers.base import Layer, map_values


@keras.saving.register_keras_serializable(package="custom_layers")
class LeakyReLU(Layer):
    """The identity for positive inputs, flatter for negative ones. Output as input, of any shape.

    Keras's `alpha`, a former name of `negative_slope`, is accepted.

    Raises:
        ValueError: `negative_slope` is negative.
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs):
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
        return map_values(lambda x: relu(x, slope=self.negative_slope), inputs)

    def compute_output_shape(self, input_shape):
        return input_shape
