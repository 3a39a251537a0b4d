"""gelu, silu, softsign: Keras's values, their derivatives of first and second order."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.activations import smooth
from custom_layers.checks import assert_near, check_backward

X = np.concatenate([np.random.default_rng(0).standard_normal(9), [-30.0, 30.0]])
DEFINITIONS = {
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softsign": lambda x: x / (1 + abs(x)),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_function(name):
    function = getattr(smooth, name)
    theirs = getattr(keras.activations, name)
    assert smooth.with_written_backward(theirs) is function
    check_backward(function, X)
    assert_near(name, function(tf.constant(X)), list(map(DEFINITIONS[name], X)), 1e-12)
    for dtype, tolerance in {"float32": 1e-6, "bfloat16": 1e-2}.items():
        x = tf.cast(X, dtype)
        assert_near(name, function(x), theirs(x), tolerance)


def test_others_stay():
    assert smooth.with_written_backward(keras.activations.tanh) is keras.activations.tanh
