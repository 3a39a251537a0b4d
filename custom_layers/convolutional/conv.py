"""Conv1D, Conv2D, Conv3D: the same affine map of every window, then an activation.

    y[p] = b + Σ_t x[s p + d t - P] W[t]        p: place of y, t: tap of the window

    x (B, n..., I), zero outside     W (k..., I, O)     b (O,)     y (B, m..., O)

with the stride s, dilation d and padding P of each axis (windows.py). Backward, given dy = dL/dy,
the same products read from their other two ends (correlation.py), and

    dx[q] = Σ_t dy[(q + P - d t) / s] W[t]ᵀ     over the t for which that place exists
    dW[t] = Σ_p x[s p + d t - P]ᵀ dy[p]         over the batch too
    db    = Σ_p dy[p]

`groups` G are G convolutions side by side: the channels of x, W and y are cut into G parts, and
W is (k..., I / G, O). Channels first is a transpose before and one after.

LeCun et al., Backpropagation applied to handwritten zip code recognition, Neural Computation 1989.
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


def conv_forward(x, kernel, bias, *, groups=1, **how):
    """x (B, n..., I), kernel (k..., I / groups, O), bias (O,) or None -> y (B, m..., O)."""
    pairs = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    y = tf.concat([correlate(part, taps, **how) for part, taps in pairs], -1)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    return y, (x, kernel)


def conv_backward(dy, cache, *, groups=1, **how):
    x, kernel = cache
    sizes, taps = windows.sizes_of(x), kernel.shape[:-2]
    dx, dkernel = [], []
    for part, w, d in zip(*(tf.split(t, groups, -1) for t in (x, kernel, dy)), strict=True):
        dx.append(correlate_dx(d, w, sizes, **how))
        dkernel.append(correlate_dw(part, d, taps, **how))
    return tf.concat(dx, -1), tf.concat(dkernel, -1), sum_places(dy)


conv = with_backward(conv_forward, conv_backward)


class _Conv(Layer):
    """A convolution: `activation(y)`, with the y of the formula above.

    Input `(B, n..., I)`, output `(B, m..., filters)`; for `data_format="channels_first"` the
    channels stand behind the batch. Weights `kernel (k..., I / groups, filters)` and
    `bias (filters,)`. Arguments are those of Keras's layer, without LoRA and quantization.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; `groups` divides `filters` or I with a remainder; the input is smaller than
            the window, or I is unknown.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        groups,
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
        self.padding = windows.standardize_padding(padding, allow_causal=self.rank == 1)
        self.data_format = windows.standardize_data_format(data_format)
        self.dilation_rate = windows.standardize_tuple(dilation_rate, self.rank, "dilation_rate")
        windows.check_windows(filters, self.strides, self.dilation_rate)
        if groups <= 0:
            raise ValueError(
                f"The number of groups must be a positive integer. Received: groups={groups}."
            )
        if filters % groups != 0:
            raise ValueError(
                "The number of filters must be evenly divisible by the number of groups. "
                f"Received: groups={groups}, filters={filters}."
            )
        self.groups = groups
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.input_spec = keras.layers.InputSpec(min_ndim=self.rank + 2)

    def build(self, input_shape):
        self.compute_output_shape(input_shape)  # raises where no window fits
        channels = windows.known_channels(input_shape, self.data_format)
        if channels % self.groups != 0:
            raise ValueError(
                "The number of input channels must be evenly divisible by the number of groups. "
                f"Received groups={self.groups}, but the input has {channels} channels "
                f"(full input shape is {tuple(input_shape)})."
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels // self.groups, self.filters),
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
        self.compute_output_shape(inputs.shape)
        y = conv(
            windows.to_channels_last(inputs, self.data_format),
            tf.convert_to_tensor(self.kernel),
            None if self.bias is None else tf.convert_to_tensor(self.bias),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=self.groups,
        )
        y = windows.from_channels_last(y, self.data_format)
        return y if self.activation is None else self.activation(y)

    def compute_output_shape(self, input_shape):
        return windows.output_shape(
            input_shape,
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            self.data_format,
            self.dilation_rate,
        )


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv1D(_Conv):
    __doc__ = _Conv.__doc__
    rank = 1

    # fmt: off
    def __init__(
        self, filters, kernel_size, strides=1, padding="valid", data_format=None,
        dilation_rate=1, groups=1, activation=None, use_bias=True,
        kernel_initializer="glorot_uniform", bias_initializer="zeros",
        kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
        kernel_constraint=None, bias_constraint=None, **kwargs,
    ):
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv2D(_Conv):
    __doc__ = _Conv.__doc__
    rank = 2

    # fmt: off
    def __init__(
        self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None,
        dilation_rate=(1, 1), groups=1, activation=None, use_bias=True,
        kernel_initializer="glorot_uniform", bias_initializer="zeros",
        kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
        kernel_constraint=None, bias_constraint=None, **kwargs,
    ):
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv3D(_Conv):
    __doc__ = _Conv.__doc__
    rank = 3

    # fmt: off
    def __init__(
        self, filters, kernel_size, strides=(1, 1, 1), padding="valid", data_format=None,
        dilation_rate=(1, 1, 1), groups=1, activation=None, use_bias=True,
        kernel_initializer="glorot_uniform", bias_initializer="zeros",
        kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
        kernel_constraint=None, bias_constraint=None, **kwargs,
    ):
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on
