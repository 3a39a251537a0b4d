"""Segments: sums, means, maxima and softmaxes over the edges that point at the same node.

Edge e runs from source s_e to target t_e. Rows x_e belong to segment i_e (its id); ids need not be
sorted. A negative index marks padding: it is gathered as zero and is not summed.

    gather       y_e = x[i_e]                       dx_n = Σ_{i_e = n} dy_e
    segment_sum  y_n = Σ_{i_e = n} x_e              dx_e = dy[i_e]
    mean         y_n = 1/c_n Σ_{i_e = n} x_e        dx_e = dy[i_e] / c[i_e]
    max          y_n = max_{i_e = n} x_e            dx_e = dy[i_e] / (number of maxima), at one
    softmax      y_e = exp x_e / Σ_{i_f = i_e} exp x_f
                                                    dx_e = y_e (dy_e - Σ_{i_f = i_e} y_f dy_f)
    propagate    y_n = Σ_{t_e = n} w_e x[s_e]       dx_n = Σ_{s_e = n} w_e dy[t_e]
                                                    dw_e = <x[s_e], dy[t_e]>
    edge_dot     y_e = <x[s_e], z[t_e]>             dx_n = Σ_{s_e = n} dy_e z[t_e]
                                                    dz_n = Σ_{t_e = n} dy_e x[s_e]

Gathering and summing are each other's derivative, and so are `propagate` (along the reversed edges)
and `edge_dot`: first and second derivatives stay inside this file, and `propagate` keeps nothing of
size (E, F) for them. The sum, mean and maximum over no edges are 0. Equal maxima share the
gradient evenly.

Sums run in float32 in half precision (in bfloat16, 3000 ones add up to 256), in float64 for
float64. `unsorted_segment_*` is the only form that XLA compiles. NaN and infinities show in every
segment that they are in and in no other; what padding holds does not show.
"""

import tensorflow as tf

from custom_layers.gradients import wide, with_backward


def rows_of(x, ids):
    """x[ids], with row 0 for padding, for what is masked or dropped afterwards."""
    return tf.gather(x, tf.maximum(ids, 0))


def per_row(values, like):
    """values (E, ...) with as many axes as `like` (E, ..., F), to be broadcast to it."""
    for _ in range(like.shape.rank - values.shape.rank):
        values = tf.expand_dims(values, -1)  # LiteRT has it, and no index with an ellipsis
    return values


def zero_padding(y, ids):
    """y (E, ...), 0 where the id is negative."""
    return tf.where(per_row(ids >= 0, y), y, tf.zeros((), y.dtype))


def gather_forward(x, ids):
    """x (N, ...), ids (E,) -> y (E, ...)."""
    return zero_padding(rows_of(x, ids), ids), (x, ids)


def gather_backward(dy, cache):
    """dx_n = Σ_{i_e = n} dy_e."""
    x, ids = cache
    return segment_sum(dy, ids, num_segments=tf.shape(x)[0]), None


gather = with_backward(gather_forward, gather_backward)


def segment_sum_forward(x, ids, num_segments):
    """x (E, ...), ids (E,) -> y (num_segments, ...)."""
    return tf.cast(tf.math.unsorted_segment_sum(wide(x), ids, num_segments), x.dtype), ids


def segment_sum_backward(dy, ids, num_segments):
    """dx_e = dy[i_e]."""
    return gather(dy, ids), None


segment_sum = with_backward(segment_sum_forward, segment_sum_backward)


def counts(ids, num_segments, dtype):
    """The number of rows of each segment, at least 1."""
    return tf.maximum(tf.math.unsorted_segment_sum(tf.ones_like(ids, dtype), ids, num_segments), 1)


def segment_mean_forward(x, ids, num_segments):
    """x (E, ...), ids (E,) -> y (num_segments, ...)."""
    total = tf.math.unsorted_segment_sum(wide(x), ids, num_segments)
    count = counts(ids, num_segments, total.dtype)
    return tf.cast(total / per_row(count, total), x.dtype), (ids, count)


def segment_mean_backward(dy, cache, num_segments):
    """dx_e = dy[i_e] / c[i_e]."""
    ids, count = cache
    return gather(tf.cast(wide(dy) / per_row(count, dy), dy.dtype), ids), None


segment_mean = with_backward(segment_mean_forward, segment_mean_backward)


def maximum_of(x, rows, ids, num_segments):
    """The maxima (num_segments, ...) of rows(x) (E, ...), 0 where a segment is empty.

    TensorFlow's kernel starts from the lowest finite number, which hides -inf, and XLA's skips
    NaN. So where x is not finite, each segment is examined again.
    """
    y = tf.math.unsorted_segment_max(rows(x), ids, num_segments)
    empty = tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, num_segments) == 0
    y = tf.where(per_row(empty, y), tf.zeros((), y.dtype), y)

    def look():
        zero = tf.zeros((), x.dtype)
        kind = tf.where(x == x, tf.cast(x >= x.dtype.min, x.dtype), 2 + zero)  # 2 NaN, 0 -inf
        largest = tf.math.unsorted_segment_max(rows(kind), ids, num_segments)
        others = rows(tf.where(tf.math.is_finite(x), zero, x))
        total = tf.math.unsorted_segment_sum(others, ids, num_segments)  # NaN, or that -inf
        return tf.where((largest == 1) | per_row(empty, y), y, total)

    return tf.cond(tf.reduce_all(tf.math.is_finite(x)), lambda: y, look)


def share_of_maximum(x, y, dy, ids):
    """dy[ids] / (number of maxima) at the maxima x (E, ...) of y (num_segments, ...), else 0."""
    zero, smaller = tf.zeros((), wide(x).dtype), x < rows_of(y, ids)  # none beside a NaN
    ties = tf.math.unsorted_segment_sum(tf.where(smaller, zero, 1 + zero), ids, tf.shape(y)[0])
    share = tf.cast(wide(dy) / tf.maximum(ties, 1), dy.dtype)
    share = tf.ensure_shape(share, y.shape)  # a dy that comes through tf.cond has no known rank
    return tf.where(smaller, tf.zeros((), dy.dtype), gather(share, ids))


def segment_max_forward(x, ids, num_segments):
    """x (E, ...), ids (E,) -> y (num_segments, ...)."""
    y = maximum_of(x, lambda x: x, ids, num_segments)
    return y, (x, y, ids)


def segment_max_backward(dy, cache, num_segments):
    """dx_e = dy[i_e] / (number of maxima) at a maximum, else 0."""
    x, y, ids = cache
    return share_of_maximum(x, y, dy, ids), None


segment_max = with_backward(segment_max_forward, segment_max_backward)


def segment_softmax_forward(x, ids, num_segments):
    """x (E, ...), ids (E,) -> y (E, ...), positive and adding up to 1 in each segment."""
    largest = tf.math.unsorted_segment_max(wide(x), ids, num_segments)
    e = tf.exp(zero_padding(wide(x) - rows_of(largest, ids), ids))  # at most 1
    total = tf.math.unsorted_segment_sum(e, ids, num_segments)
    y = tf.cast(zero_padding(e / rows_of(total, ids), ids), x.dtype)
    return y, (y, ids)


def segment_softmax_backward(dy, cache, num_segments):
    """dx_e = y_e (dy_e - Σ_{i_f = i_e} y_f dy_f)."""
    y, ids = cache
    wide_y, wide_dy = wide(y), wide(dy)  # with 50,000 rows, y dy is too small for float16
    mean = gather(segment_sum(wide_y * wide_dy, ids, num_segments=num_segments), ids)
    return tf.cast(wide_y * (wide_dy - mean), y.dtype), None


segment_softmax = with_backward(segment_softmax_forward, segment_softmax_backward)


def propagate_forward(x, edges, weights, num_targets=None):
    """x (N, ..., F), edges (E, 2), weights (E, ...) or None -> y (num_targets, ..., F).

    The axes between are heads, each with its own weights. `num_targets` is N if None.
    """
    messages = rows_of(wide(x), edges[:, 0])
    if weights is not None:
        messages *= tf.expand_dims(wide(weights), -1)
    targets = tf.shape(x)[0] if num_targets is None else num_targets
    y = tf.math.unsorted_segment_sum(messages, edges[:, 1], targets)
    return tf.cast(y, x.dtype), (x, edges, weights)


def propagate_backward(dy, cache, num_targets=None):
    """dx_n = Σ_{s_e = n} w_e dy[t_e] and dw_e = <x[s_e], dy[t_e]>."""
    x, edges, weights = cache
    dx = propagate(dy, edges[:, ::-1], weights, num_targets=tf.shape(x)[0])
    dweights = None if weights is None else tf.cast(edge_dot(x, dy, edges), weights.dtype)
    return dx, None, dweights


propagate = with_backward(propagate_forward, propagate_backward)


def edge_dot_forward(x, z, edges):
    """x (N, ..., F), z (M, ..., F), edges (E, 2) from x to z -> y (E, ...)."""
    products = rows_of(wide(x), edges[:, 0]) * rows_of(wide(z), edges[:, 1])
    y = zero_padding(tf.reduce_sum(products, -1), edges[:, 1])
    return tf.cast(y, x.dtype), (x, z, edges)


def edge_dot_backward(dy, cache):
    """dx_n = Σ_{s_e = n} dy_e z[t_e] and dz_n = Σ_{t_e = n} dy_e x[s_e]."""
    x, z, edges = cache
    dx = propagate(z, edges[:, ::-1], dy, num_targets=tf.shape(x)[0])
    dz = propagate(x, edges, dy, num_targets=tf.shape(z)[0])
    return dx, dz, None


edge_dot = with_backward(edge_dot_forward, edge_dot_backward)


def propagate_max_forward(x, edges):
    """x (N, ...), edges (E, 2) -> y (N, ...), y_n = max_{t_e = n} x[s_e]."""
    y = maximum_of(x, lambda x: rows_of(x, edges[:, 0]), edges[:, 1], tf.shape(x)[0])
    return y, (x, y, edges)


def propagate_max_backward(dy, cache):
    """dx_n = Σ_{s_e = n} of the gradient that `segment_max` gives edge e."""
    x, y, edges = cache
    sources, targets = edges[:, 0], edges[:, 1]
    share = share_of_maximum(rows_of(x, sources), y, dy, targets)
    return segment_sum(share, sources, num_segments=tf.shape(x)[0]), None


propagate_max = with_backward(propagate_max_forward, propagate_max_backward)
