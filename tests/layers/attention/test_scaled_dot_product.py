"""scaled_dot_product: the definition, its derivatives, and that blocks change nothing."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.attention.scaled_dot_product import (
    ELEMENTS,
    attend,
    blocks_of,
    scaled_dot_product,
)
from custom_layers.checks import assert_near, check_backward
from custom_layers.gradients import with_backward

SEED = tf.constant([3, 4])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def some(*shape):
    return np.random.default_rng(1).random(shape) > 0.4


def inputs(groups=4, T=5, S=7):
    """q with 4 heads, k and v with `groups`."""
    return [draw(2, T, 4, 3), draw(2, S, groups, 3, seed=1), draw(2, S, groups, 2, seed=2)]


def definition(q, k, v, mask=True, bias=0.0, scale=None, causal=False, window=99, soft_cap=None):
    """(y, p), one query after the other."""
    (B, T, K, D), (S, G) = q.shape, k.shape[1:3]
    mask, bias = (np.broadcast_to(x, (B, K, T, S)) for x in (mask, bias))
    y, p = np.zeros((B, T, K, v.shape[3])), np.zeros((B, K, T, S))
    for b, h, t in np.ndindex(B, K, T):
        group = h * G // K
        z = k[b, :, group] @ q[b, t, h] * (scale or D**-0.5)
        z = z if soft_cap is None else soft_cap * np.tanh(z / soft_cap)
        s = np.arange(S)
        seen = mask[b, h, t] & (abs(s - t) < window) & ((s <= t) | (not causal))
        e = np.where(seen, np.exp(z + bias[b, h, t]), 0)
        p[b, h, t] = e / e.sum() if seen.any() else 0
        y[b, t, h] = p[b, h, t] @ v[b, :, group]
    return y, p


CASES = {
    "plain": {},
    "scale": {"scale": 0.3},
    "causal": {"causal": True},
    "window": {"window": 2},
    "causal window": {"causal": True, "window": 3},
    "soft cap": {"soft_cap": 0.5},
    "keys": {"mask": some(2, 1, 1, 7)},
    "mask": {"mask": some(2, 1, 5, 7), "causal": True},
    "mask of heads": {"mask": some(1, 4, 5, 7)},
    "mask of keys of heads": {"mask": some(1, 4, 1, 7)},
    "bias": {"bias": draw(2, 4, 5, 7), "soft_cap": 2.0},
    "bias of keys": {"bias": draw(1, 4, 1, 7), "causal": True},
    "bias of queries": {"bias": draw(1, 1, 5, 1)},
}


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("case", CASES)
def test_definition(case, groups):
    x = inputs(groups)
    expected = definition(*x, **CASES[case])
    for queries in (None, 2):
        found = scaled_dot_product(
            *map(tf.constant, x), queries=queries, return_weights=True, **CASES[case]
        )
        for a, b in zip(found, expected, strict=True):
            assert_near(f"{queries} queries in a block", a, b, 1e-12)


@pytest.mark.parametrize(
    ("groups", "options"),
    [
        (2, {"causal": True, "queries": 2}),
        (4, {"mask": some(2, 1, 5, 7), "window": 3, "queries": 2}),
        (2, {"rate": 0.4, "seed": SEED, "return_weights": True, "queries": 3}),
        pytest.param(4, {"soft_cap": 0.5, "rate": 0.4, "seed": SEED}, marks=pytest.mark.long),
        pytest.param(1, {"mask": some(2, 1, 1, 7), "queries": 4}, marks=pytest.mark.long),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)
def test_backward(groups, options):
    check_backward(lambda x: scaled_dot_product(*x, **options), inputs(groups))


@pytest.mark.parametrize(
    "shape",
    [(2, 4, 5, 7), (1, 4, 1, 7)]
    + [pytest.param((1, 1, 5, 1), marks=pytest.mark.long, id="of queries")],
    ids=str,
)
def test_backward_of_the_bias(shape):
    def function(x):
        return scaled_dot_product(*x[:3], bias=x[3], soft_cap=1.0, causal=True, queries=2)

    check_backward(function, [*inputs(2), draw(*shape)])


def slopes(x, **options):
    """y and the gradients of its inputs."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = scaled_dot_product(*x, **options)
    return [y, *tape.gradient(y, x, tf.cos(y))]


@pytest.mark.parametrize("compiled", [False, True])
def test_blocks_and_unknown_sizes_change_nothing(compiled):
    """Dropout neither: its mask is made of the positions."""
    x = [tf.constant(part) for part in inputs(2)]
    options = {"causal": True, "rate": 0.3, "seed": SEED}
    expected = slopes(x, **options)
    for part in slopes(x, queries=2, **options), slopes(x, queries=1, **options):
        for a, b in zip(part, expected, strict=True):
            assert_near("in blocks", a, b, 1e-12)
    signature = [tf.TensorSpec([None, None, *part.shape[2:]], part.dtype) for part in x]
    run = tf.function(
        lambda *x: slopes(list(x), **options), input_signature=signature, jit_compile=compiled
    )
    for a, b in zip(run(*x), expected, strict=True):
        assert_near("of unknown sizes", a, b, 1e-12)


def test_dropout_keeps_the_mean_and_drops_the_rate():
    x = [tf.zeros((1, 100, 4, 1)), tf.zeros((1, 500, 4, 1)), tf.ones((1, 500, 4, 1))]
    y = scaled_dot_product(*x, rate=0.25, seed=SEED)
    assert abs(float(tf.reduce_mean(y)) - 1) < 0.01
    other = scaled_dot_product(*x, rate=0.25, seed=SEED + 1)
    assert np.abs(y - other).max() > 0.01
    assert not np.any(scaled_dot_product(*x, rate=1.0, seed=SEED))


def test_a_query_that_sees_nothing_gives_0():
    x = [tf.constant(part) for part in inputs()]
    mask = np.ones((2, 1, 5, 7), bool)
    mask[1, 0, 3] = False
    y, *gradients = slopes(x, mask=mask)
    assert not np.any(y[1, 3])
    assert not np.any(gradients[0][1, 3])
    assert all(np.isfinite(part).all() for part in gradients)
    none = slopes([x[0], x[1][:, :0], x[2][:, :0]])
    assert not np.any(none[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_hidden_keys_have_no_influence(value):
    q, k, v = inputs()
    mask = np.ones((2, 1, 1, 7), bool)
    mask[:, :, :, 3] = False
    results = []
    for filler in (0.0, value):
        k[:, 3], v[:, 3] = filler, filler
        results.append(slopes([tf.constant(x) for x in (q, k, v)], mask=mask))
    for a, b in zip(*results, strict=True):
        assert_near("y or a gradient", a, b, 1e-12)
        assert np.isfinite(a).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_sum_in_32(dtype):
    """The mean of 3000 ones, each with the same weight."""
    x = [tf.zeros((1, 2, 1, 4), dtype), tf.zeros((1, 3000, 1, 4), dtype)]
    x.append(tf.ones((1, 3000, 1, 4), dtype))
    y, dq, dk, dv = slopes(x)
    assert {part.dtype.name for part in (y, dq, dk, dv)} == {dtype}
    assert_near("y", y, tf.ones((1, 2, 1, 4), dtype), 1e-6)
    assert_near("sum of dv", np.sum(dv[..., 0], dtype="float64"), 2 * np.cos(1), 1e-2)


def test_keys_above_the_diagonal_are_not_computed():
    q = tf.zeros((1, 1, 8, 2))
    causal = [(b.rows, b.keys) for b in blocks_of(q, q, causal=True, queries=4)]
    assert causal == [(slice(0, 4), slice(0, 4)), (slice(4, 8), slice(0, 8))]
    windowed = [b.keys for b in blocks_of(q, q, window=2, queries=4)]
    assert windowed == [slice(0, 5), slice(3, 8)]
    assert [b.keys for b in blocks_of(q, q, causal=True, window=2, queries=4)][1] == slice(3, 8)


@pytest.mark.parametrize("length", [1000, 4000])
def test_a_block_is_small_whatever_the_length(length):
    q = tf.zeros((1, 8, length, 1))
    for block in blocks_of(q, q):
        rows = block.rows.stop - block.rows.start
        assert rows <= 33 or 8 * length * (rows - 1) < ELEMENTS


@pytest.mark.parametrize("part", range(3))
def test_a_broken_backward_is_seen(monkeypatch, part):
    def backward(dy, cache, **options):
        gradients = list(attend.backward(dy, cache, **options))
        gradients[part] *= 1.001
        return gradients

    module = "custom_layers.attention.scaled_dot_product.attend"
    monkeypatch.setattr(module, with_backward(attend.forward, backward))
    with pytest.raises(AssertionError, match="gradient of"):
        check_backward(lambda x: scaled_dot_product(*x), inputs(), second_order=False)
