"""Kinks: points at which a derivative jumps, as of ReLU at 0, |x| at 0, or equal maxima.

There any slope between the one-sided ones is right, and two correct computations may differ. So a
proof that fails at a kink is repeated a little beside it.
"""

import numpy as np
import tensorflow as tf

from custom_layers.checks.function import moved
from custom_layers.checks.report import Broken

BESIDE = 0.05  # how far each entry moves, at most


def at_and_beside(subject, function, prove, points=None):
    """What `prove(points)` returns, beside of the points if it breaks there at a kink.

    Returns:
        (the result, whether it is that of beside a kink)
    """
    points = function.points if points is None else points
    try:
        return prove(points), False
    except Broken:
        if not gradient_jumps(subject, function, points):
            raise
        return prove(beside(points, subject.seed)), True


def beside(points, seed):
    """The points, each entry moved a little."""
    rng = np.random.default_rng(seed + 1)
    return [x + tf.cast(BESIDE * rng.uniform(-1, 1, x.shape), x.dtype) for x in points]


def gradient_on_line(subject, function, points):
    """(φ(t): the gradient where all points moved by t along a direction, the direction)."""
    direction = subject.direction(points)

    def phi(t):
        gradient = function.fast_outputs_and_gradient(moved(points, direction, t))[1]
        return np.concatenate([np.ravel(tf.cast(g, "float64")) for g in gradient])

    return phi, direction


def gradient_jumps(subject, function, points):
    """Whether the gradient jumps at the points: its change does not shrink with the step."""
    phi, _ = gradient_on_line(subject, function, points)
    center = phi(0.0)
    steps = (1e-5, 1e-7) if subject.noise < 1e-10 else (3e-2, 1e-3)
    far, near = (
        max(np.abs(phi(sign * h) - center).max(initial=0) for sign in (-1, 1)) for h in steps
    )
    return bool(near >= 0.2 * far and near > 1e-4 * np.abs(center).max(initial=0))
