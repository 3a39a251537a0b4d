"""Activation: the function and the derivative that it is given."""

import keras
import numpy as np
import pytest

from custom_layers import Activation
from custom_layers.activations.relu import relu
from custom_layers.checks import check_backward, check_signature, check_twin

X = np.random.default_rng(0).standard_normal((5, 7))


@pytest.mark.parametrize("function", ["gelu", relu])
def test_backward(function):
    check_backward(Activation(function, dtype="float64"), X)


@pytest.mark.parametrize(
    ("name", "dtype"), [("relu", "float32"), ("softmax", "mixed_float16"), (None, "float64")]
)
def test_twin(name, dtype):
    arguments = {"activation": name, "dtype": dtype}
    check_twin(Activation, keras.layers.Activation, arguments, X.astype("float32"))
    check_signature(Activation, keras.layers.Activation)


def test_built_at_once():
    layer = Activation("relu")
    assert layer.built
    assert layer.supports_masking


def test_unknown_name():
    with pytest.raises(ValueError, match="Could not interpret activation .*relo"):
        Activation("relo")
