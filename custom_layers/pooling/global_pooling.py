"""GlobalMaxPooling, GlobalAveragePooling, GlobalSumPooling: one number for each channel.

    maximum     y = max_q x[q]                  over the places q that count
    average     y = (1 / N) Σ_q x[q]            N: how many count
    sum         y = Σ_q x[q]

    x (B, n..., C)     y (B, C)

All places count; in one dimension, those whose mask is true; of ragged rows, those that are there.
Backward, given dy = dL/dy, and zero at the places that do not count:

    maximum     dx[q] = dy / M where x[q] = y, else 0       M: how often the maximum occurs
    average     dx[q] = dy / N
    sum         dx[q] = dy

The maximum and the sum of no places at all are 0, their average is 0 / 0, NaN. NaN counts as a
maximum. Sums and M are taken in float32 at least: those of float16 and bfloat16 stall early.

Lin, Chen & Yan, Network in network, arXiv 1312.4400. Sums tell multisets apart that averages and
maxima do not: Zaheer et al., Deep sets, arXiv 1703.06114; Xu et al., How powerful are graph neural
networks?, arXiv 1810.00826.
"""

import math

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_mask, shape_of
from custom_layers.convolutional import windows
from custom_layers.gradients import sum_dtype, wide, with_backward
from custom_layers.private_apis import compiled_by_xla


def _places(x, axes):
    """The number of places of x, an int if it is known."""
    return math.prod(tf.shape(x)[i] if x.shape[i] is None else x.shape[i] for i in axes)


def _with_places(y, axes, keepdims):
    """y with the axes of the places, of size 1, which it has already if `keepdims`."""
    for axis in () if keepdims else axes:
        y = tf.expand_dims(y, axis)
    return y


def global_sum_forward(x, mask, *, axes, keepdims=False):
    """x of any shape, mask (bool, broadcasts to x) or None -> y without the axes, or with size 1.

    `axes` are those of the places, in ascending order.
    """
    if mask is not None:
        x = tf.where(mask, x, tf.zeros((), x.dtype))
    y = tf.cast(tf.reduce_sum(wide(x), axes, keepdims=keepdims), x.dtype)
    return y, (shape_of(x), mask)


def global_sum_backward(dy, cache, *, axes, keepdims=False):
    """dy, of the shape of y -> dx, of the shape of x; the mask has no gradient."""
    shape, mask = cache
    dx = tf.broadcast_to(_with_places(dy, axes, keepdims), shape)
    return dx if mask is None else tf.where(mask, dx, tf.zeros((), dy.dtype)), None


global_sum = with_backward(global_sum_forward, global_sum_backward)


def global_average_forward(x, mask, *, axes, keepdims=False):
    """As `global_sum`, divided by N, the number of places that count."""
    dtype = x.dtype if x.dtype.is_floating else tf.float32
    shape, x = shape_of(x), tf.cast(x, sum_dtype(dtype))
    if mask is None:
        y = tf.reduce_mean(x, axes, keepdims=keepdims)
        return tf.cast(y, dtype), (shape, mask, _places(x, axes))
    total, _ = global_sum_forward(x, mask, axes=axes, keepdims=keepdims)
    n = tf.reduce_sum(tf.cast(mask, total.dtype), axes, keepdims=keepdims)
    return tf.cast(total / n, dtype), (shape, mask, n)


def global_average_backward(dy, cache, *, axes, keepdims=False):
    """dy, of the shape of y -> dx, of the shape of x."""
    shape, mask, n = cache
    share = tf.cast(wide(dy) / tf.cast(n, sum_dtype(dy.dtype)), dy.dtype)
    return global_sum_backward(share, (shape, mask), axes=axes, keepdims=keepdims)


global_average = with_backward(global_average_forward, global_average_backward)


def global_max_forward(x, mask, *, axes, keepdims=False):
    """As `global_sum`, the maximum."""
    if mask is None:
        some, counted = _places(x, axes) > 0, x
    else:
        # What does not count becomes the minimum of what does: a constant -inf would alarm
        # tf.debugging.enable_check_numerics, any other one could exceed what counts.
        least = tf.where(mask, x, tf.constant(x.dtype.max, x.dtype))
        least = tf.reduce_min(least, axes, keepdims=True)
        some, counted = tf.reduce_any(mask, axes, keepdims=keepdims), tf.where(mask, x, least)
    y = tf.reduce_max(counted, axes, keepdims=keepdims)
    if x.dtype.is_floating and compiled_by_xla():  # whose maximum hides NaN
        nan = tf.reduce_sum(tf.where(tf.math.is_nan(counted), x, 0), axes, keepdims=keepdims)
        y = tf.where(tf.math.is_nan(nan), nan, y)
    if some is not True:
        y = tf.where(some, y, tf.zeros_like(y))
    return y, (x, y, mask)


def global_max_backward(dy, cache, *, axes, keepdims=False):
    """dy, of the shape of y -> dx, of the shape of x."""
    x, y, mask = cache
    dy, y = (_with_places(t, axes, keepdims) for t in (dy, y))
    largest = x == y
    if x.dtype.is_floating:
        largest |= tf.math.is_nan(x)
    if mask is not None:
        largest &= mask
    largest = tf.cast(largest, sum_dtype(dy.dtype))
    m = tf.maximum(tf.reduce_sum(largest, axes, keepdims=True), 1)
    dx = largest * (wide(dy) / m)  # tf.where makes a step take a quarter longer
    if mask is not None:
        dx = tf.where(mask, dx, tf.zeros((), dx.dtype))  # 0 times an infinite dy is NaN
    return tf.cast(dx, dy.dtype), None


global_max = with_backward(global_max_forward, global_max_backward)


class _GlobalPooling(Layer):
    """The constructor and call of all: `reduce` over `rank` axes of places."""

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.data_format = windows.standardize_data_format(data_format)
        self.keepdims = keepdims
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)
        self._build_at_init()

    def call(self, inputs):
        return self._pool(inputs, None)

    def _pool(self, x, mask):
        if isinstance(x, tf.RaggedTensor):
            if self.data_format == "channels_first":
                raise ValueError(
                    f"{type(self).__name__} takes ragged inputs only with their channels last. "
                    f"Received: data_format={self.data_format}"
                )
            present = tf.ones_like(x, tf.bool).to_tensor(False)
            x, mask = x.to_tensor(), present if mask is None else present & mask
        first = 1 if self.data_format == "channels_last" else 2
        axes = tuple(range(first, first + self.rank))
        return type(self).reduce(x, mask, axes=axes, keepdims=self.keepdims)

    def compute_output_shape(self, input_shape):
        sizes = (1,) * self.rank if self.keepdims else ()
        channels = windows.channels(input_shape, self.data_format)
        return windows.with_channels(input_shape[0], sizes, channels, self.data_format)


class _MaskedPooling(_GlobalPooling):
    """Pooling over one axis, over the steps whose mask is true; no mask is passed on."""

    rank = 1

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is not None:
            if isinstance(mask, tf.RaggedTensor):
                mask = mask.to_tensor(False)
            axis = 2 if self.data_format == "channels_last" else 1
            check_mask(mask, (inputs.shape[0], inputs.shape[3 - axis]))
            mask = tf.expand_dims(tf.cast(mask, tf.bool), axis)
        return self._pool(inputs, mask)

    def compute_mask(self, inputs, mask=None):
        return None


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalMaxPooling1D(_MaskedPooling):
    """The maximum over time for each channel, over the steps whose mask is true.

    Input `(B, T, C)`, dense or ragged, or `(B, C, T)` for `data_format="channels_first"`, and
    `mask (B, T)`; output `(B, C)`, or the input's rank with T = 1 if `keepdims`. Arguments are
    those of `keras.layers.GlobalMaxPooling1D`, which warns of a mask and ignores it: the maximum of
    a padded sequence may then be that of its padding. The maximum of no steps at all is 0.

    Raises:
        ValueError: `data_format` is not valid; the input's rank is not 3; the mask does not fit.
    """

    reduce = staticmethod(global_max)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalAveragePooling1D(_MaskedPooling):
    """The average over time for each channel, over the steps whose mask is true.

    Input `(B, T, C)`, dense or ragged, or `(B, C, T)` for `data_format="channels_first"`, and
    `mask (B, T)`; output `(B, C)`, or the input's rank with T = 1 if `keepdims`. Arguments are
    those of `keras.layers.GlobalAveragePooling1D`. The average of no steps is NaN, as in Keras.

    Raises:
        ValueError: `data_format` is not valid; the input's rank is not 3; the mask does not fit.
    """

    reduce = staticmethod(global_average)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalSumPooling1D(_MaskedPooling):
    """The sum over time for each channel, over the steps whose mask is true.

    Input `(B, T, C)`, dense or ragged, or `(B, C, T)` for `data_format="channels_first"`; output
    `(B, C)`. Keras has no such layer. A sum, in contrast to an average or a maximum, also tells how
    many steps there are: for sets of any size, such as the nodes of graphs, batched and padded.

    Args:
        data_format: "channels_last", "channels_first", or None for that of `keras.config`.
        keepdims: whether the time axis stays, with size 1.
        **kwargs: `name`, `dtype` and so on, of every layer.

    Call arguments:
        inputs: the tensor x.
        mask: `(B, T)`, boolean or 0 and 1: the steps to add up. None means all. The sum of no steps
            at all is 0. An `Embedding(mask_zero=True)` or `Masking` layer before this one hands
            its mask over by itself; no mask is passed on.

    Raises:
        ValueError: `data_format` is not valid; the input's rank is not 3; the mask does not fit.
    """

    reduce = staticmethod(global_sum)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalMaxPooling2D(_GlobalPooling):
    """The maximum over height and width for each channel.

    Input `(B, H, W, C)`, dense or ragged, or `(B, C, H, W)` for
    `data_format="channels_first"`; output `(B, C)`, or the input's rank with sizes 1 if `keepdims`.
    Arguments are those of `keras.layers.GlobalMaxPooling2D`.

    Raises:
        ValueError: `data_format` is not valid, or the input's rank is not 4.
    """

    rank, reduce = 2, staticmethod(global_max)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalMaxPooling3D(_GlobalPooling):
    """The maximum over depth, height and width for each channel.

    Input `(B, D, H, W, C)`, dense or ragged, or `(B, C, D, H, W)` for
    `data_format="channels_first"`; output `(B, C)`, or the input's rank with sizes 1 if `keepdims`.
    Arguments are those of `keras.layers.GlobalMaxPooling3D`.

    Raises:
        ValueError: `data_format` is not valid, or the input's rank is not 5.
    """

    rank, reduce = 3, staticmethod(global_max)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalAveragePooling2D(_GlobalPooling):
    """The average over height and width for each channel.

    Input `(B, H, W, C)`, dense or ragged, or `(B, C, H, W)` for
    `data_format="channels_first"`; output `(B, C)`, or the input's rank with sizes 1 if `keepdims`.
    Arguments are those of `keras.layers.GlobalAveragePooling2D`.

    Raises:
        ValueError: `data_format` is not valid, or the input's rank is not 4.
    """

    rank, reduce = 2, staticmethod(global_average)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalAveragePooling3D(_GlobalPooling):
    """The average over depth, height and width for each channel.

    Input `(B, D, H, W, C)`, dense or ragged, or `(B, C, D, H, W)` for
    `data_format="channels_first"`; output `(B, C)`, or the input's rank with sizes 1 if `keepdims`.
    Arguments are those of `keras.layers.GlobalAveragePooling3D`.

    Raises:
        ValueError: `data_format` is not valid, or the input's rank is not 5.
    """

    rank, reduce = 3, staticmethod(global_average)
