"""Transposed convolutions: derivatives, Keras's twins, and the convolution that they undo."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.convolutional import conv_transpose
from custom_layers.convolutional.conv import Conv1D, Conv2D, Conv3D
from custom_layers.convolutional.conv_transpose import (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
)
from custom_layers.gradients import with_backward

RNG = np.random.default_rng(0)
FIRST = {"data_format": "channels_first"}
CASES = [
    # layer, input shape, arguments
    (Conv1DTranspose, (2, 5, 3), {"kernel_size": 3}),
    (Conv1DTranspose, (1, 3, 2), {"kernel_size": 3, "strides": 2, "output_padding": 1, **FIRST}),
    (Conv1DTranspose, (2, 5, 2), {"kernel_size": 2, "dilation_rate": 3, "padding": "same"}),
    (Conv1DTranspose, (2, 1, 2), {"kernel_size": 2, "strides": 5}),  # gaps between windows
    (Conv2DTranspose, (2, 3, 5, 2), {"kernel_size": 3, "padding": "same", "use_bias": False}),
    (Conv2DTranspose, (1, 2, 3, 2), {"kernel_size": (2, 3), "strides": (3, 2), "padding": "same"}),
    (
        Conv2DTranspose,
        (2, 3, 2, 2),
        {"kernel_size": 3, "strides": 3, "output_padding": (1, 2), "padding": "same", **FIRST},
    ),
    (Conv2DTranspose, (2, 3, 4, 1), {"kernel_size": (3, 2), "dilation_rate": (1, 2)}),
    (Conv3DTranspose, (1, 2, 3, 2, 2), {"kernel_size": (2, 1, 3), "strides": (1, 2, 1)}),
    (Conv3DTranspose, (2, 2, 3, 2, 1), {"kernel_size": 2, "padding": "same", "strides": 2}),
]
# What Keras's layers fail at on a CPU: no samples; 3D with dilation in float64, channels first.
BEYOND_KERAS = [
    (Conv2DTranspose, (0, 3, 2, 2), {"kernel_size": 2, "strides": 2}),
    (Conv3DTranspose, (1, 2, 3, 2, 2), {"kernel_size": 2, "dilation_rate": (1, 2, 3)}),
    (Conv3DTranspose, (2, 2, 1, 2, 2), {"kernel_size": 2, "output_padding": 0, **FIRST}),
]


def make(case, **more):
    layer, shape, arguments = case
    arguments = {"filters": 5, **arguments, **more}
    if arguments.get("data_format") == "channels_first":
        shape = (shape[0], shape[-1], *shape[1:-1])
    return layer, arguments, RNG.standard_normal(shape)


@pytest.mark.parametrize("case", CASES + BEYOND_KERAS, ids=str)
def test_backward(case):
    layer, arguments, x = make(case, activation="tanh", bias_initializer="normal")
    check_backward(layer(**arguments, dtype="float64"), x)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twin(case):
    layer, arguments, x = make(case, activation="relu", kernel_constraint="unit_norm")
    check_twin(layer, getattr(keras.layers, layer.__name__), arguments, x.astype("float32"))


@pytest.mark.parametrize("case", [CASES[0], CASES[5], CASES[9]], ids=str)
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_twin_in_other_dtypes(case, dtype):
    layer, arguments, x = make(case, dtype=dtype)
    check_twin(layer, getattr(keras.layers, layer.__name__), arguments, x)


@pytest.mark.parametrize("layer", [Conv1DTranspose, Conv2DTranspose, Conv3DTranspose])
def test_signature(layer):
    check_signature(layer, getattr(keras.layers, layer.__name__))


@pytest.mark.parametrize("case", CASES + BEYOND_KERAS, ids=str)
def test_it_is_the_derivative_of_the_convolution(case):
    """<conv(a), x> = <a, transpose(x)> with one kernel in both."""
    layer, arguments, x = make(case, use_bias=False, dtype="float64")
    transpose = layer(**arguments)
    y = transpose(x)
    rank = x.ndim - 2
    arguments.pop("output_padding", None)
    last = arguments.get("data_format") != "channels_first"
    arguments["filters"] = x.shape[-1 if last else 1]
    forth = (Conv1D, Conv2D, Conv3D)[rank - 1](**arguments)
    a = RNG.standard_normal(y.shape)
    forth.build(a.shape)
    forth.set_weights(transpose.get_weights())
    assert_near("inner product", tf.reduce_sum(forth(a) * x), tf.reduce_sum(a * y))


def test_output_padding_appends():
    """It makes y longer and moves nothing that was there."""
    x = RNG.standard_normal((1, 4, 2)).astype("float32")
    layers = [Conv1DTranspose(3, 3, 3, output_padding=extra) for extra in (0, 1, 2)]
    outputs = []
    for layer in layers:
        layer.build(x.shape)
        layer.set_weights(layers[0].get_weights())
        outputs.append(layer(x).numpy())
    assert [y.shape[1] for y in outputs] == [12, 13, 14]
    for y in outputs[1:]:
        assert_near("output", y[:, :12], outputs[0])
        assert (y[:, 12:] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": -1, "kernel_size": 1}, "`filters`. Expected a strictly positive.*filters=-1."),
        ({"filters": 2, "kernel_size": (1, 0)}, r"`kernel_size` argument must be a tuple of 2"),
        ({"filters": 2, "kernel_size": 2, "strides": (1, 0)}, r"Received strides=\(1, 0\)"),
        (
            {"filters": 2, "kernel_size": 2, "strides": 2, "dilation_rate": (2, 1)},
            r"`strides > 1` not supported in.*strides=\(2, 2\) and dilation_rate=\(2, 1\)",
        ),
        (
            {"filters": 2, "kernel_size": 2, "strides": (3, 2), "output_padding": 2},
            "`output_padding` must be strictly less than `strides`.*At dimension 1.*is 2",
        ),
        ({"filters": 2, "kernel_size": 2, "output_padding": -1}, "`value >= 0`"),
        ({"filters": 5, "kernel_size": 2, "padding": "causal"}, "`padding` argument.*causal"),
        ({"filters": 5, "kernel_size": 2, "data_format": "first"}, "`data_format` argument.*first"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Conv2DTranspose(**arguments)


def test_wrong_inputs():
    with pytest.raises(ValueError, match="expected min_ndim=4, found ndim=3"):
        Conv2DTranspose(2, 3)(tf.zeros((2, 5, 3)))
    with pytest.raises(ValueError, match="must have a known size"):
        Conv2DTranspose(2, 3)(keras.Input((5, 5, None)))
    layer = Conv2DTranspose(2, 3)
    layer(tf.zeros((2, 5, 5, 3)))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(tf.zeros((2, 5, 5, 4)))


def test_a_broken_backward_is_seen(monkeypatch):
    case = (Conv2DTranspose, (2, 4, 3, 2), {"kernel_size": 3, "strides": 2, "filters": 2})
    for i, mistake in enumerate([lambda g: 2 * g, lambda g: g[::-1], lambda g: -g]):

        def backward(dy, cache, i=i, mistake=mistake, **options):
            gradients = list(conv_transpose.conv_transpose_backward(dy, cache, **options))
            gradients[i] = mistake(gradients[i])
            return gradients

        wrong = with_backward(conv_transpose.conv_transpose_forward, backward)
        with monkeypatch.context() as patch:
            patch.setattr(conv_transpose, "conv_transpose", wrong)
            layer, arguments, x = make(case)
            with pytest.raises(AssertionError, match="against autodiff"):
                check_backward(layer(**arguments, dtype="float64"), x)


@pytest.mark.parametrize("batch", [0, 2])
@pytest.mark.parametrize(("size", "dilation"), [(1, 3), (5, 3), (4, 1)])
def test_an_output_that_no_convolution_gives_back(batch, size, dilation):
    layer = Conv1DTranspose(
        2, 2, padding="same", output_padding=0, dilation_rate=dilation, name="up"
    )
    with pytest.raises(ValueError, match="`output_padding` gives an output whose convolution"):
        layer(tf.zeros((batch, size, 1)))


@pytest.mark.parametrize("compiled", [None, False, True], ids=["eager", "graph", "XLA"])
def test_of_no_places_the_gradient_has_the_shape_of_x(compiled):
    """The output has places all the same: those of the kernel."""
    layer, x = Conv2DTranspose(3, 3), tf.zeros((4, 0, 4, 2))
    layer.build(x.shape)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        assert y.shape == (4, 2, 6, 3)
        return tape.gradient(y, x)

    run = gradient if compiled is None else tf.function(gradient, jit_compile=compiled)
    assert run(x).shape == x.shape
