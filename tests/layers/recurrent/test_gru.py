"""GRU: its equations in numpy, one gate at a time."""

import numpy as np
import pytest

from custom_layers.checks import assert_near
from custom_layers.recurrent.gru import GRU

X = np.random.default_rng(0).standard_normal((3, 4, 2))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def numpy_gru(x, kernel, recurrent_kernel, bias, reset_after):
    """The equations, one gate at a time."""
    w, u = (np.split(v, 3, -1) for v in (kernel, recurrent_kernel))
    b = np.split(bias if reset_after else np.stack([bias, 0 * bias]), 3, -1)
    h = np.zeros((len(x), u[0].shape[0]))
    for x_t in np.swapaxes(x, 0, 1):
        a = [x_t @ w[k] + b[k][0] for k in range(3)]
        p = [h @ u[k] + b[k][1] for k in range(3)]
        z, r = sigmoid(a[0] + p[0]), sigmoid(a[1] + p[1])
        g = np.tanh(a[2] + (r * p[2] if reset_after else (r * h) @ u[2]))
        h = z * h + (1 - z) * g
    return h


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_equations(reset_after):
    layer = GRU(3, dtype="float64", bias_initializer="normal", reset_after=reset_after)
    expected = layer(X)
    weights = layer.get_weights()
    assert_near("output", numpy_gru(X, *weights, reset_after), expected)
