"""Function: a layer as a scalar function, its state held still."""

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.function import Function, dot, moved

X = np.random.default_rng(0).standard_normal((3, 4))


def test_value_is_the_sum_of_sines():
    function = Function(lambda x: 2 * x, X, {})
    y = 2 * X.ravel()
    scale = np.abs(y).max()
    expected = scale * np.sin(y / scale + np.arange(12)).sum()
    np.testing.assert_allclose(function.value(function.points), expected)
    np.testing.assert_allclose(function.fast_value(function.points), expected)


def test_points_are_inputs_and_weights():
    layer = keras.layers.Dense(2, dtype="float64")
    function = Function(layer, X, {})
    assert function.names == ["input 0", "dense/kernel", "dense/bias"]
    before = layer.kernel.numpy()
    far = moved(function.points, [tf.ones_like(x) for x in function.points], 1.0)
    assert function.value(far) != function.value(function.points)
    np.testing.assert_array_equal(layer.kernel.numpy(), before)


def test_state_is_held_still():
    layer = keras.layers.Dropout(0.5, dtype="float64")
    function = Function(layer, X, {"training": True})
    assert function.value(function.points) == function.value(function.points)


def test_losses_are_added():
    layer = keras.layers.ActivityRegularization(l2=1.0, dtype="float64")
    with_loss, without = Function(layer, X, {}), Function(lambda x: x, X, {})
    added = with_loss.value(with_loss.points) - without.value(without.points)
    np.testing.assert_allclose(added, np.square(X).sum() / len(X))


def test_curvature_is_the_hessian_times_a_direction():
    function = Function(lambda x: x, X, {})
    function.scales = [1.0]
    direction = [tf.ones_like(function.points[0])]
    (found,) = function.curvature(function.points, direction)
    np.testing.assert_allclose(found, -np.sin(X.ravel() + np.arange(12)).reshape(3, 4))
    assert dot(direction, direction) == 12
