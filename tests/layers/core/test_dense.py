"""Dense: its gradients are its derivatives, and it drops in for keras.layers.Dense."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.core.dense import Dense

SHAPES = [(5, 7), (1, 1), (0, 3), (2, 3, 5), (2, 1, 3, 2, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("arguments", [{}, {"use_bias": False, "activation": "tanh"}], ids=str)
def test_backward(shape, arguments):
    x = np.random.default_rng(0).standard_normal(shape)
    check_backward(Dense(3, dtype="float64", bias_initializer="normal", **arguments), x)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3},
        {"units": 1, "use_bias": False, "activation": "relu"},
        {"units": 4, "kernel_regularizer": "l1", "bias_constraint": "non_neg"},
        {"units": 4, "dtype": "mixed_bfloat16", "activity_regularizer": "l2"},
        {"units": 2, "dtype": "mixed_float16", "kernel_initializer": "he_normal"},
    ],
    ids=str,
)
def test_twin(shape, arguments):
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    check_twin(Dense, keras.layers.Dense, arguments, x)


def test_signature():
    check_signature(Dense, keras.layers.Dense)


def test_sparse_input_is_the_dense_one():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 6)) * (rng.random((4, 6)) < 0.4)
    sparse = tf.sparse.from_dense(x)
    layer = Dense(3, dtype="float64", bias_initializer="normal")

    def of_values(values):
        return layer(tf.SparseTensor(sparse.indices, values, sparse.dense_shape))

    assert_near("output", of_values(sparse.values), layer(x))
    of_values.trainable_variables = layer.trainable_variables
    check_backward(of_values, sparse.values, second_order=False)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_bias_gradient_of_many_rows(dtype):
    """A sum of 50,000 halves of 1/16, which half precision cannot add one by one."""
    layer = Dense(3, dtype=dtype)
    x = tf.ones((50_000, 1), dtype)

    @tf.function
    def dbias():
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.cast(layer(x), "float32")) / 16
        return tape.gradient(y, layer.bias.value)

    layer(x)
    assert_near("dbias", tf.cast(dbias(), "float64"), [3125.0] * 3, 1e-2)


@pytest.mark.parametrize("units", [0, -1, 2.5, "3", None, True])
def test_units_must_be_a_positive_integer(units):
    with pytest.raises(ValueError, match=f"`units` must be a positive integer.*{units}"):
        Dense(units)


def test_wrong_inputs():
    layer = Dense(3)
    with pytest.raises(ValueError, match="expected min_ndim=2, found ndim=1"):
        layer(tf.zeros(4))
    with pytest.raises(ValueError, match="must have a known size"):
        Dense(3)(keras.Input((None,)))
    layer(tf.zeros((2, 4)))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 4"):
        layer(tf.zeros((2, 5)))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_many_gradients_of_one_row_of_a_sparse_input(dtype):
    """50,000 of them: in 16 bits their sum stalls at 256 or 2048."""
    layer, n = Dense(2, dtype=dtype), 50_000
    layer.build((None, 3))
    places = tf.stack([tf.range(n, dtype=tf.int64), tf.ones((n,), tf.int64)], 1)
    x = tf.SparseTensor(places, tf.ones((n,), layer.compute_dtype), (n, 3))
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.cast(layer(x), tf.float32))
    kernel, bias = map(tf.convert_to_tensor, tape.gradient(y, layer.trainable_variables))
    np.testing.assert_allclose(kernel, [[0, 0], [n, n], [0, 0]], rtol=2**-8)
    np.testing.assert_allclose(bias, [n, n], rtol=2**-8)


def test_what_is_not_here():
    with pytest.raises(ValueError, match="Dense of custom_layers .* argument `lora_rank`"):
        Dense(3, lora_rank=2)
    config = {**keras.layers.Dense(3).get_config(), "lora_rank": None, "lora_alpha": None}
    assert Dense.from_config(config).units == 3


def test_a_broken_backward_is_seen(monkeypatch):
    """The proof itself is tested: a factor, a sign and a transpose must not pass."""
    dense = __import__("custom_layers.core.dense", fromlist=["x"])
    x = np.random.default_rng(0).standard_normal((4, 3))
    for i, mistake in enumerate([lambda g: 2 * g, lambda g: -g, tf.transpose]):

        def backward(dy, cache, i=i, mistake=mistake):
            gradients = list(dense.affine_backward(dy, cache))
            gradients[i % 2] = mistake(gradients[i % 2])
            return gradients

        wrong = custom_layers.gradients.with_backward(dense.affine_forward, backward)
        with monkeypatch.context() as patch:
            patch.setattr(dense, "affine", wrong)
            with pytest.raises((AssertionError, ValueError, tf.errors.InvalidArgumentError)):
                check_backward(Dense(4, dtype="float64"), x)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool"])
def test_whole_numbers_are_taken_as_keras_takes_them(kind):
    ours, theirs = Dense(3), keras.layers.Dense(3)
    x = np.arange(8).reshape(2, 4).astype(kind)
    ours.build(x.shape), theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    assert_near("output", ours(x), theirs(x), 1e-6)
    assert ours(x).dtype == theirs(x).dtype
