"""SimpleRNN: its equations in numpy, one step at a time."""

import keras
import numpy as np

from custom_layers.checks import assert_near
from custom_layers.recurrent.simple_rnn import SimpleRNN

X = np.random.default_rng(0).standard_normal((3, 4, 2))


def numpy_simple_rnn(x, kernel, recurrent_kernel, bias):
    h = np.zeros((len(x), len(recurrent_kernel)))
    for x_t in np.swapaxes(x, 0, 1):
        h = np.tanh(x_t @ kernel + bias + h @ recurrent_kernel)
    return h


def test_the_equations():
    layer = SimpleRNN(3, dtype="float64", bias_initializer="normal")
    expected = layer(X)
    assert_near("output", numpy_simple_rnn(X, *layer.get_weights()), expected)


def test_seed_is_in_the_config():
    """Keras's SimpleRNN forgets it."""
    assert SimpleRNN.from_config(SimpleRNN(3, seed=5).get_config()).cell.seed == 5
    assert "seed" not in keras.layers.SimpleRNN(3, seed=5).get_config()
