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

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Layer, Regularizer
from custom_layers.convolutional import windows
from custom_layers.convolutional.correlation import correlate, correlate_dw, correlate_dx
from custom_layers.gradients import sum_places, with_backward


def conv_transpose_forward(x, kernel, bias, *, output_padding=None, **options):
    """x (B, m..., I), kernel (k..., O, I), bias (O,) or None -> y (B, n..., O).

    The options are `strides`, `padding` and `dilation`.
    """
    m, window = windows.sizes_of(x), kernel.shape[:-2]
    n = windows.transposed_lengths(m, window, output_padding=output_padding, **options)
    _check_sizes(m, n, window, output_padding, **options)
    y = correlate_dx(x, kernel, n, **options)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    return y, (x, kernel, bias is not None)


def _check_sizes(m, n, window, output_padding, *, strides, padding, dilation):
    """Raise a ValueError unless a convolution of n places gives back the m places of the input."""
    for of_x, of_y, k, s, d in zip(m, n, window, strides, dilation, strict=True):
        known = isinstance(of_x, int) and isinstance(of_y, int)
        if known and (of_y < 0 or windows.output_length(of_y, k, s, padding, d) != of_x):
            raise ValueError(
                "`output_padding` gives an output whose convolution differs from x in size: "
                f"{of_y} places from {of_x}. Received: output_padding={output_padding}, "
                f"kernel_size={tuple(window)}, strides={strides}, dilation_rate={dilation}"
            )


def conv_transpose_backward(dy, cache, *, output_padding=None, **options):
    """dy (B, n..., O) -> dx (B, m..., I), dW (k..., O, I), db (O,)."""
    x, kernel, biased = cache
    dx = correlate(dy, kernel, **options)
    dkernel = correlate_dw(dy, x, kernel.shape[:-2], **options)
    return dx, dkernel, sum_places(dy) if biased else None


conv_transpose = with_backward(conv_transpose_forward, conv_transpose_backward)


class _ConvTranspose(Layer):
    """The constructor, weights and call of the three transposed convolutions, over `rank` axes."""

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
        self.filters = windows.standardize_filters(filters)
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
        windows.check_strides(self.strides, self.dilation_rate)
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
        sizes = windows.spatial_sizes(input_shape, self.data_format)
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
    """Transposed convolution over one axis: the opposite of `Conv1D`.

    It spreads each place of the input over a window of the output, and adds a bias.

    Input `(B, T, I)`, output `(B, T', filters)`; with `data_format="channels_first"`, `(B, I, T)`
    and `(B, filters, T')`. Weights `kernel (k, filters, I)` and `bias (filters,)`.
    Arguments are those of `keras.layers.Conv1DTranspose`.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; an `output_padding` is not below its stride, or gives an output from which no
            convolution gives back the input's size; I is unknown.
    """

    rank = 1

    # fmt: off
    def __init__(
        self, filters: int, kernel_size: int | tuple, strides: int | tuple = 1,
        padding: str = "valid", output_padding: int | tuple | None = None,
        data_format: str | None = None, dilation_rate: int | tuple = 1,
        activation: str | Callable | None = None, use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None, **kwargs,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv2DTranspose(_ConvTranspose):
    """Transposed convolution over height and width: the opposite of `Conv2D`.

    It spreads each place of the input over a window of the output, and adds a bias.

    Input `(B, H, W, I)`, output `(B, H', W', filters)`; with `data_format="channels_first"`,
    `(B, I, H, W)` and `(B, filters, H', W')`. Weights `kernel (kh, kw, filters, I)` and
    `bias (filters,)`.
    Arguments are those of `keras.layers.Conv2DTranspose`.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; an `output_padding` is not below its stride, or gives an output from which no
            convolution gives back the input's size; I is unknown.
    """

    rank = 2

    # fmt: off
    def __init__(
        self, filters: int, kernel_size: int | tuple, strides: int | tuple = (1, 1),
        padding: str = "valid", output_padding: int | tuple | None = None,
        data_format: str | None = None, dilation_rate: int | tuple = (1, 1),
        activation: str | Callable | None = None, use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None, **kwargs,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv3DTranspose(_ConvTranspose):
    """Transposed convolution over depth, height and width: the opposite of `Conv3D`.

    It spreads each place of the input over a window of the output, and adds a bias.

    Input `(B, D, H, W, I)`, output `(B, D', H', W', filters)`; with
    `data_format="channels_first"`, `(B, I, D, H, W)` and `(B, filters, D', H', W')`. Weights
    `kernel (kd, kh, kw, filters, I)` and `bias (filters,)`.
    Arguments are those of `keras.layers.Conv3DTranspose`.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; an `output_padding` is not below its stride, or gives an output from which no
            convolution gives back the input's size; I is unknown.
    """

    rank = 3

    # fmt: off
    def __init__(
        self, filters: int, kernel_size: int | tuple, strides: int | tuple = (1, 1, 1),
        padding: str = "valid", data_format: str | None = None,
        output_padding: int | tuple | None = None, dilation_rate: int | tuple = (1, 1, 1),
        activation: str | Callable | None = None, use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None, **kwargs,
    ) -> None:  # data_format first, as in Keras
        super().__init__(
            filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on
