"""RMSNormalization: its gradients are its derivatives, and it drops in for Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import RMSNormalization
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin

Twin = keras.layers.RMSNormalization

CASES = [  # input shape, arguments
    ((5, 7), {}),
    ((2, 3, 5), {"axis": [1, 2], "epsilon": 0.1}),
    ((3, 2, 2, 5), {"axis": [-1, -2]}),
    ((0, 3), {}),
]


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("shape", "arguments"), [*CASES, ((2, 3, 5), {"axis": [-1, 1]})], ids=str)
def test_backward(shape, arguments):
    layer = RMSNormalization(dtype="float64", **arguments)
    layer.build(shape)
    layer.scale.assign(draw(layer.scale.shape))
    check_backward(layer, draw(shape))


@pytest.mark.parametrize(("shape", "arguments"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float16"])
def test_twin(shape, arguments, dtype):
    check_twin(RMSNormalization, Twin, {"dtype": dtype, **arguments}, draw(shape, "float32") + 3)


def test_signature():
    check_signature(RMSNormalization, Twin)


def test_an_axis_that_is_not_the_last():
    """Each place of `axis` has its own weight; Keras would lay them along the last axis."""
    x = draw((2, 3, 4))
    layer = RMSNormalization(axis=1, epsilon=0.0, dtype="float64")
    layer.build(x.shape)
    layer.scale.assign([1.0, 2.0, 3.0])
    expected = x / np.sqrt((x**2).mean(1, keepdims=True)) * np.array([[1.0], [2.0], [3.0]])
    assert_near("y", layer(x), expected)


def test_sixteen_bits_sum_in_thirty_two():
    """Squares of 300 overflow in float16."""
    x = tf.cast(np.tile([[-300.0, 300.0]], (1, 512)), "float16")
    assert_near("y", RMSNormalization(dtype="mixed_float16")(x), np.sign(x), 1e-3)


def test_errors():
    with pytest.raises(ValueError, match="Axis 2 is out of bounds"):
        RMSNormalization(axis=2)(tf.zeros((2, 3)))
    with pytest.raises(ValueError, match="`epsilon` must be at least 0"):
        RMSNormalization(epsilon=-1)
