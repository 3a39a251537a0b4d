"""Arithmetic by channel: any tensor as x (P, C, Q), with one number for each channel as (C, 1).

P places stand before the axis of the channels and Q after it.

    y = (x - m) s + b               x, y (P, C, Q)   m, s, b (C, 1)

Backward, given dy = dL/dy (sums Σ over P and Q):

    db = Σ dy        ds = Σ dy (x - m)        dm = -s Σ dy        dx = dy s
"""

import tensorflow as tf

from custom_layers.base import check_mask
from custom_layers.gradients import wide, with_backward
from custom_layers.private_apis import compiled_by_xla


def fold(x, axis):
    """x of any rank -> (P, C, Q): the axes before `axis`, that one, and those after it."""
    axis %= x.shape.rank
    before, after = x.shape[:axis].num_elements(), x.shape[axis + 1 :].num_elements()
    if before is None:
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


def scale_shift_forward(x, m, s, b):
    """x (P, C, Q), m, s, b (C, 1) -> y (P, C, Q) of the dtype of x."""
    y = wide(x) * s + (b - m * s)
    return tf.cast(y, x.dtype), (x, m, s)


def scale_shift_backward(dy, cache):
    """dy (P, C, Q) -> dx (P, C, Q), dm, ds, db (C, 1)."""
    x, m, s = cache
    dy = wide(dy)
    db = channel_sum(dy)
    ds = channel_sum(dy * (wide(x) - m))
    return tf.cast(dy * s, x.dtype), -s * db, ds, db


scale_shift = with_backward(scale_shift_forward, scale_shift_backward)
