"""channels: tensors seen as (P, C, Q), sums by channel, scale and shift with its backward."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.gradients import wide
from custom_layers.normalization.channels import channel_sum, fold, fold_mask, scale_shift

SHAPES = [(2, 3), (0, 3), (1, 1), (2, 3, 5), (2, 3, 5, 2), (2, 0, 3), (7,)]


def draw(*shape):
    return tf.constant(np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fold_and_sum(shape):
    """On each axis, with all sizes known and none but that of the channels."""
    x = draw(*shape)
    for axis in range(-len(shape), len(shape)):
        unknown = [size if i == axis % len(shape) else None for i, size in enumerate(shape)]
        specification = [tf.TensorSpec(unknown, x.dtype)]
        for compiled in (False, True):
            run = tf.function(
                lambda x, axis=axis: channel_sum(fold(x, axis)),
                input_signature=specification,
                jit_compile=compiled,
            )
            rest = tuple(i for i in range(len(shape)) if i != axis % len(shape))
            expected = np.sum(x, rest)[:, np.newaxis]
            assert_near("sum", run(x), expected)
        assert_near("sum", channel_sum(fold(x, axis)), expected)


def test_static_shape_survives():
    seen = []

    @tf.function(input_signature=[tf.TensorSpec((None, 3, 4, 5), tf.float32)])
    def run(x):
        seen.extend(fold(x, axis).shape.as_list() for axis in (-1, 1))

    run(tf.zeros((2, 3, 4, 5)))
    assert seen == [[None, 5, 1], [None, 3, 20]]


@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_mask(axis):
    x = draw(2, 3, 5)
    mask = np.array([[True, False, True], [True, False, False]])
    rest = tuple(i for i in range(3) if i != axis % 3)
    expected = np.sum(np.where(mask[..., None], x, 0), rest)[:, np.newaxis]
    assert_near("sum", channel_sum(fold(x, axis), fold_mask(mask, x, axis)), expected)
    numbers = tf.constant(mask, "float32")  # Keras's masks may be numbers
    assert_near("sum", channel_sum(fold(x, axis), fold_mask(numbers, x, axis)), expected)
    for wrong in (mask[0], mask[..., None]):
        with pytest.raises(ValueError, match="mask provided should be one dimension less than"):
            fold_mask(wrong, x, axis)


def test_what_a_mask_hides_may_be_anything():
    x = tf.constant([[1.0, np.nan], [2.0, np.inf]])[:, :, None]
    mask = tf.constant([[True, False], [True, False]])[:, :, None]
    assert_near("sum", channel_sum(x, mask), [[3.0], [0.0]])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(4, 3, 5), (1, 1, 1), (0, 3, 1), (5, 2)], ids=str)
def test_backward(shape, axis):
    x, m, s, b = draw(*shape), *(draw(shape[axis]) + i for i in range(3))
    check_backward(lambda t: scale_shift(*t, axis=axis), [x, m, s, b])
    last = np.moveaxis(x, axis, -1)  # where NumPy broadcasts
    assert_near("y", scale_shift(x, m, s, b, axis=axis), np.moveaxis((last - m) * s + b, -1, axis))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits(dtype):
    x, v = tf.cast(draw(4, 3, 5), dtype), tf.ones((3,))
    with tf.GradientTape() as tape:
        tape.watch([x, v])
        y = scale_shift(x, v, v, v, axis=1)
    dx, dv = tape.gradient(y, [x, v])
    assert [t.dtype.name for t in (y, dx, dv, wide(x))] == [dtype, dtype] + ["float32"] * 2
    assert wide(draw(1)).dtype == tf.float64
