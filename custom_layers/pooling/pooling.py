"""MaxPooling and AveragePooling, 1D to 3D: one number for each window and channel.

    maximum     y[p] = max_t x[s p + t - P]                 p: place of y, t: tap of the window
    average     y[p] = (1 / N[p]) Σ_t x[s p + t - P]        N[p]: the taps inside of x

    x (B, n..., C)     y (B, m..., C)     with the strides s and the padding P (windows.py)

Cells outside of x take no part. Backward, given dy = dL/dy:

    maximum     dx[q] = Σ dy[p]             over the windows p whose first maximum is at q
    average     dx[q] = Σ dy[p] / N[p]      over the windows p that hold q

A maximum that occurs twice sends its gradient to the first place, in row order (XLA, in padded and
overlapping windows of more than 32 cells, may choose another one). Which place that is changes with
x at ties only, so the second derivative is ddy[p] = ddx[q], q: the place of the first maximum of p.

In three dimensions both are taken over height and width first, then over the depth: a maximum of
maxima, an average of averages (N is a product). TensorFlow's 3D kernels do not know every dtype.

TensorFlow's maximum passes over NaN and makes -3e38 of an x of nothing else. Here a NaN makes the y
of its window NaN (or inf, where the window holds an inf): the average tells of it. To ask costs one
more pass over x.

LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 1998 (average);
Riesenhuber & Poggio, Hierarchical models of object recognition in cortex, Nature Neuroscience 1999
(maximum).
"""

import functools
import math

import keras
import tensorflow as tf

from custom_layers.base import Layer
from custom_layers.convolutional import windows
from custom_layers.convolutional.windows import at_taps, from_taps
from custom_layers.gradients import with_backward
from custom_layers.private_apis import compiled_by_xla


def _attributes(window, strides, padding):
    return {"ksize": [1, *window, 1], "strides": [1, *strides, 1], "padding": padding.upper()}


def unpool_forward(dy, x, y, **how):
    """Put dy[p] at the first maximum of window p: the backward of the maximum."""
    if x.shape[0] == 0:  # in a graph on a CPU, the kernel would abort the process
        return tf.zeros_like(x), (x, y)
    dx = tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=dy, **_attributes(**how))
    return dx, (x, y)


def unpool_backward(ddx, cache, **how):
    x, y = cache
    ddy, open_ = tf.zeros_like(y), tf.ones_like(y, tf.bool)
    nan = float("nan")  # equal to nothing
    for tap, value in zip(at_taps(x, nan, **how), at_taps(ddx, nan, **how), strict=True):
        first = open_ & (tap == y)
        ddy = tf.where(first, value, ddy)
        open_ = open_ & ~first
    return ddy, tf.zeros_like(x), tf.zeros_like(y)


unpool = with_backward(unpool_forward, unpool_backward)


def _first_maximum(x, **how):
    """The maximum of every window, or its first NaN, and the number of the tap where that is."""
    y, *others = at_taps(x, -float("inf"), **how)
    place = tf.zeros_like(y, tf.uint8)
    for tap, value in enumerate(others, start=1):
        better = (value > y) | (tf.math.is_nan(value) & ~tf.math.is_nan(y))
        y = tf.where(better, value, y)
        place = tf.where(better, tf.constant(tap, tf.uint8), place)
    return y, place


def _remembers(x, window):
    """Whether `maximum` keeps the places of the maxima, as it should under XLA, whose own backward
    takes 20 times as long on a CPU. Else TensorFlow's kernels are the fastest.
    """
    return x.dtype.is_floating and math.prod(window) <= 32 and compiled_by_xla()


def maximum_forward(x, **how):
    """x (B, H, W, C) -> y (B, H', W', C)."""
    if _remembers(x, how["window"]):
        y, place = _first_maximum(x, **how)
        return y, (place, windows.sizes_of(x))
    y = tf.raw_ops.MaxPool(input=x, **_attributes(**how))
    return y, (x, y)


def maximum_backward(dy, cache, **how):
    if isinstance(cache[1], list):
        place, sizes = cache
        taps = range(how["window"][0] * how["window"][1])
        parts = [tf.where(place == tap, dy, tf.zeros_like(dy)) for tap in taps]
        return from_taps(parts, sizes, **how)
    x, y = cache
    return unpool(dy, x, y, **how)


maximum = with_backward(maximum_forward, maximum_backward)


def show_nan_forward(y, x, **how):
    """The maxima y of x (B, n..., C), but NaN where the window of x holds one."""

    def look():
        hidden = tf.math.is_nan(pool(average, x, **how))
        return tf.where(hidden & (y < float("inf")), tf.constant(float("nan"), y.dtype), y)

    # Σ x tells whether to look for NaN at all, for half the price of looking.
    return tf.cond(tf.math.is_nan(tf.reduce_sum(x)), look, lambda: y), None


def show_nan_backward(dy, _, **how):
    return dy, None


show_nan = with_backward(show_nan_forward, show_nan_backward)


def average_forward(x, **how):
    """x (B, H, W, C) -> y (B, H', W', C)."""
    return tf.raw_ops.AvgPool(value=x, **_attributes(**how)), x


def average_backward(dy, x, **how):
    return tf.raw_ops.AvgPoolGrad(orig_input_shape=tf.shape(x), grad=dy, **_attributes(**how))


average = with_backward(average_forward, average_backward)


def pool(reduce, x, window, strides, padding):
    """`maximum` or `average` of x (B, n..., C), with one to three n, -> y (B, m..., C)."""
    if len(window) == 1:
        how = {"window": (*window, 1), "strides": (*strides, 1), "padding": padding}
        return tf.squeeze(reduce(tf.expand_dims(x, 2), **how), 2)
    if len(window) == 2:
        return reduce(x, window=window, strides=strides, padding=padding)
    (depth, height, width), channels = windows.sizes_of(x), x.shape[-1]
    planes = tf.reshape(x, (-1, height, width, channels))
    planes = reduce(planes, window=window[1:], strides=strides[1:], padding=padding)
    height, width = windows.sizes_of(planes)
    columns = tf.reshape(planes, (-1, depth, height * width, channels))
    columns = reduce(columns, window=(window[0], 1), strides=(strides[0], 1), padding=padding)
    return tf.reshape(columns, (-1, windows.sizes_of(columns)[0], height, width, channels))


def pool_maximum(x, **how):
    """Maxima of x (B, n..., C), NaN where the window holds one."""
    y = pool(maximum, x, **how)
    look = x.dtype.is_floating and not _remembers(x, how["window"])
    return show_nan(y, x, **how) if look else y


pool_average = functools.partial(pool, average)


class _Pooling(Layer):
    """Pooling over windows, as in the formula above.

    Input `(B, n..., C)`, output `(B, m..., C)`; for `data_format="channels_first"` the channels
    stand behind the batch. `strides=None` means `pool_size`: windows side by side. Arguments are
    those of Keras's layer.

    Raises:
        ValueError: an argument is of the wrong kind or size; the input is smaller than the window.
    """

    def __init__(
        self, pool_size, strides=None, padding="valid", data_format=None, name=None, **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.pool_size = windows.standardize_tuple(pool_size, self.rank, "pool_size")
        strides = pool_size if strides is None else strides
        self.strides = windows.standardize_tuple(strides, self.rank, "strides")
        self.padding = windows.standardize_padding(padding)
        self.data_format = windows.standardize_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)
        self._build_at_init()

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)  # raises where no window fits
        x = windows.to_channels_last(inputs, self.data_format)
        how = {"strides": self.strides, "padding": self.padding}
        y = type(self).reduce(x, window=self.pool_size, **how)
        return windows.from_channels_last(y, self.data_format)

    def compute_output_shape(self, input_shape):
        return windows.output_shape(
            input_shape, None, self.pool_size, self.strides, self.padding, self.data_format
        )


@keras.saving.register_keras_serializable(package="custom_layers")
class MaxPooling1D(_Pooling):
    __doc__ = _Pooling.__doc__
    rank, reduce = 1, staticmethod(pool_maximum)

    def __init__(
        self, pool_size=2, strides=None, padding="valid", data_format=None, name=None, **kwargs
    ):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@keras.saving.register_keras_serializable(package="custom_layers")
class MaxPooling2D(_Pooling):
    __doc__ = _Pooling.__doc__
    rank, reduce = 2, staticmethod(pool_maximum)

    def __init__(
        self, pool_size=(2, 2), strides=None, padding="valid", data_format=None, name=None, **kwargs
    ):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@keras.saving.register_keras_serializable(package="custom_layers")
class MaxPooling3D(_Pooling):
    __doc__ = _Pooling.__doc__
    rank, reduce = 3, staticmethod(pool_maximum)

    # fmt: off
    def __init__(
        self, pool_size=(2, 2, 2), strides=None, padding="valid", data_format=None, name=None,
        **kwargs
    ):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class AveragePooling1D(_Pooling):
    __doc__ = _Pooling.__doc__
    rank, reduce = 1, staticmethod(pool_average)


@keras.saving.register_keras_serializable(package="custom_layers")
class AveragePooling2D(_Pooling):
    __doc__ = _Pooling.__doc__
    rank, reduce = 2, staticmethod(pool_average)


@keras.saving.register_keras_serializable(package="custom_layers")
class AveragePooling3D(_Pooling):
    __doc__ = _Pooling.__doc__
    rank, reduce = 3, staticmethod(pool_average)
