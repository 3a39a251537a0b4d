"""GlobalMaxPooling, GlobalAveragePooling, GlobalSumPooling: one number for each channel.

    maximum     y = max_q x[q]                  over the places q that take part
    average     y = (1 / N) Σ_q x[q]            N: how many take part
    sum         y = Σ_q x[q]

    x (B, n..., C)     y (B, C)

All places take part; in one dimension, those whose mask is true. Backward, given dy = dL/dy, and
zero at the others:

    maximum     dx[q] = dy / M where x[q] = y, else 0       M: how often the maximum occurs
    average     dx[q] = dy / N
    sum         dx[q] = dy

Of no places at all the maximum and the sum are 0 and the average is 0 / 0, NaN. Sums are taken in
float32 at least: those of float16 and bfloat16 stall early.

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


def total_forward(x, mask, *, axes):
    """x of any shape, mask (bool, broadcasts to x) or None -> y, with the axes kept as 1."""
    part = x if mask is None else tf.where(mask, x, tf.zeros((), x.dtype))
    return tf.cast(tf.reduce_sum(wide(part), axes, keepdims=True), x.dtype), (shape_of(x), mask)


def total_backward(dy, cache, *, axes):
    shape, mask = cache
    dx = tf.broadcast_to(dy, shape)
    return dx if mask is None else tf.where(mask, dx, tf.zeros((), dy.dtype)), None


total = with_backward(total_forward, total_backward)


def mean_forward(x, mask, *, axes):
    """As `total`, divided by the number of places that take part."""
    dtype = x.dtype if x.dtype.is_floating else tf.float32
    shape, x = shape_of(x), tf.cast(x, sum_dtype(dtype))
    if mask is None:
        count = math.prod(shape[i] if x.shape[i] is None else x.shape[i] for i in axes)
        return tf.cast(tf.reduce_mean(x, axes, keepdims=True), dtype), (shape, mask, count)
    y, _ = total_forward(x, mask, axes=axes)
    count = tf.reduce_sum(tf.cast(mask, y.dtype), axes, keepdims=True)
    return tf.cast(y / count, dtype), (shape, mask, count)


def mean_backward(dy, cache, *, axes):
    shape, mask, count = cache
    share = tf.cast(wide(dy) / tf.cast(count, sum_dtype(dy.dtype)), dy.dtype)
    return total_backward(share, (shape, mask), axes=axes)


mean = with_backward(mean_forward, mean_backward)


def peak_forward(x, mask, *, axes):
    """As `total`, the maximum."""
    if mask is None:
        y = tf.reduce_max(x, axes, keepdims=True)
        return y, (x, y, mask)
    lowest = tf.constant(-float("inf") if x.dtype.is_floating else x.dtype.min, x.dtype)
    y = tf.reduce_max(tf.where(mask, x, lowest), axes, keepdims=True)
    y = tf.where(tf.reduce_any(mask, axes, keepdims=True), y, tf.zeros_like(y))
    return y, (x, y, mask)


def peak_backward(dy, cache, *, axes):
    x, y, mask = cache
    hits = tf.cast(x == y if mask is None else (x == y) & mask, sum_dtype(dy.dtype))
    count = tf.reduce_sum(hits, axes, keepdims=True)
    share = dy / tf.cast(tf.maximum(count, 1), dy.dtype)
    return tf.cast(hits, dy.dtype) * share, None  # tf.where makes a step take a quarter longer


peak = with_backward(peak_forward, peak_backward)


class _GlobalPooling(Layer):
    """Pooling over all places, as in the formula above.

    Input `(B, n..., C)`, or `(B, C, n...)` for `data_format="channels_first"`; output `(B, C)`, or
    the input's rank with sizes 1 where `keepdims`. Arguments are those of Keras's layer.

    Raises:
        ValueError: `data_format` is unknown, or the input has another rank.
    """

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(**kwargs)
        self.data_format = windows.standardize_data_format(data_format)
        self.keepdims = keepdims
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)
        self._build_at_init()

    def call(self, inputs):
        return self._pool(inputs, None)

    def _pool(self, x, mask):
        first = 1 if self.data_format == "channels_last" else 2
        axes = list(range(first, first + self.rank))
        y = type(self).reduce(x, mask, axes=axes)
        return y if self.keepdims else tf.squeeze(y, axes)

    def compute_output_shape(self, input_shape):
        sizes = (1,) * self.rank if self.keepdims else ()
        channels = windows.channels(input_shape, self.data_format)
        return windows.with_channels(input_shape[0], sizes, channels, self.data_format)


class _MaskedPooling(_GlobalPooling):
    """Pooling over time, as in the formula above: over the steps whose mask is true.

    Input `(B, T, C)`, or `(B, C, T)` for `data_format="channels_first"`, and `mask (B, T)`; output
    `(B, C)`, or the input's rank with T = 1 where `keepdims`. No mask is passed on.
    """

    rank = 1

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is not None:
            axis = 2 if self.data_format == "channels_last" else 1
            check_mask(mask, (inputs.shape[0], inputs.shape[3 - axis]))
            mask = tf.expand_dims(tf.cast(mask, tf.bool), axis)
        return self._pool(inputs, mask)

    def compute_mask(self, inputs, mask=None):
        return None


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalMaxPooling1D(_MaskedPooling):
    __doc__ = f"""{_MaskedPooling.__doc__}
    Without a mask it is Keras's layer. With one, Keras's layer warns and ignores it: the maximum of
    a padded sequence may then be that of its padding. A sequence of masked steps only gives 0.
    """
    reduce = staticmethod(peak)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalAveragePooling1D(_MaskedPooling):
    __doc__ = f"""{_MaskedPooling.__doc__}
    As with Keras's layer, a sequence of masked steps only gives NaN.
    """
    reduce = staticmethod(mean)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalSumPooling1D(_MaskedPooling):
    """The sum over time; Keras has no such layer.

    Input `(B, T, C)`, or `(B, C, T)` for `data_format="channels_first"`; output `(B, C)`. A sum, in
    contrast to a mean or maximum, also tells how many steps there are: for sets of any size, such
    as the nodes of graphs, batched and padded.

    Args:
        data_format: "channels_last", "channels_first", or None for that of `keras.config`.
        keepdims: whether the time axis stays, with size 1.
        **kwargs: `name`, `dtype` and so on, of every layer.

    Call arguments:
        inputs: the tensor x.
        mask: `(B, T)`, boolean or 0 and 1: the steps to add up. None means all. A sequence of
            masked steps only gives 0. An `Embedding(mask_zero=True)` or `Masking` layer before
            this one hands its mask over by itself; no mask is passed on.

    Raises:
        ValueError: `data_format` is unknown, or the input's rank is not 3.
    """

    reduce = staticmethod(total)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalMaxPooling2D(_GlobalPooling):
    __doc__ = _GlobalPooling.__doc__
    rank, reduce = 2, staticmethod(peak)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalMaxPooling3D(_GlobalPooling):
    __doc__ = _GlobalPooling.__doc__
    rank, reduce = 3, staticmethod(peak)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalAveragePooling2D(_GlobalPooling):
    __doc__ = _GlobalPooling.__doc__
    rank, reduce = 2, staticmethod(mean)


@keras.saving.register_keras_serializable(package="custom_layers")
class GlobalAveragePooling3D(_GlobalPooling):
    __doc__ = _GlobalPooling.__doc__
    rank, reduce = 3, staticmethod(mean)
