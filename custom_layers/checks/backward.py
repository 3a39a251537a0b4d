"""check_backward: the gradients of a layer or function are its derivatives, first and second."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from custom_layers.checks.function import Function, dot, moved
from custom_layers.checks.near import assert_near
from custom_layers.gradients import autodiff


def check_backward(
    layer: Callable, inputs: Any, *, second_order: bool = True, seed: int = 0, **call
) -> None:
    """Prove that the gradients of a layer are its derivatives.

    In float64, for each float input and each trainable weight: the written-out gradient equals what
    TensorFlow derives from the bare forward (to 1e-10) and a central difference along a random
    direction (to 1e-6). The same for the second derivative (1e-9 and 1e-5).

    Args:
        layer: a layer built with `dtype="float64"`, or a function of tensors.
        inputs: what it is called with: arrays or a structure of them.
        second_order: whether to prove the second derivative too.
        seed: of the random directions.
        **call: further arguments of the call, such as `training=True` or `mask=...`.

    Raises:
        AssertionError: names the input or weight whose gradient is off, and by how much.
    """
    function, rng = Function(layer, inputs, call), np.random.default_rng(seed)
    points, names = function.points, function.names
    for name, point in zip(names, points, strict=True):
        if point.dtype != tf.float64:
            raise AssertionError(f"check_backward needs float64, {name} is {point.dtype.name}")

    hand = function.gradient(points)
    with autodiff():
        derived = function.gradient(points)
    for name, a, b in zip(names, hand, derived, strict=True):
        assert_near(f"gradient of {name} against autodiff", a, b)

    directions = []  # one for each tensor alone, so that a small one is not drowned
    for i, point in enumerate(points):
        directions.append([tf.zeros_like(x) for x in points])
        directions[i][i] = tf.constant(rng.standard_normal(point.shape), tf.float64)
    size = max(1.0, tf.sqrt(dot(hand, hand)).numpy())
    for name, direction in zip(names, directions, strict=True):
        slope = _difference(function.value, points, direction)
        name = f"gradient of {name} against differences"
        assert_near(name, dot(hand, direction), slope, 1e-6 * size)
    if not second_order:
        return

    probe = [tf.constant(rng.standard_normal(x.shape), tf.float64) for x in points]
    hand = function.curvature(points, probe)
    with autodiff():
        derived = function.curvature(points, probe)
    size = max(1.0, tf.sqrt(dot(hand, hand)).numpy())
    for name, a, b in zip(names, hand, derived, strict=True):
        assert_near(f"second derivative of {name} against autodiff", a, b, 1e-9 * size)
    for name, direction in zip(names, directions, strict=True):
        slope = _difference(lambda p: dot(function.gradient(p), probe), points, direction)
        name = f"second derivative of {name} against differences"
        assert_near(name, dot(hand, direction), slope, 1e-5 * size)


def _difference(value, points, direction, step=1e-6):
    """The central difference of `value` along `direction`."""
    ahead, behind = (value(moved(points, direction, h)) for h in (step, -step))
    return (ahead - behind) / (2 * step)
