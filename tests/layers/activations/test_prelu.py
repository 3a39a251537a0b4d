"""PReLU: its gradients are its derivatives, and it drops in for Keras's."""

import keras
import numpy as np
import pytest

from custom_layers import PReLU
from custom_layers.checks import check_backward, check_signature, check_twin


def draw(*shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shared", [None, 1, [1, 2]])
def test_backward(shared):
    check_backward(PReLU("normal", shared_axes=shared, dtype="float64"), draw(3, 2, 4, 2))


@pytest.mark.parametrize("shared", [None, [1, 2]])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_twin(shared, dtype):
    arguments = {"shared_axes": shared, "alpha_initializer": "normal", "dtype": dtype}
    check_twin(PReLU, keras.layers.PReLU, arguments, draw(3, 2, 4, 2, dtype="float32"))


def test_signature():
    check_signature(PReLU, keras.layers.PReLU)


def test_error():
    with pytest.raises(ValueError, match="known size or be shared.*shared_axes=None"):
        PReLU()(keras.Input((None, 3)))
