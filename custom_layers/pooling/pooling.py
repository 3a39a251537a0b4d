"""MaxPooling and AveragePooling, 1D to 3D: one number for each window and channel.

    maximum     y[p] = max_t x[s p + t - P]                 p: place of y, t: tap of the window
    average     y[p] = (1 / N[p]) Σ_t x[s p + t - P]        N[p]: the taps inside x

    x (B, n..., C)     y (B, m..., C)     with the strides s and the padding P (windows.py)

Cells outside x take no part. Backward, given dy = dL/dy:

    maximum     dx[q] = Σ dy[p]             over the windows p whose first maximum is at q
    average     dx[q] = Σ dy[p] / N[p]      over the windows p that hold q

A maximum that occurs twice sends its gradient to the first place, in row order (XLA may choose
another one in windows of more than 32 cells). Which place that is changes with x at ties only, so
the second derivative is ddy[p] = ddx[q], q: the place of the first maximum of p.

In three dimensions both are taken over height and width first, then over the depth: a maximum of
maxima, an average of averages (N is a product). TensorFlow's 3D kernels do not take every dtype.
Sums, of the average and of the gradients of overlapping windows, are taken in float32 at least.

A window that holds NaN has the maximum NaN, and a window of -inf alone has -inf: TensorFlow's
kernel, which passes over both, makes -3e38 of them. To ask for them costs one more pass over x. An
exported model does not ask: there the maximum is that of the format's own kernel, most of which
pass over NaN. ONNX and LiteRT would have an `If` with two more poolings in it, and in int8 it would
stand between two conversions.

LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 1998 (average);
Riesenhuber & Poggio, Hierarchical models of object recognition in cortex, Nature Neuroscience 1999
(maximum).
"""

import math

import keras
import tensorflow as tf

from custom_layers.base import Layer, shape_of
from custom_layers.convolutional import windows
from custom_layers.convolutional.windows import gather_taps, scatter_taps, taps_inside
from custom_layers.gradients import wide, with_backward
from custom_layers.private_apis import being_exported, compiled_by_xla

NOWHERE = 255  # the argmax of a window before its first cell


def _attributes(window, strides, padding):
    return {"ksize": [1, *window, 1], "strides": [1, *strides, 1], "padding": padding.upper()}


def max_unpool_forward(dy, x, y, **options):
    """dy, y (B, H', W', C), x (B, H, W, C) -> dx, with dy[p] at the first maximum of window p."""
    overlap = any(k > s for k, s in zip(options["window"], options["strides"], strict=True))
    names = "orig_input", "orig_output", "grad"
    tensors = {n: wide(t) if overlap else t for n, t in zip(names, (x, y, dy), strict=True)}

    def unpool():
        dx = tf.raw_ops.MaxPoolGrad(**tensors, **_attributes(**options))
        return tf.cast(dx, dy.dtype)

    if x.shape.is_fully_defined():
        return unpool(), (x, y)
    # Of no windows, the kernel may end the process in a graph.
    return tf.cond(tf.size(y) > 0, unpool, lambda: tf.zeros_like(x)), (x, y)


def max_unpool_backward(ddx, cache, **options):
    """ddx (B, H, W, C) -> ddy[p] = ddx at the first maximum of window p."""
    x, y = cache
    ddy, unclaimed = tf.zeros_like(y), tf.ones_like(y, tf.bool)
    taps = gather_taps(x, 0, **options), gather_taps(ddx, 0, **options)
    for x_t, ddx_t, inside in zip(*taps, taps_inside(windows.sizes_of(x), **options), strict=True):
        first = unclaimed & (x_t == y)
        if inside is not None:
            first &= inside
        ddy = tf.where(first, ddx_t, ddy)
        unclaimed &= ~first
    return ddy, tf.zeros_like(x), tf.zeros_like(y)


max_unpool = with_backward(max_unpool_forward, max_unpool_backward)


def _first_maximum(x, **options):
    """The maximum of every window, or its first NaN, and the number of the tap where that is."""
    y, argmax = None, None
    taps = gather_taps(x, 0, **options), taps_inside(windows.sizes_of(x), **options)
    for tap, (x_t, inside) in enumerate(zip(*taps, strict=True)):
        if y is None:
            y, argmax = tf.zeros_like(x_t), tf.fill(tf.shape(x_t), tf.constant(NOWHERE, tf.uint8))
        better = (argmax == NOWHERE) | (x_t > y) | (tf.math.is_nan(x_t) & ~tf.math.is_nan(y))
        if inside is not None:
            better &= inside
        y = tf.where(better, x_t, y)
        argmax = tf.where(better, tf.constant(tap, tf.uint8), argmax)
    return y, argmax


def _keeps_argmax(x, window):
    """Whether `max_pool` keeps the places of the maxima, as it should under XLA, whose own backward
    takes 20 times as long on a CPU. Elsewhere TensorFlow's kernels are the fastest.
    """
    return x.dtype.is_floating and math.prod(window) <= 32 and compiled_by_xla()


def _with_nan(y, x, **options):
    """The maxima y that TensorFlow's kernel makes of x -> y with the NaN and -inf that it hides."""

    def some(condition):
        """Whether the condition holds somewhere in each window."""
        return tf.raw_ops.MaxPool(input=tf.cast(condition, x.dtype), **_attributes(**options)) > 0

    if compiled_by_xla():  # whose maximum hides NaN
        largest = tf.reduce_sum(tf.where(tf.math.is_nan(x), x, tf.zeros((), x.dtype)))
    else:
        largest = tf.reduce_max(x)

    def look():
        # NaN and -inf are those of the data: tf.debugging.enable_check_numerics minds constants.
        low = tf.raw_ops.AvgPool(value=x, **_attributes(**options))
        low = tf.where(some(x >= x.dtype.min), y, low)
        return tf.where(some(tf.math.is_nan(x)), largest, low)

    return tf.cond(tf.math.is_nan(largest) | (tf.reduce_min(y) <= y.dtype.min), look, lambda: y)


def max_pool_forward(x, **options):
    """x (B, H, W, C) -> y (B, H', W', C)."""
    if _keeps_argmax(x, options["window"]):
        y, argmax = _first_maximum(x, **options)
        return y, (argmax, windows.sizes_of(x))
    y = tf.raw_ops.MaxPool(input=x, **_attributes(**options))
    looks = x.dtype.is_floating and not being_exported()
    return _with_nan(y, x, **options) if looks else y, (x, y)


def max_pool_backward(dy, cache, **options):
    """dy (B, H', W', C) -> dx (B, H, W, C)."""
    if isinstance(cache[1], list):
        argmax, sizes = cache
        taps = range(math.prod(options["window"]))
        parts = [tf.where(argmax == tap, wide(dy), tf.zeros_like(wide(dy))) for tap in taps]
        return tf.cast(scatter_taps(parts, sizes, **options), dy.dtype)
    return max_unpool(dy, *cache, **options)


max_pool = with_backward(max_pool_forward, max_pool_backward)


def average_pool_forward(x, **options):
    """x (B, H, W, C) -> y (B, H', W', C)."""
    y = tf.raw_ops.AvgPool(value=wide(x), **_attributes(**options))
    return tf.cast(y, x.dtype), shape_of(x)


def average_pool_backward(dy, shape, **options):
    """dy (B, H', W', C) -> dx (B, H, W, C)."""
    attributes = {"orig_input_shape": shape, **_attributes(**options)}
    return tf.cast(tf.raw_ops.AvgPoolGrad(grad=wide(dy), **attributes), dy.dtype)


average_pool = with_backward(average_pool_forward, average_pool_backward)

POOLS = {"max": max_pool, "average": average_pool}  # by `pool_mode`, as Keras's layers call it


def pool(reduce, x, window, strides, padding):
    """`max_pool` or `average_pool` of x (B, n..., C), with one to three n, -> y (B, m..., C)."""
    if 0 in x.shape:  # not all of TensorFlow's kernels take an x without numbers
        axes = zip(windows.sizes_of(x), window, strides, strict=True)
        sizes = [windows.output_length(n, k, s, padding) for n, k, s in axes]
        return tf.zeros((tf.shape(x)[0], *sizes, shape_of(x)[-1]), x.dtype) + tf.reduce_sum(x)
    if len(window) == 1:
        # The first axis of two, as in convolutions of 1D: between the two, converters drop both.
        options = {"window": (1, *window), "strides": (1, *strides), "padding": padding}
        return tf.squeeze(reduce(tf.expand_dims(x, 1), **options), 1)
    if len(window) == 2:
        return reduce(x, window=window, strides=strides, padding=padding)
    (depth, height, width), channels = windows.sizes_of(x), shape_of(x)[-1]
    planes = tf.reshape(x, (-1, height, width, channels))
    planes = reduce(planes, window=window[1:], strides=strides[1:], padding=padding)
    height, width = windows.sizes_of(planes)
    columns = tf.reshape(planes, (-1, depth, height * width, channels))
    columns = reduce(columns, window=(window[0], 1), strides=(strides[0], 1), padding=padding)
    return tf.reshape(columns, (-1, windows.sizes_of(columns)[0], height, width, channels))


class _Pooling(Layer):
    """The constructor and call of the six: the maximum or average of windows of `rank` axes."""

    def __init__(
        self,
        pool_size: int | tuple,
        strides: int | tuple | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
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
        y = pool(POOLS[self.pool_mode], x, self.pool_size, self.strides, self.padding)
        return windows.from_channels_last(y, self.data_format)

    def compute_output_shape(self, input_shape):
        return windows.output_shape(
            input_shape, None, self.pool_size, self.strides, self.padding, self.data_format
        )


@keras.saving.register_keras_serializable(package="custom_layers")
class MaxPooling1D(_Pooling):
    """The maximum of every window over one axis, such as time, for each channel.

    Input `(B, T, C)`, output `(B, T', C)`; with `data_format="channels_first"`, the
    channels follow the batch. `strides=None` means `pool_size`: adjacent windows.
    A window that holds NaN gives NaN. Arguments are those of `keras.layers.MaxPooling1D`.

    Raises:
        ValueError: an argument is of the wrong kind or size; the input is smaller than the window.
    """

    rank, pool_mode = 1, "max"

    def __init__(
        self,
        pool_size: int | tuple = 2,
        strides: int | tuple | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@keras.saving.register_keras_serializable(package="custom_layers")
class MaxPooling2D(_Pooling):
    """The maximum of every window over height and width, for each channel.

    Input `(B, H, W, C)`, output `(B, H', W', C)`; with `data_format="channels_first"`, the
    channels follow the batch. `strides=None` means `pool_size`: adjacent windows.
    A window that holds NaN gives NaN. Arguments are those of `keras.layers.MaxPooling2D`.

    Raises:
        ValueError: an argument is of the wrong kind or size; the input is smaller than the window.
    """

    rank, pool_mode = 2, "max"

    def __init__(
        self,
        pool_size: int | tuple = (2, 2),
        strides: int | tuple | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@keras.saving.register_keras_serializable(package="custom_layers")
class MaxPooling3D(_Pooling):
    """The maximum of every window over depth, height and width, for each channel.

    Input `(B, D, H, W, C)`, output `(B, D', H', W', C)`; with `data_format="channels_first"`, the
    channels follow the batch. `strides=None` means `pool_size`: adjacent windows.
    A window that holds NaN gives NaN. Arguments are those of `keras.layers.MaxPooling3D`.

    Raises:
        ValueError: an argument is of the wrong kind or size; the input is smaller than the window.
    """

    rank, pool_mode = 3, "max"

    def __init__(
        self,
        pool_size: int | tuple = (2, 2, 2),
        strides: int | tuple | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@keras.saving.register_keras_serializable(package="custom_layers")
class AveragePooling1D(_Pooling):
    """The average of every window over one axis, such as time, for each channel.

    Input `(B, T, C)`, output `(B, T', C)`; with `data_format="channels_first"`, the
    channels follow the batch. `strides=None` means `pool_size`: adjacent windows.
    Cells outside the input do not count. Arguments are those of `keras.layers.AveragePooling1D`.

    Raises:
        ValueError: an argument is of the wrong kind or size; the input is smaller than the window.
    """

    rank, pool_mode = 1, "average"


@keras.saving.register_keras_serializable(package="custom_layers")
class AveragePooling2D(_Pooling):
    """The average of every window over height and width, for each channel.

    Input `(B, H, W, C)`, output `(B, H', W', C)`; with `data_format="channels_first"`, the
    channels follow the batch. `strides=None` means `pool_size`: adjacent windows.
    Cells outside the input do not count. Arguments are those of `keras.layers.AveragePooling2D`.

    Raises:
        ValueError: an argument is of the wrong kind or size; the input is smaller than the window.
    """

    rank, pool_mode = 2, "average"


@keras.saving.register_keras_serializable(package="custom_layers")
class AveragePooling3D(_Pooling):
    """The average of every window over depth, height and width, for each channel.

    Input `(B, D, H, W, C)`, output `(B, D', H', W', C)`; with `data_format="channels_first"`, the
    channels follow the batch. `strides=None` means `pool_size`: adjacent windows.
    Cells outside the input do not count. Arguments are those of `keras.layers.AveragePooling3D`.

    Raises:
        ValueError: an argument is of the wrong kind or size; the input is smaller than the window.
    """

    rank, pool_mode = 3, "average"
