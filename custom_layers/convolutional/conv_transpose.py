"""Conv1DTranspose, Conv2DTranspose, Conv3DTranspose: convolution read backward.

    y[q] = b + Σ_t W[t] x[(q + P - d t) / s]    over the taps t for which that place of x exists

    x (B, m..., I)     W (k..., O, I)     b (O,)     y (B, n..., O)

It spreads each x[p] over a window of y, where windows overlap they add up. This is dx of a
convolution with the same W, strides s, dilation d and padding P (correlation.py), so its backward
is that convolution and its dW with x and dy in each other's place: given dy = dL/dy,

    dx[p] = Σ_t W[t]ᵀ dy[s p + d t - P]         zero outside of dy
    dW[t] = Σ_p dy[s p + d t - P] x[p]ᵀ         over the batch too
    db    = Σ_q dy[q]

Several n have the same m under a stride; `output_padding` chooses among them (windows.py).

Zeiler, Krishnan, Taylor & Fergus, Deconvolutional networks, CVPR 2010; Dumoulin & Visin, A guide to
convolution arithmetic for deep learning, arXiv 1603.07285.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer
from custom_layers.convolutional import windows
from custom_layers.convolutional.correlation import (
    correlate,
    correlate_dw,
    correlate_dx,
)
from custom_layers.gradients import sum_places, with_backward


def conv_transpose_forward(x, kernel, bias, *, output_padding=None, **how):
    """x (B, m..., I), kernel (k..., O, I), bias (O,) or None -> y (B, n..., O)."""
    sizes = windows.transposed_lengths(
        windows.sizes_of(x), kernel.shape[:-2], output_padding=output_padding, **how
    )
    _check_sizes(windows.sizes_of(x), sizes, kernel.shape, output_padding, **how)
    y = correlate_dx(x, kernel, sizes, **how)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    return y, (x, kernel)


def _check_sizes(m, n, taps, output_padding, *, strides, padding, dilation):
    """The convolution of an output of sizes n must have the sizes m of the input."""
    for of_x, of_y, *axis in zip(m, n, taps, strides, dilation, strict=False):
        known = isinstance(of_x, int) and isinstance(of_y, int)
        k, s, d = axis
        if known and (of_y < 1 or windows.output_length(of_y, k, s, padding, d) != of_x):
            raise ValueError(
                "`output_padding` leaves an output whose convolution has not the input's size: "
                f"{of_y} places from {of_x}. Received: output_padding={output_padding}, "
                f"kernel_size={tuple(taps[:-2])}, strides={strides}, dilation_rate={dilation}"
            )


def conv_transpose_backward(dy, cache, *, output_padding=None, **how):
    x, kernel = cache
    dx = correlate(dy, kernel, **how)
    dkernel = correlate_dw(dy, x, kernel.shape[:-2], **how)
    return dx, dkernel, sum_places(dy)


conv_transpose = with_backward(conv_transpose_forward, conv_transpose_backward)


class _ConvTranspose(Layer):
    """A transposed convolution: `activation(y)`, with the y of the formula above.

    Input `(B, m..., I)`, output `(B, n..., filters)`; for `data_format="channels_first"` the
    channels stand behind the batch. Weights `kernel (k..., filters, I)` and `bias (filters,)`.
    Arguments are those of Keras's layer.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; an `output_padding` is not below its stride, or leaves an output whose
            convolution has not the input's size; I is unknown.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides,
        padding,
        output_padding,
        data_format,
        dilation_rate,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        activity_regularizer,
        kernel_constraint,
        bias_constraint,
        **kwargs,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = filters
        self.kernel_size = windows.standardize_tuple(kernel_size, self.rank, "kernel_size")
        self.strides = windows.standardize_tuple(strides, self.rank, "strides")
        self.padding = windows.standardize_padding(padding)
        self.output_padding = output_padding
        if output_padding is not None:
            self.output_padding = windows.standardize_tuple(
                output_padding, self.rank, "output_padding", allow_zero=True
            )
            self._check_output_padding()
        self.data_format = windows.standardize_data_format(data_format)
        self.dilation_rate = windows.standardize_tuple(dilation_rate, self.rank, "dilation_rate")
        windows.check_windows(filters, self.strides, self.dilation_rate)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.input_spec = keras.layers.InputSpec(min_ndim=self.rank + 2)

    def _check_output_padding(self):
        for i, (extra, stride) in enumerate(zip(self.output_padding, self.strides, strict=True)):
            if extra >= stride:
                raise ValueError(
                    "`output_padding` must be strictly less than `strides` for all dimensions. "
                    f"At dimension {i}, `output_padding` is {extra} but `strides` is {stride}. "
                    f"Received: output_padding={self.output_padding}, strides={self.strides}"
                )

    def build(self, input_shape):
        channels = windows.known_channels(input_shape, self.data_format)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, self.filters, channels),
            **self.weight_options("kernel"),
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), **self.weight_options("bias")
            )
        axis = -1 if self.data_format == "channels_last" else 1
        self.input_spec = keras.layers.InputSpec(min_ndim=self.rank + 2, axes={axis: channels})

    def call(self, inputs):
        y = conv_transpose(
            windows.to_channels_last(inputs, self.data_format),
            tf.convert_to_tensor(self.kernel),
            None if self.bias is None else tf.convert_to_tensor(self.bias),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            output_padding=self.output_padding,
        )
        y = windows.from_channels_last(y, self.data_format)
        return y if self.activation is None else self.activation(y)

    def compute_output_shape(self, input_shape):
        sizes = windows.spatial(input_shape, self.data_format)
        sizes = windows.transposed_lengths(
            sizes,
            self.kernel_size,
            self.strides,
            self.padding,
            self.output_padding,
            self.dilation_rate,
        )
        return windows.with_channels(input_shape[0], sizes, self.filters, self.data_format)


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv1DTranspose(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    rank = 1

    # fmt: off
    def __init__(
        self, filters, kernel_size, strides=1, padding="valid", output_padding=None,
        data_format=None, dilation_rate=1, activation=None, use_bias=True,
        kernel_initializer="glorot_uniform", bias_initializer="zeros",
        kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
        kernel_constraint=None, bias_constraint=None, **kwargs,
    ):
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv2DTranspose(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    rank = 2

    # fmt: off
    def __init__(
        self, filters, kernel_size, strides=(1, 1), padding="valid", output_padding=None,
        data_format=None, dilation_rate=(1, 1), activation=None, use_bias=True,
        kernel_initializer="glorot_uniform", bias_initializer="zeros",
        kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
        kernel_constraint=None, bias_constraint=None, **kwargs,
    ):
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv3DTranspose(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    rank = 3

    # fmt: off
    def __init__(
        self, filters, kernel_size, strides=(1, 1, 1), padding="valid", data_format=None,
        output_padding=None, dilation_rate=(1, 1, 1), activation=None, use_bias=True,
        kernel_initializer="glorot_uniform", bias_initializer="zeros",
        kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
        kernel_constraint=None, bias_constraint=None, **kwargs,
    ):  # data_format first, as in Keras
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on
