"""LSTM: its equations in numpy, one gate at a time."""

import numpy as np

from custom_layers.checks import assert_near
from custom_layers.recurrent.lstm import LSTM

X = np.random.default_rng(0).standard_normal((3, 4, 2))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def numpy_lstm(x, kernel, recurrent_kernel, bias):
    """The equations, one gate at a time."""
    w, u, b = (np.split(v, 4, -1) for v in (kernel, recurrent_kernel, bias))
    h = c = np.zeros((len(x), u[0].shape[0]))
    for x_t in np.swapaxes(x, 0, 1):
        z_i, z_f, z_g, z_o = (x_t @ w[k] + h @ u[k] + b[k] for k in range(4))
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
        c = f * c + i * g
        h = o * np.tanh(c)
    return h


def test_the_equations():
    layer = LSTM(3, dtype="float64", bias_initializer="normal")
    expected = layer(X)
    assert_near("output", numpy_lstm(X, *layer.get_weights()), expected)


def test_forget_bias_starts_at_one():
    layer = LSTM(2)
    layer(X)
    assert layer.get_weights()[2].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
