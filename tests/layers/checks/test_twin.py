"""check_signature and check_twin see what differs between two layers."""

import keras
import numpy as np
import pytest

from custom_layers.checks import check_signature, check_twin
from custom_layers.core.dense import Dense

X = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")


def test_signature_sees_a_default():
    class Other(keras.layers.Layer):
        def __init__(self, units, activation="relu"):
            super().__init__()

    with pytest.raises(AssertionError, match="arguments"):
        check_signature(Other, keras.layers.Dense)


def test_twin_sees_another_function():
    class Shifted(Dense):
        def call(self, inputs, training=None):
            return super().call(inputs) + 0.01

    with pytest.raises(AssertionError, match="output 0"):
        check_twin(Shifted, keras.layers.Dense, {"units": 2}, X)
