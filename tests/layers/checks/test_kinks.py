"""A kink is recognized, at it and beside it."""

import keras
import numpy as np
import pytest

from custom_layers.checks.kinks import at_and_beside, beside, gradient_jumps
from custom_layers.checks.report import Broken
from custom_layers.checks.subject import Subject

AT_ZERO = np.array([[0.0, 1.0, -1.0]], "float32")


def subject_of(activation, x):
    subject = Subject(lambda: keras.layers.Activation(activation), x, {})
    return subject, next(iter(subject.exact.values()))


@pytest.mark.parametrize(
    ("activation", "x", "jumps"),
    [
        ("relu", AT_ZERO, True),
        ("relu", AT_ZERO + 0.1, False),
        ("tanh", AT_ZERO, False),
        ("linear", AT_ZERO, False),
    ],
)
def test_the_gradient_jumps_at_a_kink(activation, x, jumps):
    subject, function = subject_of(activation, x)
    assert gradient_jumps(subject, function, function.points) is jumps


def test_a_proof_that_fails_at_a_kink_is_repeated_beside_it():
    subject, function = subject_of("relu", AT_ZERO)

    def prove(points):
        if points is function.points:
            raise Broken("at the kink")
        return 1

    assert at_and_beside(subject, function, prove) == (1, True)
    subject, function = subject_of("tanh", AT_ZERO)
    with pytest.raises(Broken, match="at the kink"):
        at_and_beside(subject, function, prove)


def test_beside_is_near():
    subject, function = subject_of("relu", AT_ZERO)
    (near,) = beside(function.points, subject.seed)
    assert 0 < np.abs(near - AT_ZERO).max() <= 0.05
