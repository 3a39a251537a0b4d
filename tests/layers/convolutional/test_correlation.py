"""Correlation: the sum of its definition, term by term, from its three ends."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.convolutional import windows
from custom_layers.convolutional.correlation import (
    correlate,
    correlate_dw,
    correlate_dx,
)

RNG = np.random.default_rng(0)
CASES = [
    # sizes, window, strides, padding, dilation
    ((7,), (3,), (1,), "valid", (1,)),
    ((7,), (3,), (2,), "causal", (1,)),
    ((7,), (2,), (1,), "causal", (3,)),
    ((5,), (3,), (1,), "same", (2,)),
    ((2,), (5,), (3,), "same", (1,)),
    ((5, 7), (2, 3), (1, 1), "same", (1, 1)),
    ((5, 7), (1, 2), (3, 2), "valid", (1, 1)),
    ((5, 7), (3, 2), (1, 1), "valid", (2, 3)),
    ((4, 3), (2, 2), (1, 1), "same", (1, 3)),
    ((3, 4, 5), (2, 3, 1), (1, 2, 1), "same", (1, 1, 1)),
    ((3, 5, 4), (2, 2, 2), (1, 1, 1), "valid", (2, 1, 3)),
    ((3, 2, 4), (2, 3, 2), (1, 1, 1), "same", (1, 2, 1)),
]


def terms(sizes, window, strides, padding, dilation):
    """All (p, t, q) with q = s p + d t - P inside x."""
    axes = list(zip(sizes, window, strides, dilation, strict=True))
    lengths = [windows.output_length(n, k, s, padding, d) for n, k, s, d in axes]
    before = [windows.pads(n, k, s, padding, d)[0] for n, k, s, d in axes]
    for p in itertools.product(*map(range, lengths)):
        for t in itertools.product(*map(range, window)):
            q = tuple(
                s * i + d * j - b
                for i, j, s, d, b in zip(p, t, strides, dilation, before, strict=True)
            )
            if all(0 <= i < n for i, n in zip(q, sizes, strict=True)):
                yield p, t, q


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_three_are_sums_over_the_same_terms(case, batch):
    sizes, window, strides, padding, dilation = case
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    x, kernel = RNG.standard_normal((batch, *sizes, 2)), RNG.standard_normal((*window, 2, 3))
    y = correlate(tf.constant(x), tf.constant(kernel), **options)
    dy = RNG.standard_normal(y.shape)

    sum_y, sum_dx, sum_dw = np.zeros(y.shape), np.zeros(x.shape), np.zeros(kernel.shape)
    for p, t, q in terms(*case):
        sum_y[(slice(None), *p)] += x[(slice(None), *q)] @ kernel[t]
        sum_dx[(slice(None), *q)] += dy[(slice(None), *p)] @ kernel[t].T
        sum_dw[t] += x[(slice(None), *q)].T @ dy[(slice(None), *p)]
    assert_near("y", y, sum_y)
    assert_near("dx", correlate_dx(tf.constant(dy), tf.constant(kernel), sizes, **options), sum_dx)
    assert_near("dW", correlate_dw(tf.constant(x), tf.constant(dy), window, **options), sum_dw)


@pytest.mark.parametrize("case", CASES[-3:] + [((5, 3, 4), (2, 2, 1), (3, 2, 1), "same", (1,) * 3)])
def test_three_dimensions_as_two(case):
    """Compiled for a CPU, the three and their derivatives are those of the kernels."""
    sizes, window, strides, padding, dilation = case
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    x = tf.constant(RNG.standard_normal((2, *sizes, 2)))
    kernel = tf.constant(RNG.standard_normal((*window, 2, 3)))

    def all_three(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = correlate(x, kernel, **options)
            dx = correlate_dx(y, kernel, sizes, **options)
            dw = correlate_dw(x, y, window, **options)
            loss = sum(tf.reduce_sum(tf.sin(t)) for t in (y, dx, dw))
        return y, dx, dw, *tape.gradient(loss, [x, kernel])

    fast = tf.function(all_three, jit_compile=True)(x, kernel)
    for one, other in zip(fast, all_three(x, kernel), strict=True):
        assert_near("one of the three", one, other)


@pytest.mark.parametrize("case", CASES[1::3], ids=str)
def test_each_can_be_differentiated(case):
    sizes, window, strides, padding, dilation = case
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    x, kernel = RNG.standard_normal((2, *sizes, 2)), RNG.standard_normal((*window, 2, 3))
    dy = correlate(tf.constant(x), tf.constant(kernel), **options).numpy()
    check_backward(lambda pair: correlate(*pair, **options), [x, kernel])
    check_backward(lambda pair: correlate_dx(*pair, sizes, **options), [dy, kernel])
    check_backward(lambda pair: correlate_dw(*pair, window, **options), [x, dy])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_sizes_that_only_the_run_knows(case, compiled):
    sizes, window, strides, padding, dilation = case
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    x = RNG.standard_normal((2, *sizes, 2))
    kernel = tf.constant(RNG.standard_normal((*window, 2, 3)))
    unknown = tf.TensorSpec((None, *(None for _ in sizes), 2), tf.float64)

    @tf.function(input_signature=[unknown], jit_compile=compiled)
    def all_three(x):
        y = correlate(x, kernel, **options)
        dx = correlate_dx(y, kernel, windows.sizes_of(x), **options)
        return y, dx, correlate_dw(x, y, window, **options)

    y, dx, dw = all_three(x)
    expected = correlate(tf.constant(x), kernel, **options)
    assert_near("y", y, expected)
    assert_near("dx", dx, correlate_dx(expected, kernel, sizes, **options))
    assert_near("dW", dw, correlate_dw(tf.constant(x), expected, window, **options))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_taps_that_meet_padding_only_have_no_gradient(dtype, rank):
    """TensorFlow's kernels leave them as the memory was: here, full of 3e4."""
    sizes, window, strides = (1,) * rank, (4,) * rank, (2,) * rank
    options = {"strides": strides, "padding": "same", "dilation": (1,) * rank}
    x, dy = tf.ones((2, *sizes, 3), dtype), tf.ones((2, *sizes, 2), dtype)
    expected = np.zeros((*window, 3, 2))
    expected[(1,) * rank] = 2  # of the four taps of an axis, the second one meets x
    for _ in range(20):
        full = [tf.fill(expected.shape, tf.constant(3e4, dtype)) for _ in range(8)]
        del full
        dw = correlate_dw(x, dy, window, **options)
        assert np.array_equal(tf.cast(dw, "float64"), expected)
