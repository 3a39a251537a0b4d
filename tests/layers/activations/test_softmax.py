"""Softmax: gradients, Keras's behavior, masks, large logits, many entries."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import Softmax
from custom_layers.activations.softmax import softmax
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5, 7), -1),
        ((2, 3, 5), 1),
        ((2, 3, 5), [2]),
        ((2, 3, 5), (1, 2)),
        ((2, 3, 5, 2), (3, 1)),
        ((0, 3), -1),
        ((3,), 0),
        ((1, 1), -1),
    ],
    ids=str,
)
def test_backward(shape, axis):
    layer, x = Softmax(axis, dtype="float64"), 3 * normal(shape)
    check_backward(layer, x)
    mask = np.random.default_rng(1).random(shape) < 0.6
    check_backward(layer, x, mask=mask)
    check_backward(layer, x, mask=np.zeros_like(mask))


@pytest.mark.parametrize(
    ("axis", "dtype"),
    [(-1, "float32"), (1, "mixed_float16"), ([1], "float64"), ([1, 2], "mixed_bfloat16")],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
def test_twin(axis, masked, dtype):
    x = 3 * normal((4, 5, 3)).astype("float32")
    call = {"mask": np.random.default_rng(1).random(x.shape) < 0.6} if masked else {}
    check_twin(Softmax, keras.layers.Softmax, {"axis": axis, "dtype": dtype}, x, **call)
    check_signature(Softmax, keras.layers.Softmax)


def test_built_at_once():
    layer = Softmax()
    assert layer.built
    assert layer.supports_masking


@pytest.mark.parametrize("axis", [-1, (-1,), (1,), (0, 1)])
def test_large_logits(axis):
    x = tf.constant([[1e4, 1e4 - 1, -1e4], [-1e30, -1e30, -1e38]])
    y = Softmax(axis)(x).numpy()
    assert_near("softmax", y[0], np.array([0.7310586, 0.2689414, 0], "float32"))
    if axis == (0, 1):
        assert (y[1] == 0).all()
        return
    assert_near("softmax", y[1], np.array([0.5, 0.5, 0], "float32"))
    # Keras puts -1e9 in place of the masked ones, and keeps those instead of these.
    y = Softmax(axis)(x, mask=np.array([True, True, False])).numpy()
    assert_near("softmax", y[1], np.array([0.5, 0.5, 0], "float32"))


@pytest.mark.parametrize("mask", [[1, 0, 1], [1.0, 0.2, 0.9], [True, False, True]], ids=str)
def test_masks_of_all_kinds(mask):
    y = Softmax()(np.array([[1.0, 5.0, 1.0]]), mask=np.array([mask]))
    assert y.numpy().tolist() == [[0.5, 0, 0.5]]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_masked_has_no_influence(value, compiled):
    """Neither in x nor in dy."""

    @tf.function(jit_compile=compiled)
    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = Softmax()(x, mask=tf.constant([[True, False, True]]))
        return y, tape.gradient(y, x, dy)

    x, dy = np.array([[1.0, 5.0, 2.0]], "float32"), np.array([[0.5, 1.0, 2.0]], "float32")
    expected = run(tf.constant(x), tf.constant(dy))
    x[0, 1] = dy[0, 1] = value
    for result, right in zip(run(tf.constant(x), tf.constant(dy)), expected, strict=True):
        assert result.numpy().tolist() == right.numpy().tolist()
        assert result[0, 1] == 0


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("masked", [False, True])
def test_sums_of_many_in_16_bits(dtype, compiled, masked):
    """50,000 equal logits: their sum is neither 256 nor 2048, and Σ dy y is 1 where dy = 1."""
    x = tf.ones((1, 50_000), dtype)
    mask = tf.fill(x.shape, True) if masked else None

    @tf.function(jit_compile=compiled)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = softmax(x, mask)
        return y, tape.gradient(y, x)

    y, dx = run(x)
    np.testing.assert_allclose(tf.cast(y, tf.float64), np.full(x.shape, 2e-5), rtol=2**-7)
    np.testing.assert_allclose(tf.cast(dx, tf.float64), np.zeros(x.shape), atol=2e-7)


def test_logits_are_handed_to_the_loss():
    """-log y of a y that rounds to 0 is known if the loss sees x."""
    x, target = tf.constant([[200.0, 0.0]]), tf.constant([[0.0, 1.0]])
    loss = keras.losses.CategoricalCrossentropy()
    for layer in (Softmax(), keras.layers.Softmax()):
        assert loss(target, layer(x)).numpy() == 200


def test_wrong_masks():
    with pytest.raises(ValueError, match="must not have more dimensions"):
        Softmax()(tf.zeros((2, 3)), mask=tf.ones((1, 2, 3)))
    with pytest.raises(ValueError, match="Each mask dimension must be 1 or match"):
        Softmax()(tf.zeros((1, 3)), mask=tf.ones((2, 3)))
