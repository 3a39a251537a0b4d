"""First and second derivatives, kinks among them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import check_layer
from custom_layers.gradients import with_backward

L = keras.layers
ZEROS = np.array([[0.0, 1.0, -1.0, 0.0]], "float32")
EQUAL = np.ones((1, 4, 4, 1), "float32")


@pytest.mark.parametrize(
    ("make", "x", "kink"),
    [
        (L.ReLU, ZEROS, True),
        (L.LeakyReLU, ZEROS, True),
        (L.MaxPooling2D, EQUAL, True),
        (L.GlobalMaxPooling2D, EQUAL, True),
        (lambda: L.Activation("tanh"), ZEROS, False),
        (lambda: L.Activation("softsign"), ZEROS + 1.5, False),
    ],
)
def test_a_kink_is_told_as_one(make, x, kink):
    found = check_layer(make, x, promises=["gradient"])["gradient"]
    assert found.verdict == "held"
    assert ("kink" in found.note) == kink


def test_a_mistake_beside_a_kink_is_found():
    """At 0 any slope from 0 to 1 is right; a little above it 0.9 is wrong."""
    relu = with_backward(
        lambda x: (tf.nn.relu(x), x), lambda dy, x: 0.9 * tf.cast(x > 0, x.dtype) * dy
    )

    class ReLU(L.Layer):
        def call(self, x):
            return relu(tf.cast(x, "float64"))

    found = check_layer(ReLU, np.zeros((2, 3), "float32"), promises=["gradient"])["gradient"]
    assert "a constant factor 0.9" in found.cause


def test_a_slope_outside_of_the_one_sided_ones_is_wrong():
    relu = with_backward(
        lambda x: (tf.nn.relu(x), x), lambda dy, x: (1 + 2 * tf.cast(x == 0, x.dtype)) * dy
    )

    class ReLU(L.Layer):
        def call(self, x):
            return relu(tf.cast(x, "float64"))

    found = check_layer(ReLU, np.abs(ZEROS), promises=["gradient"])["gradient"]
    assert found.verdict == "broken"
    assert found.got == pytest.approx(3 * found.expected, rel=0.1)


def test_a_second_derivative_that_is_not_there():
    found = check_layer(
        lambda: L.Activation("softsign"), ZEROS + 0.5, promises=["second_derivative"]
    )["second_derivative"]
    assert "SoftsignGrad" in found.note


def test_stops_are_named():
    class Stopped(L.Layer):
        def call(self, x):
            return x * tf.stop_gradient(x)

    report = check_layer(Stopped, ZEROS, promises=["gradient", "second_derivative"])
    assert [f.promise for f in report.broken] == ["gradient", "second_derivative"]
