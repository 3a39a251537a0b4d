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

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Layer, Regularizer
from custom_layers.convolutional import windows
from custom_layers.convolutional.correlation import correlate, correlate_dw, correlate_dx
from custom_layers.gradients import sum_places, with_backward


def conv_forward(x, kernel, **options):
    """x (B, n..., I), kernel (k..., I / groups, O) -> y (B, m..., O), without a bias.

    The options are `strides`, `padding`, `dilation` and `groups`.
    """
    return correlate(x, kernel, **options), (x, kernel)


def conv_backward(dy, cache, **options):
    """dy (B, m..., O) -> dx (B, n..., I), dW (k..., I / groups, O)."""
    x, kernel = cache
    dx = correlate_dx(dy, kernel, windows.sizes_of(x), **options)
    return dx, correlate_dw(x, dy, kernel.shape[:-2], **options)


conv = with_backward(conv_forward, conv_backward)


def add_bias_forward(y, bias, *, data_format):
    """y (B, m..., O) or (B, O, m...), bias (O,) -> y + bias."""
    if data_format == "channels_last":
        return tf.nn.bias_add(y, bias), None
    return y + tf.reshape(bias, (-1, *(1 for _ in y.shape[2:]))), None


def add_bias_backward(dy, _, *, data_format):
    """dy, of the shape of y -> dy itself, and db (O,)."""
    return dy, sum_places(windows.to_channels_last(dy, data_format))


add_bias = with_backward(add_bias_forward, add_bias_backward)


class _Conv(Layer):
    """The constructor, weights and call of Conv1D, Conv2D and Conv3D; `rank` axes of places."""

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
        self.filters = windows.standardize_filters(filters)
        self.kernel_size = windows.standardize_tuple(kernel_size, self.rank, "kernel_size")
        self.strides = windows.standardize_tuple(strides, self.rank, "strides")
        self.padding = windows.standardize_padding(padding, allow_causal=self.rank == 1)
        self.data_format = windows.standardize_data_format(data_format)
        self.dilation_rate = windows.standardize_tuple(dilation_rate, self.rank, "dilation_rate")
        windows.check_strides(self.strides, self.dilation_rate)
        if groups <= 0:
            raise ValueError(
                f"The number of groups must be a positive integer. Received: groups={groups}."
            )
        if filters % groups != 0:
            raise ValueError(
                "The number of filters must be evenly divisible by the number of groups. "
                f"Received: groups={groups}, filters={filters}."
            )
        self.groups = int(groups)
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
        self._kernel = self.add_weight(
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

    @property
    def kernel(self):
        """The weight; a subclass may return another tensor of its shape, made of it."""
        if not hasattr(self, "_kernel"):
            raise AttributeError("You must build the layer before accessing `kernel`.")
        return self._kernel

    def convolution_op(self, inputs, kernel):
        """The convolution without bias and activation.

        A subclass overrides it to change the kernel, to standardize it, say; `call` calls it.

        Args:
            inputs: `(B, n..., I)`, or `(B, I, n...)` for `data_format="channels_first"`.
            kernel: `(k..., I / groups, filters)`, a tensor or a variable.

        Returns:
            `(B, m..., filters)`, or `(B, filters, m...)`.
        """
        y = conv(
            windows.to_channels_last(inputs, self.data_format),
            tf.convert_to_tensor(kernel),
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation_rate,
            groups=self.groups,
        )
        return windows.from_channels_last(y, self.data_format)

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)
        y = self.convolution_op(inputs, tf.convert_to_tensor(self.kernel))
        if self.bias is not None:
            y = add_bias(y, tf.convert_to_tensor(self.bias), data_format=self.data_format)
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
    """Convolution over one axis, such as time: `activation(b + Σ_t x[s p + d t - P] W[t])`.

    Input `(B, T, I)`, output `(B, T', filters)`; with `data_format="channels_first"`, `(B, I, T)`
    and `(B, filters, T')`. Weights `kernel (k, I / groups, filters)` and `bias (filters,)`. With
    `padding="causal"`, no output depends on a later input. Arguments are those of
    `keras.layers.Conv1D`, without LoRA and quantization.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; `groups` does not divide `filters` and I; the input is smaller than the window,
            or I is unknown.
    """

    rank = 1

    # fmt: off
    def __init__(
        self, filters: int, kernel_size: int | tuple, strides: int | tuple = 1,
        padding: str = "valid", data_format: str | None = None, dilation_rate: int | tuple = 1,
        groups: int = 1, activation: str | Callable | None = None, use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None, **kwargs,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv2D(_Conv):
    """Convolution over height and width: `activation(b + Σ_t x[s p + d t - P] W[t])`.

    Input `(B, H, W, I)`, output `(B, H', W', filters)`; with `data_format="channels_first"`,
    `(B, I, H, W)` and `(B, filters, H', W')`. Weights `kernel (kh, kw, I / groups, filters)` and
    `bias (filters,)`. Arguments are those of `keras.layers.Conv2D`, without LoRA and quantization.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; `groups` does not divide `filters` and I; the input is smaller than the window,
            or I is unknown.
    """

    rank = 2

    # fmt: off
    def __init__(
        self, filters: int, kernel_size: int | tuple, strides: int | tuple = (1, 1),
        padding: str = "valid", data_format: str | None = None, dilation_rate: int | tuple = (1, 1),
        groups: int = 1, activation: str | Callable | None = None, use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None, **kwargs,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on


@keras.saving.register_keras_serializable(package="custom_layers")
class Conv3D(_Conv):
    """Convolution over depth, height and width: `activation(b + Σ_t x[s p + d t - P] W[t])`.

    Input `(B, D, H, W, I)`, output `(B, D', H', W', filters)`; with
    `data_format="channels_first"`, `(B, I, D, H, W)` and `(B, filters, D', H', W')`. Weights
    `kernel (kd, kh, kw, I / groups, filters)` and `bias (filters,)`. Arguments are those of
    `keras.layers.Conv3D`, without LoRA and quantization.

    Raises:
        ValueError: an argument is of the wrong kind or size; `strides` and `dilation_rate` are both
            above 1; `groups` does not divide `filters` and I; the input is smaller than the window,
            or I is unknown.
    """

    rank = 3

    # fmt: off
    def __init__(
        self, filters: int, kernel_size: int | tuple, strides: int | tuple = (1, 1, 1),
        padding: str = "valid", data_format: str | None = None,
        dilation_rate: int | tuple = (1, 1, 1), groups: int = 1,
        activation: str | Callable | None = None, use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None, **kwargs,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
    # fmt: on
