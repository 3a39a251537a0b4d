"""Correlation: the sum of its definition, term by term, from its three ends."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import custom_layers
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


GROUPED = [
    # sizes, window, strides, padding, dilation, groups, I / groups, O / groups
    ((7,), (3,), (2,), "causal", (1,), 3, 1, 2),
    ((7,), (3,), (1,), "same", (2,), 3, 2, 1),
    ((5, 6), (3, 2), (2, 2), "same", (1, 1), 4, 1, 3),
    ((5, 6), (3, 2), (1, 1), "valid", (1, 2), 4, 3, 1),
    ((5, 6), (3, 2), (2, 1), "same", (1, 1), 4, 1, 2),  # strides that no depthwise kernel takes
    ((5, 6), (3, 2), (1, 1), "valid", (1, 1), 2, 3, 2),  # fewer groups than channels in one
    ((4, 5, 3), (2, 3, 2), (2, 1, 1), "same", (1, 1, 1), 3, 1, 2),
    ((4, 5, 3), (2, 2, 2), (1, 2, 2), "valid", (1, 1, 1), 3, 2, 1),
    ((4, 5, 3), (2, 2, 2), (1, 1, 1), "same", (2, 1, 1), 3, 2, 1),
]


@pytest.mark.parametrize("mode", ["eager", "graph", "xla", "unknown sizes"])
@pytest.mark.parametrize("case", GROUPED, ids=str)
def test_groups_are_correlations_side_by_side(case, mode):
    sizes, window, strides, padding, dilation, groups, i, o = case
    options = {"strides": strides, "padding": padding, "dilation": dilation}
    x = tf.constant(RNG.standard_normal((2, *sizes, groups * i)))
    kernel = tf.constant(RNG.standard_normal((*window, i, groups * o)))

    def three(x, kernel, groups):
        y = correlate(x, kernel, **options, groups=groups)
        dx = correlate_dx(y, kernel, windows.sizes_of(x), **options, groups=groups)
        return y, dx, correlate_dw(x, y, window, **options, groups=groups)

    parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    parts = zip(*(three(part, w, 1) for part, w in parts), strict=True)
    if mode == "unknown sizes":
        unknown = tf.TensorSpec([None] * (len(sizes) + 1) + [groups * i], tf.float64)
        run = tf.function(
            lambda x, kernel: three(x, kernel, groups),
            input_signature=[unknown, tf.TensorSpec(kernel.shape, tf.float64)],
        )
        results = run(x, kernel)
    elif mode == "eager":
        results = three(x, kernel, groups)
    else:
        run = tf.function(lambda x, w: three(x, w, groups), jit_compile=mode == "xla")
        results = run(x, kernel)
    for name, result, part in zip(("y", "dx", "dW"), results, parts, strict=True):
        assert_near(name, result, tf.concat(part, -1))


def test_many_groups_are_few_operations():
    """512 groups of one channel trace no 512 convolutions; one group is not split."""
    for groups, i in ((512, 1), (256, 2), (2, 256), (1, 512)):
        layer = custom_layers.Conv2D(512, 3, groups=groups)
        layer.build((1, 5, 5, 512))
        spec = tf.TensorSpec((1, 5, 5, 512))
        graph = tf.function(layer).get_concrete_function(spec).graph
        types = [op.type for op in graph.get_operations()]
        assert sum("Conv2D" in t or "DepthwiseConv2d" in t for t in types) == min(groups, i)
        assert ("Split" in types) == (groups == 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_50000_ones_in_16_bits(dtype, mode, rank, groups):
    """Each of the three adds up 50,000 ones: over the channels in, out, and over the places."""
    options = {"strides": (1,) * rank, "padding": "same", "dilation": (1,) * rank}
    options["groups"], window = groups, (1,) * rank
    sizes = {1: (50_000,), 2: (250, 200), 3: (50, 50, 20)}[rank]

    def ones(*shape):
        return tf.ones(shape, dtype)

    def three(wide, i_kernel, o_kernel, x, dy):
        y = correlate(wide, i_kernel, **options)
        dx = correlate_dx(wide, o_kernel, (2,) * rank, **options)
        return y, dx, correlate_dw(x, dy, window, **options)

    run = three if mode == "eager" else tf.function(three, jit_compile=mode == "xla")
    results = run(
        ones(1, *(2,) * rank, 50_000 * groups),
        ones(*window, 50_000, groups),
        ones(*window, 1, 50_000 * groups),
        ones(1, *sizes, groups),
        ones(1, *sizes, groups),
    )
    for name, result in zip(("y", "dx", "dW"), results, strict=True):
        assert result.dtype == dtype
        result = np.asarray(result, "float64")
        assert_near(name, result, np.full(result.shape, 50_000.0), 4e-3)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla", "unknown sizes"])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("zero", ["batch", "places", "channels in", "channels out"])
def test_sizes_of_0(rank, zero, groups, dilation, mode):
    options = {"strides": (1,) * rank, "padding": "same", "dilation": (dilation,) * rank}
    options["groups"], window = groups, (2,) * rank
    sizes = (0 if zero == "batch" else 2, *((0 if zero == "places" else 4), 4, 4)[:rank])
    i, o = (0 if zero == f"channels {end}" else groups for end in ("in", "out"))
    x, dy, kernel = (
        tf.zeros((*sizes, i)),
        tf.zeros((*sizes, o)),
        tf.zeros((*window, i // groups, o)),
    )

    def three(x, dy):
        dx = correlate_dx(dy, kernel, windows.sizes_of(x), **options)
        dw = correlate_dw(x, dy, window, **options)
        # Where it does not know that there is nothing, TensorFlow's y may have the shape of x.
        return dx, dw, dy if mode == "unknown sizes" else correlate(x, kernel, **options)

    run = three if mode == "eager" else tf.function(three, jit_compile=mode == "xla")
    if mode == "unknown sizes":
        spec = [tf.TensorSpec([None] * (rank + 1) + [t.shape[-1]]) for t in (x, dy)]
        run = tf.function(three, input_signature=spec)
    for result, like in zip(run(x, dy), (x, kernel, dy), strict=True):
        assert result.shape == like.shape
        assert not np.asarray(result).any()
