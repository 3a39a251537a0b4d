"""Segments: gathers, sums, means, maxima and softmaxes are what loops say, and so are gradients."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.graph import segments

RNG = np.random.default_rng(0)
IDS = np.array([2, 0, -1, 2, 4, 0, 2])  # 1 and 3 are empty, one is padding
SEGMENTS = 5
EDGES = np.array([[0, 1], [1, 0], [2, 2], [3, 1], [3, 1], [-1, -1], [2, 0]])


def by_loop(reduce, x, empty=0.0):
    rows = [x[n == IDS] for n in range(SEGMENTS)]
    return np.stack([reduce(r) if len(r) else np.full(x.shape[1:], empty) for r in rows])


def softmax_by_loop(x):
    y = np.zeros_like(x)
    for n in range(SEGMENTS):
        e = np.exp(x[n == IDS] - x[n == IDS].max(0, initial=-np.inf))
        y[n == IDS] = e / e.sum(0)
    return y


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3)], ids=str)
@pytest.mark.parametrize("kind", ["sum", "mean", "max"])
def test_reductions(kind, shape):
    x = RNG.standard_normal(shape)
    function = getattr(segments, f"segment_{kind}")
    y = function(tf.constant(x), tf.constant(IDS), num_segments=SEGMENTS)
    assert_near(kind, y, by_loop(lambda r: getattr(np, kind)(r, 0), x))
    check_backward(lambda x: function(x, tf.constant(IDS), num_segments=SEGMENTS), x)


@pytest.mark.parametrize("shape", [(7,), (7, 3)], ids=str)
def test_softmax(shape):
    x = 3 * RNG.standard_normal(shape)
    x[2] = 1e4  # padding, whose exponential is infinite

    def softmax(x):
        return segments.segment_softmax(x, tf.constant(IDS), num_segments=SEGMENTS)

    assert_near("softmax", softmax(tf.constant(x)), softmax_by_loop(x))
    check_backward(softmax, x)
    assert_near("large", softmax(tf.constant(x + 1e4)), softmax_by_loop(x), 1e-8)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3)], ids=str)
def test_gather(shape):
    x = RNG.standard_normal(shape)
    y = segments.gather(tf.constant(x), tf.constant(IDS))
    expected = np.where((IDS >= 0).reshape(-1, *[1] * (x.ndim - 1)), x[IDS], 0)
    assert_near("gather", y, expected, 0)
    check_backward(lambda x: segments.gather(x, tf.constant(IDS)), x)


@pytest.mark.parametrize("heads", [(), (2,)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", [None, 3, 6])
def test_propagate(heads, weighted, targets):
    x = RNG.standard_normal((4, *heads, 3))
    weights = RNG.standard_normal((7, *heads)) if weighted else None
    expected = np.zeros((targets or 4, *heads, 3))
    for e, (s, t) in enumerate(EDGES):
        if s >= 0:
            expected[t] += x[s] * (1 if weights is None else weights[e][..., None])

    def propagate(inputs):
        x, *w = inputs
        return segments.propagate(x, tf.constant(EDGES), *(w or [None]), num_targets=targets)

    inputs = [x, weights] if weighted else [x]
    assert_near("propagate", propagate([tf.constant(a) for a in inputs]), expected)
    check_backward(propagate, inputs)


@pytest.mark.parametrize("heads", [(), (2,)], ids=str)
def test_edge_dot(heads):
    x, z = RNG.standard_normal((4, *heads, 3)), RNG.standard_normal((3, *heads, 3))
    y = segments.edge_dot(tf.constant(x), tf.constant(z), tf.constant(EDGES))
    expected = np.stack([(x[s] * z[t]).sum(-1) if s >= 0 else np.zeros(heads) for s, t in EDGES])
    assert_near("edge_dot", y, expected)
    check_backward(lambda a: segments.edge_dot(*a, tf.constant(EDGES)), [x, z])


def test_propagate_max():
    x = RNG.standard_normal((4, 3))

    def largest(x):
        return segments.propagate_max(x, tf.constant(EDGES))

    expected = np.stack([np.maximum(x[1], x[2]), np.maximum(x[0], x[3]), x[2], np.zeros(3)])
    assert_near("max", largest(tf.constant(x)), expected, 0)
    check_backward(largest, x)


def test_equal_maxima_share_the_gradient():
    x = tf.constant([1.0, 3.0, 3.0, 3.0, -2.0])
    ids = tf.constant([0, 0, 0, 0, 1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = segments.segment_max(x, ids, num_segments=3)
    assert y.numpy().tolist() == [3, -2, 0]
    slopes = tape.gradient(y, x, tf.constant([6.0, 5.0, 4.0]))
    assert slopes.numpy().tolist() == [0, 2, 2, 2, 5]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = segments.propagate_max(x, tf.constant([[1, 0], [2, 0], [0, 0], [4, 3]]))
    slopes = tape.gradient(y, x, tf.constant([6.0, 1.0, 1.0, 5.0, 1.0]))
    assert slopes.numpy().tolist() == [0, 3, 3, 0, 5]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_long_sums(dtype):
    """Forward and backward, 3000 numbers add up as they should."""
    ones, ids = tf.ones((3000, 2), dtype), tf.zeros(3000, tf.int32)
    exact = tf.cast(3000.0, dtype)

    def same(y):
        return y.dtype == exact.dtype and bool(tf.reduce_all(y == exact))

    assert same(segments.segment_sum(ones, ids, num_segments=1))
    star = tf.stack([tf.range(3000), ids], 1)
    with tf.GradientTape() as tape:
        x = tf.ones((1, 2), dtype)
        tape.watch(x)
        y = segments.gather(x, ids)
    assert same(tape.gradient(y, x))
    for weights in (None, tf.ones(3000, dtype)):
        assert same(segments.propagate(ones, star, weights, num_targets=1))
    mean = segments.segment_mean(100 * ones, ids, num_segments=1)  # the sum overflows float16
    assert mean.numpy().tolist() == [[100, 100]]
    p = segments.segment_softmax(ones, ids, num_segments=1)
    assert_near("softmax", p, np.full((3000, 2), 1 / 3000), 1e-5)


@pytest.mark.parametrize("name", ["segment_sum", "segment_mean", "segment_max", "segment_softmax"])
@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_at_all(name, compiled):
    function = tf.function(getattr(segments, name), jit_compile=compiled)
    for size in (0, 3):
        y = function(tf.zeros((0, 2)), tf.zeros(0, tf.int32), num_segments=size)
        assert np.asarray(y).sum() == 0


@pytest.mark.parametrize("name", ["segment_sum", "segment_mean", "segment_max", "segment_softmax"])
def test_compiled(name):
    function = getattr(segments, name)
    x = tf.constant(RNG.standard_normal((7, 3)), tf.float32)

    def value(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, tf.constant(IDS), num_segments=SEGMENTS)
        return y, tape.gradient(y, x, tf.sin(y))

    for a, b in zip(tf.function(value, jit_compile=True)(x), value(x), strict=True):
        assert_near(name, a, b, 1e-6)
