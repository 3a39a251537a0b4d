"""UnitNormalization: its gradients are its derivatives, and it drops in for Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import UnitNormalization
from custom_layers.checks import check_backward, check_signature, check_twin

Twin = keras.layers.UnitNormalization
CASES = [((4, 3), -1), ((2, 3, 4), 1), ((2, 3, 4), [1, -1]), ((0, 3), -1)]


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
def test_backward(shape, axis):
    check_backward(UnitNormalization(axis, dtype="float64"), draw(shape))


@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_twin(shape, axis, dtype):
    check_twin(UnitNormalization, Twin, {"axis": axis, "dtype": dtype}, draw(shape, "float32"))


def test_signature():
    check_signature(UnitNormalization, Twin)


def test_zeros_have_derivatives():
    """Where Keras's second derivative is NaN."""
    x = tf.zeros((2, 3))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = UnitNormalization()(x)
        slope = inner.gradient(y, x)
        total = tf.reduce_sum(slope**2)
    assert not np.any(y)
    assert np.allclose(slope, 1e12)
    assert not np.any(outer.gradient(total, x))


def test_errors():
    with pytest.raises(TypeError, match="Invalid value for `axis` argument.*axis=1.5"):
        UnitNormalization(1.5)
    with pytest.raises(ValueError, match="Axis 2 is out of bounds"):
        UnitNormalization(2)(tf.zeros((2, 3)))
