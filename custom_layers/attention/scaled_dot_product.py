"""scaled_dot_product: for each query the mean of the values, weighted by how its key fits.

    z = α q kᵀ           q (B, K, T, D)   k (B, G, S, D)   z (B, K, T, S)   K heads, α the `scale`
    z = c tanh(z / c)    with a soft cap c
    z = z + b            b the `bias`, of any shape that broadcasts to z
    p = exp(z - ℓ)       ℓ = log Σ_s exp z, over the keys that the query sees           ℓ (B, K, T)
    y = (p ∘ m) v        v (B, G, S, E)   y (B, K, T, E)    m the mask of dropout, 0 or 1 / (1 - r)

K is a multiple of G: each K / G heads of queries in a row share a head of keys and values. A query
that sees no key has p = 0 and y = 0 (in Keras, the mean of all values).

Backward, given dy = dL/dy, and dp₊ = dL/dp where p is returned too:

    dv = (p ∘ m)ᵀ dy     dp = m ∘ (dy vᵀ) + dp₊     D = Σ_s dp p = Σ_e dy y + Σ_s dp₊ p   (B, K, T)
    dz = p ∘ (dp - D)    db = dz
    dz = dz ∘ (1 - tanh²(α q kᵀ / c))               with a soft cap
    dq = α dz k          dk = α dzᵀ q               dv and dk summed over the heads that share them

Neither z nor p is kept: of each row only y and the one number ℓ are, and the backward makes p
again, p = exp(z - ℓ). Both go through the rows in blocks, one after the other, so that never more
than one block of z is there: memory grows with T and with S, not with their product. With `causal`
query t sees the keys s ≤ t, with a `window` w those with |t - s| < w; keys that no row of a block
sees do not enter its products. m is made of the seed and the position (dropout.py: a row for each
query of each head, a column for each key), so it is the same whatever the blocks are.

What a mask hides from all queries (its T is of size 1) has no influence, whatever k and v hold.
Elsewhere a hidden NaN or infinity of v does show in the rows of the blocks that compute with it,
since 0 times NaN is NaN.

Vaswani et al., Attention is all you need, NeurIPS 2017. Rabe & Staats, Self-attention does not need
O(n²) memory, arXiv:2112.05682. Dao et al., FlashAttention, NeurIPS 2022. Ainslie et al., GQA,
EMNLP 2023 (G < K). Gemma Team, Gemma 2, arXiv:2408.00118 (the soft cap).
"""

import math
import typing

import tensorflow as tf

from custom_layers.gradients import wide, with_backward
from custom_layers.regularization.dropout import random_table, threshold

ELEMENTS = 2**21  # of z in a block: what fits into the caches of a processor
LEAST_QUERIES = 32  # of a block, for products of fewer rows are slow
MOST_BLOCKS = 128  # each is a part of the graph
UNKNOWN_BLOCKS = 8  # where T or S is not known before the graph runs


class Block(typing.NamedTuple):
    """Some rows, and the keys that one of them may see."""

    rows: slice
    keys: slice


def sizes(x):
    """The shape of a tensor as a list: integers, and scalar tensors where it is not known."""
    dynamic = None if x.shape.is_fully_defined() else tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]


def blocks_of(q, k, *, share=1, causal=False, window=None, queries=None, each=1):
    """The blocks of q (B, G, N, D), N = T share, and k (B, G, S, D).

    queries: how many t a block has; None: as many as `ELEMENTS` allows, with `each` for each z.
    """
    (*heads, rows, _), keys = sizes(q), sizes(k)[2]
    known = isinstance(rows, int) and isinstance(keys, int)
    length = rows // share
    if not known:
        count = UNKNOWN_BLOCKS
    elif queries:
        count = -(-length // queries)
    else:
        elements = each * math.prod(n for n in (*heads, rows, keys) if isinstance(n, int))
        count = min(-(-elements // ELEMENTS), -(-length // LEAST_QUERIES), MOST_BLOCKS)
    count = max(count, 1)
    lesser, greater = (min, max) if known else (tf.minimum, tf.maximum)
    step = (length + count - 1) // count
    for i in range(count):
        first, last = lesser(i * step, length), lesser((i + 1) * step, length)
        low, high = 0, keys
        if causal:
            high = lesser(last, keys)
        if window is not None:
            high = lesser(high, last - 1 + window)
            low = lesser(greater(first - window + 1, 0), high)
        yield Block(slice(first * share, last * share), slice(low, high))


def rows_of(x, block):
    """The rows of a block of x (B, G, N, ...), or x where it has one for all."""
    return x if x.shape[2] == 1 else x[:, :, block.rows]


def part_of(x, block):
    """The rows and keys of a block of x (B, G, N, S), or x where it has one for all."""
    x = rows_of(x, block)
    return x if x.shape[3] == 1 else x[..., block.keys]


def widened(x, block, keys, axis):
    """x, which has a block's keys along an axis, with all the keys there: 0 for the others."""
    low, high = block.keys.start, block.keys.stop
    if isinstance(high, int) and (low, high) == (0, keys):
        return x
    ends = [(0, 0)] * x.shape.rank
    ends[axis] = (low, keys - high)
    return tf.pad(x, ends)


def scores(q, k, mask, bias, block, *, share, causal, window, cap):
    """z of a block, -∞ where a key is hidden, and tanh(q kᵀ / c) or None; q includes α."""
    z, bent = tf.matmul(q, k[:, :, block.keys], transpose_b=True), None
    if cap is not None:
        bent = tf.tanh(z / tf.constant(cap, z.dtype))
        z = bent * tf.constant(cap, z.dtype)
    if bias is not None:
        z += part_of(bias, block)
    seen = [] if mask is None else [part_of(mask, block)]
    if causal or window is not None:
        t = tf.range(block.rows.start, block.rows.stop)[:, tf.newaxis] // share
        s = tf.range(block.keys.start, block.keys.stop)
        if causal:
            seen.append(s <= t)
        if window is not None:
            seen.append(tf.abs(t - s) < window)
    for each in seen:
        z = tf.where(each, z, tf.constant(float("-inf"), z.dtype))
    return z, bent


def words_of(q, k, seed):
    """The words of dropout: a, b for each row (B, G, N, 1), c, d for each key (S,)."""
    *shape, _ = sizes(q)
    a, b, c, d = random_table(seed, math.prod(shape), sizes(k)[2])
    return tf.reshape(a, (*shape, 1)), tf.reshape(b, (*shape, 1)), c, d


def dropped(x, words, block, rate):
    """x ∘ m for x (B, G, n, s), the entries of a block."""
    if rate == 0:
        return x
    a, b = (word[:, :, block.rows] for word in words[:2])
    c, d = (word[block.keys] for word in words[2:])
    lives = (a + c) * (b + d) >= threshold(rate)
    factor = 1 / (1 - rate) if rate < 1 else 0.0
    return tf.where(lives, x * tf.constant(factor, x.dtype), tf.zeros((), x.dtype))


def attend_forward(q, k, v, mask, bias, seed, *, scale, cap, rate, queries, with_p, **limits):
    """q (B, G, N, D), N = T share, k (B, G, S, D), v (B, G, S, E) -> y (B, G, N, E).

    Row t share + i is that of query t in the i-th of the heads that share k and v. mask and bias
    (B, G, N, S), of sizes 1 where they have one for all. `with_p`: (y, p). limits: share, causal,
    window.
    """
    words = words_of(q, k, seed) if rate else None
    results, before = [], []
    for block in blocks_of(q, k, queries=queries, **limits):
        with tf.control_dependencies(before):  # one block after the other
            part = q[:, :, block.rows] * tf.constant(scale, q.dtype)
            z, _ = scores(part, k, mask, bias, block, cap=cap, **limits)
            largest = tf.reduce_max(z, -1, keepdims=True)
            unseen = tf.equal(largest, tf.constant(float("-inf"), z.dtype))
            largest = tf.where(unseen, tf.zeros((), z.dtype), largest)
            p = tf.exp(z - largest)
            total = tf.reduce_sum(p, -1, keepdims=True)
            total = tf.where(unseen, tf.ones((), z.dtype), total)
            y = tf.matmul(dropped(p, words, block, rate), v[:, :, block.keys]) / total
            p = widened(p / total, block, sizes(k)[2], 3) if with_p else None
        results.append((y, largest + tf.math.log(total), p))
        before = [y]
    y, log_total = (tf.concat([result[i] for result in results], 2) for i in (0, 1))
    cache = (q, k, v, mask, bias, seed, y, log_total)
    return ((y, tf.concat([p for *_, p in results], 2)) if with_p else y), cache


def attend_backward(dy, cache, *, scale, cap, rate, queries, with_p, **limits):
    """dy (B, G, N, E), or (dy, dp₊) -> dq, dk, dv, None, dbias, None."""
    q, k, v, mask, bias, seed, y, log_total = cache
    words, keys = words_of(q, k, seed) if rate else None, sizes(k)[2]
    dy, given = dy if with_p else (dy, None)
    D = tf.reduce_sum(dy * y, -1, keepdims=True)  # (B, G, N, 1)
    scale = tf.constant(scale, q.dtype)
    dq, dk, dv, db, before = [], tf.zeros_like(k), tf.zeros_like(v), [], []
    for block in blocks_of(q, k, queries=queries, **limits):
        with tf.control_dependencies(before):
            part, dpart, through = (rows_of(x, block) for x in (q, dy, D))
            part *= scale
            z, bent = scores(part, k, mask, bias, block, cap=cap, **limits)
            p = tf.exp(z - rows_of(log_total, block))
            dvb = tf.matmul(dropped(p, words, block, rate), dpart, transpose_a=True)
            dp = tf.matmul(dpart, v[:, :, block.keys], transpose_b=True)
            dp = dropped(dp, words, block, rate)
            if given is not None:
                more = part_of(given, block)
                dp, through = dp + more, through + tf.reduce_sum(more * p, -1, keepdims=True)
            dz = p * (dp - through)
            if bias is not None:
                db.append(bias_part(dz, bias, block, keys))
            if bent is not None:
                dz *= 1 - tf.square(bent)
            dq.append(tf.matmul(dz, k[:, :, block.keys]) * scale)
            dk += widened(tf.matmul(dz, part, transpose_a=True), block, keys, 2)
            dv += widened(dvb, block, keys, 2)
        before = [dq[-1], dk, dv]
    if bias is not None:
        db = tf.add_n(db) if bias.shape[2] == 1 else tf.concat(db, 2)
    return tf.concat(dq, 2), dk, dv, None, db if bias is not None else None, None


def bias_part(dz, bias, block, keys):
    """What a block has of db: dz, summed over the axes along which b has one number for all."""
    shared = [axis for axis, size in enumerate(bias.shape) if size == 1]
    dz = tf.reduce_sum(dz, shared, keepdims=True)
    return dz if 3 in shared else widened(dz, block, keys, 3)


attend = with_backward(attend_forward, attend_backward)


def by_rows(x, share, length):
    """x (B, K, T, S) as the rows of `attend`, (B, G, N, S)."""
    if share == 1 or (x.shape[1] == 1 and x.shape[2] == 1):
        return x
    if x.shape[1] == 1:
        return tf.repeat(x, share, 2)
    B, K, _, S = sizes(x)
    x = tf.broadcast_to(x, (B, K, length, S))
    x = tf.reshape(x, (B, K // share, share, length, S))
    return tf.reshape(tf.transpose(x, (0, 1, 3, 2, 4)), (B, K // share, length * share, S))


def by_heads(x, share, length):
    """The rows of `attend`, x (B, G, N, S), as (B, K, T, S)."""
    if share == 1:
        return x
    B, G, _, S = sizes(x)
    x = tf.transpose(tf.reshape(x, (B, G, length, share, S)), (0, 1, 3, 2, 4))
    return tf.reshape(x, (B, G * share, length, S))


def scaled_dot_product(
    q,
    k,
    v,
    *,
    mask=None,
    bias=None,
    scale=None,
    causal=False,
    window=None,
    soft_cap=None,
    rate=0.0,
    seed=None,
    queries=None,
    return_weights=False,
):
    """The mean of the values for each query: q (B, T, K, D), k (B, S, G, D), v (B, S, G, E).

    Args:
        mask: booleans (B, K, T, S), False where a query does not see a key. Sizes 1 broadcast, and
            must be known to be 1.
        bias: floats of such a shape, added to the scores. It has a gradient.
        scale: α; by default D^(-1/2).
        causal: query t sees the keys s ≤ t alone.
        window: query t sees the keys with |t - s| < window alone.
        soft_cap: c, a bound of the scores before the bias.
        rate: fraction of the weights p that is dropped.
        seed: two integers (2,); needed if `rate` is above 0.
        queries: how many a block has. None: as many as stay in a processor's caches.
        return_weights: whether to return p too, which takes memory that grows with T times S.

    Returns:
        y (B, T, K, E), or (y, p) with p (B, K, T, S), before dropout.
    """
    mask = None if mask is None else tf.convert_to_tensor(mask)
    bias = None if bias is None else tf.convert_to_tensor(bias)
    dtype, share, length = q.dtype, q.shape[2] // k.shape[2], sizes(q)[1]
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    q, k, v = (tf.transpose(wide(x), (0, 2, 1, 3)) for x in (q, k, v))  # heads first
    if mask is not None and mask.shape[2] == 1 and (mask.shape[1] == 1 or share == 1):
        seen = tf.transpose(mask, (0, 1, 3, 2))
        k, v = (tf.where(seen, x, tf.zeros((), x.dtype)) for x in (k, v))
    y = attend(
        by_rows(q, share, length),
        k,
        v,
        None if mask is None else by_rows(mask, share, length),
        None if bias is None else by_rows(tf.cast(bias, q.dtype), share, length),
        seed if rate else None,
        scale=float(scale),
        share=share,
        causal=causal,
        window=window,
        cap=soft_cap,
        rate=rate,
        queries=queries,
        with_p=return_weights,
    )
    y, p = y if return_weights else (y, None)
    y = tf.cast(tf.transpose(by_heads(y, share, length), (0, 2, 1, 3)), dtype)
    return (y, tf.cast(by_heads(p, share, length), dtype)) if return_weights else y
