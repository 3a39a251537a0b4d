"""LeakyReLU: Keras's twin with a derivative of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import LeakyReLU
from custom_layers.checks import check_backward, check_signature, check_twin

X = np.random.default_rng(0).standard_normal((5, 7))


@pytest.mark.parametrize("slope", [0, 0.3, 1, 2.5])
def test_backward(slope):
    check_backward(LeakyReLU(slope, dtype="float64"), X)


@pytest.mark.parametrize(
    ("slope", "dtype"), [(0.0, "bfloat16"), (0.3, "float32"), (0.3, "float16"), (2, "float64")]
)
def test_twin(slope, dtype):
    arguments = {"negative_slope": slope, "dtype": dtype}
    check_twin(LeakyReLU, keras.layers.LeakyReLU, arguments, X)
    check_signature(LeakyReLU, keras.layers.LeakyReLU)


def test_built_at_once():
    layer = LeakyReLU()
    assert layer.built
    assert layer.supports_masking


@pytest.mark.parametrize("slope", [None, -0.1])
def test_wrong_slope(slope):
    with pytest.raises(ValueError, match=f"Leaky ReLU .* Received: negative_slope={slope}"):
        LeakyReLU(slope)


def test_former_name_of_the_slope():
    assert LeakyReLU(alpha=0.1).negative_slope == 0.1


def test_ragged():
    values, layer = tf.constant([-1.0, 1.0, 3.0]), LeakyReLU(0.2)
    with tf.GradientTape() as tape:
        tape.watch(values)
        y = layer(tf.RaggedTensor.from_row_lengths(values, [1, 2]))
        total = tf.reduce_sum(tf.sin(y.flat_values))
    with tf.GradientTape() as dense:
        dense.watch(values)
        expected = tf.reduce_sum(tf.sin(layer(values)))
    assert y.row_lengths().numpy().tolist() == [1, 2]
    assert (tape.gradient(total, values) == dense.gradient(expected, values)).numpy().all()
