"""Flatten: a reshape there and back, for both data formats, known and unknown sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import Flatten
from custom_layers.checks import check_backward, check_signature, check_twin

SHAPES = [(5, 7), (1, 1), (0, 3), (2, 3, 5), (3,), (2, 3, 5, 4), (0, 2, 3)]
FORMATS = [None, "channels_last", "channels_first"]


def normal(shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward(shape, data_format):
    check_backward(Flatten(data_format, dtype="float64"), normal(shape))


@pytest.mark.parametrize(
    ("shape", "data_format", "dtype"),
    [
        ((5, 7), None, "float32"),
        ((3,), "channels_first", "float64"),
        ((0, 3), "channels_last", "bfloat16"),
        ((2, 3, 5), "channels_last", "mixed_bfloat16"),
        ((2, 3, 5, 4), "channels_first", "mixed_float16"),
    ],
    ids=str,
)
def test_twin(shape, data_format, dtype):
    arguments = {"data_format": data_format, "dtype": dtype}
    check_twin(Flatten, keras.layers.Flatten, arguments, normal(shape).astype("float32"))


def test_signature():
    check_signature(Flatten, keras.layers.Flatten)


@pytest.mark.parametrize(
    "shape", [(None, 2, 3), (5, 2, None), (None, None, 3), (None,), (4,), (None, 7)], ids=str
)
@pytest.mark.parametrize("data_format", FORMATS)
def test_static_shape(shape, data_format):
    """Known sizes stay known, as with Keras: a Dense layer needs them."""
    x = keras.Input(batch_shape=shape)
    expected = keras.layers.Flatten(data_format)(x).shape
    assert Flatten(data_format)(x).shape == expected
    traced = []
    tf.function(
        lambda x: traced.append(Flatten(data_format)(x).shape),
        input_signature=[tf.TensorSpec(shape)],
        autograph=False,
    ).get_concrete_function()
    assert tuple(traced[0]) == expected


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3, 5)], ids=str)
def test_sparse(shape, data_format):
    x = normal(shape) * (np.random.default_rng(1).random(shape) < 0.4)
    sparse = tf.sparse.from_dense(x)
    layer = Flatten(data_format, dtype="float64")
    y = layer(sparse)
    assert isinstance(y, tf.SparseTensor)
    assert (tf.sparse.to_dense(y).numpy() == layer(x).numpy()).all()
    node = keras.Input(shape[1:], dtype="float64", sparse=True)  # to cast it makes it dense
    assert layer(node).sparse


def test_integers_keep_their_type():
    y = Flatten()(tf.ones((2, 3, 4), tf.int32))
    assert (y.dtype, tuple(y.shape)) == (tf.int32, (2, 12))


def test_masks_end_here():
    """There is a mask entry per step, but no axis of steps any more: Keras warns."""
    x = keras.layers.Masking()(tf.ones((2, 3, 4)))
    with pytest.warns(UserWarning, match="does not support mask"):
        Flatten()(x)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="one of .*Received: data_format=middle"):
        Flatten("middle")
    with pytest.raises(ValueError, match="expected min_ndim=1"):
        Flatten()(tf.constant(1.0))


@pytest.mark.parametrize("inner", [(), (2,), (2, 3)], ids=str)
def test_ragged_rows_keep_their_numbers(inner):
    """Keras's layer moves numbers into other rows."""
    values = normal((4, *inner)).astype("float32")
    x = tf.RaggedTensor.from_row_lengths(values, [1, 3])
    with tf.GradientTape() as tape:
        tape.watch(x.flat_values)
        y = Flatten()(x)
        loss = tf.reduce_sum(y.flat_values**2)
    for row in range(2):
        assert y[row].numpy().tolist() == np.ravel(x[row]).tolist()
    assert (tape.gradient(loss, x.flat_values).numpy() == 2 * values).all()
    node = keras.Input((None, *inner), ragged=True)
    assert Flatten()(node).ragged
    if inner:
        with pytest.raises(ValueError, match="ragged inputs only with their channels last"):
            Flatten("channels_first")(x)
