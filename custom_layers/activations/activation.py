"""Activation: any function as a layer.

    y = φ(x)          x, y (...)

Backward: dx = φ'(x) dy, by whatever rule φ carries: a function made by `with_backward` brings its
written-out one, and so do gelu, silu and softsign (smooth.py); Keras's others bring TensorFlow's.
"""

from collections.abc import Callable

import keras

from custom_layers.activations.smooth import with_written_backward
from custom_layers.base import Layer


@keras.saving.register_keras_serializable(package="custom_layers")
class Activation(Layer):
    """Applies a function: one of Keras's by name, or any callable. Output as input.

    The derivative is that of the function, so this layer has no backward of its own.
    """

    def __init__(self, activation: str | Callable | None, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs):
        return with_written_backward(self.activation)(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape
