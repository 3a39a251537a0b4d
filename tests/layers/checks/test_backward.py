"""check_backward fails where a gradient is wrong."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import check_backward
from custom_layers.core.dense import Dense
from custom_layers.gradients import with_backward

X = np.random.default_rng(0).standard_normal((3, 4))


def wrong_square(backward):
    return with_backward(lambda x: (x * x, x), backward)


def test_right_gradient_passes():
    check_backward(wrong_square(lambda dy, x: 2 * x * dy), X)


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda dy, x: 2.001 * x * dy, "gradient of input 0 against autodiff"),
        (lambda dy, x: 2 * tf.stop_gradient(x) * dy, "second derivative of input 0"),
        (lambda dy, x: -2 * x * dy, "gradient of input 0 against autodiff"),
        (lambda dy, x: tf.zeros_like(x), "gradient of input 0 against autodiff"),
    ],
)
def test_wrong_gradient_fails(backward, message):
    with pytest.raises(AssertionError, match=message):
        check_backward(wrong_square(backward), X)


def test_autodiff_that_is_wrong_as_well_fails_the_differences():
    def forward(x):
        return tf.stop_gradient(x * x - 2 * x) + 2 * x, None

    with pytest.raises(AssertionError, match="against differences"):
        check_backward(with_backward(forward, lambda dy, cache: 2 * dy), X)


def test_single_precision_is_refused():
    with pytest.raises(AssertionError, match="needs float64"):
        check_backward(Dense(3), X.astype("float32"))
