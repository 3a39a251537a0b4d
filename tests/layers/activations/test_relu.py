"""ReLU: gradients, and Keras's behavior at the corners."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import ReLU
from custom_layers.checks import check_backward, check_signature, check_twin

SHAPES = [(5, 7), (1, 1), (0, 3), (2, 3, 5), (3,)]
ARGUMENTS = [  # corners that float32 can represent: Keras rounds them to it
    {},
    {"negative_slope": 0.2},
    {"max_value": 0.75},
    {"max_value": 0.0, "negative_slope": 0.5},
    {"threshold": 0.25},
    {"threshold": 0.25, "negative_slope": 1.5, "max_value": 0.875},
    {"threshold": 1.0, "max_value": 0.5, "negative_slope": 0.1},
    {"max_value": 6},
]


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_backward(shape, arguments):
    check_backward(ReLU(dtype="float64", **arguments), normal(shape))


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_twin(arguments, dtype):
    x = 3 * normal((4, 5)).astype("float32")
    check_twin(ReLU, keras.layers.ReLU, {**arguments, "dtype": dtype}, x)
    check_signature(ReLU, keras.layers.ReLU)


def test_built_at_once():
    layer = ReLU()
    assert layer.built
    assert layer.supports_masking


@pytest.mark.parametrize(
    ("arguments", "slopes"),
    [
        ({}, [0, 0, 1, 1]),
        ({"negative_slope": 0.5}, [0.5, 0.5, 1, 1]),
        ({"max_value": 2.0}, [0, 0, 1, 0]),
        ({"max_value": 6}, [0, 0, 1, 1]),
    ],
    ids=str,
)
def test_corners(arguments, slopes):
    """Zeros are common inputs: there the derivative is that of Keras."""
    x = tf.constant([-1.0, 0.0, 1.0, 2.0])
    for cls in (ReLU, keras.layers.ReLU) if arguments != {"max_value": 2.0} else (ReLU,):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = cls(**arguments)(x)
        assert tape.gradient(y, x).numpy().tolist() == slopes


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_the_threshold_itself_is_not_above_it(slope):
    x = tf.constant([0.0, 1.0, 2.0])
    for cls in (ReLU, keras.layers.ReLU):
        assert cls(threshold=1.0, negative_slope=slope)(x).numpy().tolist() == [-slope, 0, 2]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_infinities(arguments):
    x = np.array([-np.inf, np.inf], "float32")
    y = ReLU(**arguments)(x).numpy()
    assert (y == keras.layers.ReLU(**arguments)(x).numpy()).all()


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("arguments", [*ARGUMENTS[:2], *ARGUMENTS[4:6]], ids=str)
def test_nan_shows(arguments, dtype, mode):
    """In y, and in dx where dy has it: at each place of a vector, since kernels take 4 to 16."""
    layer = ReLU(dtype=dtype, **arguments)

    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, tape.gradient(y, x, dy)

    run = run if mode == "eager" else tf.function(run, jit_compile=mode == "xla")
    x = tf.where(tf.eye(17, dtype=tf.bool), np.nan, 0.5)
    x = tf.cast(x, dtype)
    y, dx = run(x, x)
    assert (tf.math.is_nan(y) == tf.eye(17, dtype=tf.bool)).numpy().all()
    assert tf.reduce_all(tf.math.is_nan(tf.linalg.diag_part(dx)))


def test_relu_keeps_integers():
    y = ReLU()(tf.constant([-2, 3]))
    assert y.dtype == tf.int32
    assert y.numpy().tolist() == [0, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_value": -1}, "max_value of a ReLU .* Received: max_value=-1"),
        ({"negative_slope": -1}, "negative_slope of a ReLU .* negative_slope=-1"),
        ({"negative_slope": None}, "negative_slope of a ReLU .* cannot be None"),
        ({"threshold": None}, "threshold of a ReLU .* cannot be None"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ReLU(**arguments)


def test_ragged():
    values, layer = tf.constant([-1.0, 1.0, 3.0]), ReLU(max_value=2.0, threshold=0.5)
    with tf.GradientTape() as tape:
        tape.watch(values)
        y = layer(tf.RaggedTensor.from_row_lengths(values, [1, 2]))
        total = tf.reduce_sum(tf.sin(y.flat_values))
    with tf.GradientTape() as dense:
        dense.watch(values)
        expected = tf.reduce_sum(tf.sin(layer(values)))
    assert y.row_lengths().numpy().tolist() == [1, 2]
    assert (tape.gradient(total, values) == dense.gradient(expected, values)).numpy().all()
