"""Arithmetic by channel: sums over all places, and one scale and shift for each channel.

    y = (x - m) s + b               x, y (..., C, ...)   m, s, b (C,)

Backward, given dy = dL/dy (sums Σ over every axis but that of the channels):

    db = Σ dy        ds = Σ dy (x - m)        dm = -s Σ dy        dx = dy s

Sums see any tensor as (P, C, Q), with P places before the axis of the channels and Q after it. The
forward leaves x as it is: without a reshape in between, the converters for ONNX and LiteRT put
scale and shift into the weights of the convolution before.
"""

import tensorflow as tf

from custom_layers.base import check_mask
from custom_layers.gradients import wide, with_backward
from custom_layers.private_apis import compiled_by_xla


def fold(x, axis):
    """x of any rank -> (P, C, Q): the axes before `axis`, that one, and those after it."""
    axis %= x.shape.rank
    before, after = x.shape[:axis].num_elements(), x.shape[axis + 1 :].num_elements()
    if before is None and after and x.shape[axis]:
        before = -1
    if before is None:  # -1 would be undetermined
        before = tf.reduce_prod(tf.shape(x)[:axis])
    if after is None:
        after = tf.reduce_prod(tf.shape(x)[axis + 1 :])
    return tf.reshape(x, (before, x.shape[axis], after))


def fold_mask(mask, x, axis):
    """A Keras mask of x (all its axes but the last), or None, as a boolean (P, C, Q)."""
    if mask is None:
        return None
    if len(mask.shape) != len(x.shape) - 1:
        raise ValueError(
            "The mask provided should be one dimension less than the inputs. "
            f"Received: mask.shape={mask.shape}, inputs.shape={x.shape}"
        )
    check_mask(mask, x.shape[:-1], "of the input without its last axis")
    mask = tf.cast(mask, tf.bool)[..., tf.newaxis]
    return fold(tf.broadcast_to(mask, tf.shape(x)), axis)


def channel_sum(x, mask=None):
    """x, mask (P, C, Q) -> (C, 1), the sum over P and Q where the mask is True."""
    if mask is not None:
        x = tf.where(mask, x, tf.zeros_like(x))
    many = x.shape[0] is None or x.shape[0] > 10_000
    if many and x.shape[2] == 1 and compiled_by_xla():
        # XLA on a CPU multiplies many rows with ones three times faster than it sums them; 256 rows
        # half as fast.
        return tf.matmul(x[:, :, 0], tf.ones_like(x[:, :1, 0]), transpose_a=True)
    return tf.reduce_sum(tf.reduce_sum(x, 2, keepdims=True), 0)


def sum_over_replicas(x):
    """The sum of x over the replicas of a tf.distribute strategy."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def along(axis, v, x):
    """v (C,) -> of a shape that broadcasts to x, whose channels are on `axis`."""
    after = x.shape.rank - 1 - axis % x.shape.rank
    return tf.reshape(v, (-1, *after * (1,))) if after else v


def scale_shift_forward(x, m, s, b, *, axis):
    """x (..., C, ...) with the channels on `axis`, m, s, b (C,) -> y, of shape and dtype of x."""
    y = wide(x) * along(axis, s, x) + along(axis, b - m * s, x)
    return tf.cast(y, x.dtype), (x, m, s)


def scale_shift_backward(dy, cache, *, axis):
    """dy (..., C, ...) -> dx, of the shape of x, dm, ds, db (C,)."""
    x, m, s = cache
    dy = wide(dy)
    db = channel_sum(fold(dy, axis))[:, 0]
    ds = channel_sum(fold(dy * (wide(x) - along(axis, m, x)), axis))[:, 0]
    return tf.cast(dy * along(axis, s, x), x.dtype), -s * db, ds, db


scale_shift = with_backward(scale_shift_forward, scale_shift_backward)
