"""GroupNormalization: its gradients are its derivatives, and it drops in for Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import GroupNormalization
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin

Twin = keras.layers.GroupNormalization

CASES = [  # input shape, arguments
    ((3, 6), {"groups": 2}),
    ((2, 3, 4), {"groups": 1, "scale": False}),
    ((2, 3, 2, 4), {"groups": 2, "epsilon": 0.1, "center": False}),
    ((2, 4, 3, 2), {"groups": 2, "axis": 1}),
    ((2, 3, 4), {"groups": -1}),
    ((2, 3, 4, 2), {"groups": 2, "axis": -2}),
    ((0, 3, 4), {"groups": 2}),
]


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("shape", "arguments"), CASES, ids=str)
def test_backward(shape, arguments):
    random = {"gamma_initializer": "normal", "beta_initializer": "normal"}
    check_backward(GroupNormalization(dtype="float64", **random, **arguments), draw(shape))


@pytest.mark.parametrize(("shape", "arguments"), CASES[:-1], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_twin(shape, arguments, dtype):
    arguments = {"dtype": dtype, "gamma_regularizer": "l2", **arguments}
    check_twin(GroupNormalization, Twin, arguments, draw(shape, "float32") + 3)


def test_signature():
    check_signature(GroupNormalization, Twin)


def test_the_definition():
    x = draw((2, 3, 6))
    y = GroupNormalization(2, epsilon=0.0, dtype="float64")(x).numpy()
    assert_near("means", y.reshape(2, 3, 2, 3).mean((1, 3)), np.zeros((2, 2)))
    assert_near("variances", y.reshape(2, 3, 2, 3).var((1, 3)), np.ones((2, 2)))


@pytest.mark.parametrize(
    ("groups", "message"),
    [(0, "expected a positive integer"), (8, "more than the number"), (4, "must be a multiple")],
)
def test_errors(groups, message):
    with pytest.raises(ValueError, match=message):
        GroupNormalization(groups)(tf.zeros((2, 6)))
