"""ActivityRegularization: the penalty, its gradient, and the loss of a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import ActivityRegularization
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin


def normal(shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (0, 3), (2, 3, 5), (3,), ()], ids=str)
@pytest.mark.parametrize("arguments", [{}, {"l1": 0.3}, {"l2": 0.2}, {"l1": 1, "l2": 0.5}], ids=str)
def test_backward(shape, arguments):
    layer = ActivityRegularization(**arguments, dtype="float64")

    def outputs(x):
        with keras.StatelessScope(collect_losses=True) as scope:
            y = layer(x)
        return [y, *scope.losses]

    check_backward(outputs, normal(shape))


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
@pytest.mark.parametrize("arguments", [{"l1": 0.3}, {"l1": 0.01, "l2": 0.5}], ids=str)
def test_twin(arguments, dtype):
    x = normal((4, 5)).astype("float32")
    arguments = {**arguments, "dtype": dtype}
    check_twin(ActivityRegularization, keras.layers.ActivityRegularization, arguments, x)
    ours, twin = (
        ActivityRegularization(**arguments),
        keras.layers.ActivityRegularization(**arguments),
    )
    ours(x), twin(x)
    assert len(ours.losses) == len(twin.losses) == 1
    tolerance = 3e-2 if dtype.startswith("mixed") else 1e-6
    assert_near("penalty", ours.losses[0], np.asarray(twin.losses[0], "float64"), tolerance)


def test_signature():
    check_signature(ActivityRegularization, keras.layers.ActivityRegularization)


def test_half_precision_does_not_overflow():
    layer = ActivityRegularization(l2=1.0, dtype="float16")
    layer(tf.fill((1000,), tf.constant(100, tf.float16)))
    assert layer.losses[0].numpy() == 1e4


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_sees_the_penalty(jit_compile):
    x = normal((8, 3)).astype("float32")
    losses = []
    for layers in (keras.layers, __import__("custom_layers")):
        model = keras.Sequential([keras.Input((3,)), layers.ActivityRegularization(0.1, 0.2)])
        model.compile("sgd", "mse", jit_compile=jit_compile)
        losses.append(model.evaluate(x, 0 * x, verbose=0))
    assert_near("loss", losses[1], losses[0], 1e-6)


def test_masks_pass():
    x = keras.layers.Masking()(np.array([[[1.0], [0.0]]], "float32"))
    y = ActivityRegularization(0.1)(x)
    assert y._keras_mask.numpy().tolist() == [[True, False]]


@pytest.mark.parametrize("arguments", [{"l1": -1}, {"l2": float("inf")}, {"l2": None}], ids=str)
def test_wrong_factors(arguments):
    with pytest.raises(ValueError, match="expected a non-negative float"):
        ActivityRegularization(**arguments)
