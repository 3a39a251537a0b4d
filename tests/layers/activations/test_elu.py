"""ELU: its gradient is its derivative, and it drops in for Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import ELU
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin

X = np.random.default_rng(0).standard_normal((5, 7))


@pytest.mark.parametrize("alpha", [1.0, 0.3, 0.0])
def test_backward(alpha):
    check_backward(ELU(alpha, dtype="float64"), X)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_twin(dtype):
    arguments = {"alpha": 0.5, "dtype": dtype}
    check_twin(ELU, keras.layers.ELU, arguments, X.astype("float32"))
    check_signature(ELU, keras.layers.ELU)


def test_far_out():
    assert_near("y", ELU(2.0)(tf.constant([-np.inf, -100.0, 0.0, 1e30])), [-2.0, -2.0, 0.0, 1e30])


def test_error():
    with pytest.raises(ValueError, match="`alpha` must be a finite number"):
        ELU(None)
