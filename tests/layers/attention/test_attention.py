"""Attention, AdditiveAttention: they drop in for Keras's, and their gradients hold."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import AdditiveAttention, Attention
from custom_layers.attention.attention import additive_scores
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin

CASES = [  # class, arguments
    (Attention, {}),
    (Attention, {"use_scale": True}),
    (Attention, {"score_mode": "concat", "use_scale": True, "dropout": 0.5}),
    (AdditiveAttention, {}),
    (AdditiveAttention, {"use_scale": False}),
]


def draw(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def inputs(dtype="float64"):
    shapes = [(2, 4, 3), (2, 5, 2), (2, 5, 3)]
    return [draw(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(("cls", "arguments"), CASES, ids=str)
def test_backward(cls, arguments):
    layer = cls(dtype="float64", **arguments)
    check_backward(layer, inputs(), use_causal_mask=True, return_attention_scores=True)


@pytest.mark.parametrize(("cls", "arguments"), CASES, ids=str)
@pytest.mark.parametrize("scores", [False, True])
def test_twin(cls, arguments, scores):
    twin = getattr(keras.layers, cls.__name__)
    call = {"return_attention_scores": scores, "use_causal_mask": not scores}
    check_twin(cls, twin, arguments, inputs("float32"), **call)


@pytest.mark.parametrize("cls", [Attention, AdditiveAttention])
def test_signature(cls):
    check_signature(cls, getattr(keras.layers, cls.__name__))


@pytest.mark.parametrize("queries", [None, 2])
def test_sums_of_tanh(queries):
    x = [draw(2, 1, 5, 3), draw(2, 1, 4, 3, seed=1), draw(3, seed=2)]
    expected = (x[2] * np.tanh(x[0][:, :, :, None] + x[1][:, :, None])).sum(-1)
    z = additive_scores(*map(tf.constant, x), queries=queries)
    assert_near("z", z, expected, 1e-12)
    check_backward(lambda x: additive_scores(*x, queries=queries), x)


@pytest.mark.parametrize(("cls", "arguments"), CASES[:1] + CASES[2:4], ids=str)
def test_masks(cls, arguments):
    """As Keras; and what is masked has no influence, whatever it holds."""
    layer, twin = (c(**arguments) for c in (cls, getattr(keras.layers, cls.__name__)))
    q, v, _ = inputs("float32")
    v = draw(2, 5, 3, dtype="float32")
    layer([q, v]), twin([q, v])
    twin.set_weights(layer.get_weights())
    mask = [np.array([[1, 1, 0, 1]] * 2, bool), np.array([[1, 0, 1, 1, 0]] * 2, bool)]

    def run(each, q, v):
        points = [tf.constant(q), tf.constant(v)]
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = each(points, mask=[tf.constant(m) for m in mask])
        weights = [w.value for w in each.trainable_variables]
        return [y, *tape.gradient(y, points + weights, tf.sin(y))]

    expected = run(twin, q, v)
    for value in (0.5, np.nan):
        q[~mask[0]], v[~mask[1]] = value, value
        for a, b in zip(run(layer, q, v), expected, strict=True):
            assert_near("y or a gradient", a, b, 1e-5)


def test_dropout_is_of_the_weights_returned():
    layer = Attention(dropout=0.5, seed=1)
    q, v, _ = inputs("float32")
    v = draw(2, 5, 3, dtype="float32")
    y, p = layer([q, v], training=True, return_attention_scores=True)
    assert_near("y", y, tf.matmul(p, v))
    assert 0.2 < np.mean(np.equal(p, 0)) < 0.8
    assert np.abs(layer([q, v], training=True) - layer([q, v])).max() > 0.01


def test_any_number_of_leading_axes():
    x = draw(2, 3, 4, 5, dtype="float32")
    y, p = Attention()([x, x], return_attention_scores=True)
    expected, weights = keras.layers.Attention()([x, x], return_attention_scores=True)
    assert_near("y", y, expected)
    assert_near("p", p, weights)
