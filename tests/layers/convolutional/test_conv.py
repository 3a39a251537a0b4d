"""Conv1D, Conv2D, Conv3D: the gradients are the derivatives, and they drop in for Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.convolutional import conv
from custom_layers.convolutional.conv import Conv1D, Conv2D, Conv3D
from custom_layers.gradients import with_backward

RNG = np.random.default_rng(0)
FIRST = {"data_format": "channels_first"}
CASES = [
    # layer, input shape, arguments
    (Conv1D, (2, 7, 4), {"kernel_size": 3}),
    (Conv1D, (1, 5, 4), {"kernel_size": 3, "padding": "causal", "strides": 2, "groups": 2}),
    (Conv1D, (2, 7, 4), {"kernel_size": 2, "padding": "causal", "dilation_rate": 3, **FIRST}),
    (Conv1D, (0, 7, 4), {"kernel_size": 2, "padding": "same", "dilation_rate": 2}),
    (Conv2D, (2, 5, 7, 4), {"kernel_size": 3, "use_bias": False, "padding": "same"}),
    (Conv2D, (2, 5, 7, 4), {"kernel_size": (2, 3), "groups": 4, "filters": 8}),
    (Conv2D, (1, 7, 5, 1), {"kernel_size": (2, 1), "strides": (2, 3), "padding": "same", **FIRST}),
    (Conv2D, (2, 5, 7, 2), {"kernel_size": 2, "dilation_rate": (1, 3), "padding": "same"}),
    (Conv2D, (0, 5, 3, 2), {"kernel_size": 2, "groups": 2, **FIRST}),
    (Conv2D, (2, 2, 3, 2), {"kernel_size": (2, 3)}),  # one place
    (Conv3D, (1, 3, 5, 2, 4), {"kernel_size": (2, 3, 1), "padding": "same", "groups": 2}),
    (Conv3D, (2, 3, 4, 3, 2), {"kernel_size": 2, "strides": (1, 2, 1), **FIRST}),
    (Conv3D, (1, 4, 3, 5, 1), {"kernel_size": 2, "dilation_rate": (1, 2, 3), "padding": "same"}),
]


def make(case, **more):
    layer, shape, arguments = case
    arguments = {"filters": 6, **arguments, **more}
    if arguments.get("data_format") == "channels_first":
        shape = (shape[0], shape[-1], *shape[1:-1])
    return layer, arguments, RNG.standard_normal(shape)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_backward(case):
    layer, arguments, x = make(case, activation="tanh", bias_initializer="normal")
    check_backward(layer(**arguments, dtype="float64"), x)


# Keras's layers fail on empty batches. And where channels come first and the last size of y is
# `filters`, they add a bias along the wrong axis, except in graphs. The cases here avoid both.
@pytest.mark.parametrize("case", [c for c in CASES if c[1][0] > 0], ids=str)
def test_twin(case):
    layer, arguments, x = make(case, activation="relu", kernel_regularizer="l2")
    check_twin(layer, getattr(keras.layers, layer.__name__), arguments, x.astype("float32"))


@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[5], CASES[7]], ids=str)
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
def test_twin_in_other_dtypes(case, dtype):
    layer, arguments, x = make(case, dtype=dtype)
    check_twin(layer, getattr(keras.layers, layer.__name__), arguments, x)


ONE = [(Conv1D, (2, 7, 3)), (Conv2D, (2, 5, 6, 3)), (Conv3D, (1, 3, 4, 5, 2))]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("layer", "shape"), ONE)
def test_a_kernel_of_one_place_that_strides(layer, shape, padding):
    """TensorFlow's kernel for dW corrupts memory there: a twin would run it, so there is none."""
    made = layer(2, 1, strides=(2, 3, 2)[: len(shape) - 2], padding=padding, dtype="float64")
    check_backward(made, RNG.standard_normal(shape))
    graph = tf.function(lambda x, dy: tf.gradients(made(x), made.trainable_weights, dy))
    x = tf.ones(shape, "float64")
    for op in graph.get_concrete_function(x, made(x)).graph.get_operations():
        if "BackpropFilter" in op.type:
            assert set(op.get_attr("strides")) == {1}


@pytest.mark.parametrize("layer", [Conv1D, Conv2D, Conv3D])
def test_signature(layer):
    check_signature(layer, getattr(keras.layers, layer.__name__))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_channels_first_is_a_transpose(case):
    layer, shape, arguments = case
    arguments = {"filters": 6, "bias_initializer": "normal", **arguments, "dtype": "float64"}
    last = layer(**{**arguments, "data_format": "channels_last"})
    first = layer(**{**arguments, **FIRST})
    x = RNG.standard_normal(shape)
    expected = last(x)
    first.build((shape[0], shape[-1], *shape[1:-1]))
    first.set_weights(last.get_weights())
    assert_near("output", first(np.moveaxis(x, -1, 1)), np.moveaxis(expected, -1, 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_empty_batch(case, dtype):
    layer, arguments, x = make(case, dtype=dtype)
    layer, x = layer(**arguments), x[:0]
    expected = layer.compute_output_shape(x.shape)
    assert layer(x).shape == expected
    assert tf.function(layer)(tf.cast(x, dtype)).shape == expected


def test_grouped_is_side_by_side():
    x = RNG.standard_normal((2, 5, 6, 6))
    layer = Conv2D(9, 3, groups=3, dtype="float64", bias_initializer="normal")
    y = layer(x)
    for g in range(3):
        part = Conv2D(3, 3, dtype="float64")
        part.build((2, 5, 6, 2))
        kernel, bias = layer.get_weights()
        part.set_weights([kernel[..., 3 * g : 3 * g + 3], bias[3 * g : 3 * g + 3]])
        assert_near(f"group {g}", y[..., 3 * g : 3 * g + 3], part(x[..., 2 * g : 2 * g + 2]))


def test_causal_does_not_look_ahead():
    layer = Conv1D(2, 3, padding="causal", dilation_rate=2)
    x = RNG.standard_normal((1, 9, 2)).astype("float32")
    y = layer(x)
    x[:, 5:] += 1
    assert (layer(x)[:, :5].numpy() == y[:, :5].numpy()).all()


def test_activation_acts_in_the_given_data_format():
    """softmax runs over the last axis, whatever that is: as in Keras."""
    x = RNG.standard_normal((2, 3, 4, 5)).astype("float32")
    arguments = {"filters": 2, "kernel_size": 2, "activation": "softmax", **FIRST}
    assert_near("sum", tf.reduce_sum(Conv2D(**arguments)(x), -1), np.ones((2, 2, 3)), 1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0, "kernel_size": 1}, "`filters`. Expected a strictly positive.*filters=0."),
        ({"filters": 1.5, "kernel_size": 1}, "Received filters=1.5"),
        ({"filters": 2, "kernel_size": (1, 0)}, r"`kernel_size` argument must be a tuple of 2"),
        ({"filters": 2, "kernel_size": 2, "strides": (1, 0)}, r"Received strides=\(1, 0\)"),
        (
            {"filters": 2, "kernel_size": 2, "strides": 2, "dilation_rate": (2, 1)},
            r"`strides > 1` not supported in.*strides=\(2, 2\) and dilation_rate=\(2, 1\)",
        ),
        ({"filters": 2, "kernel_size": 2, "groups": 0}, "must be a positive integer.*groups=0."),
        ({"filters": 5, "kernel_size": 2, "groups": 2}, "evenly divisible.*groups=2, filters=5."),
        ({"filters": 5, "kernel_size": 2, "padding": "causal"}, "`padding` argument.*causal"),
        ({"filters": 5, "kernel_size": 2, "data_format": "first"}, "`data_format` argument.*first"),
        (
            {"filters": 5, "kernel_size": 2, "lora_rank": 2},
            "does not have the argument `lora_rank`",
        ),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Conv2D(**arguments)


def test_wrong_inputs():
    with pytest.raises(ValueError, match="expected min_ndim=4, found ndim=3"):
        Conv2D(2, 3)(tf.zeros((2, 5, 3)))
    with pytest.raises(ValueError, match="must have a known size"):
        Conv2D(2, 3)(keras.Input((5, 5, None)))
    with pytest.raises(ValueError, match="groups=2, but the input has 3 channels"):
        Conv2D(2, 3, groups=2)(tf.zeros((2, 5, 5, 3)))
    with pytest.raises(ValueError, match="output size would be zero or negative"):
        Conv2D(2, 3, dilation_rate=2)(keras.Input((4, 9, 1)))
    layer = Conv2D(2, 3)
    layer(tf.zeros((2, 5, 5, 3)))
    with pytest.raises(ValueError, match="output size would be zero or negative"):
        layer(tf.zeros((2, 2, 5, 3)))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(tf.zeros((2, 5, 5, 4)))


def test_no_xla_in_the_graph():
    """Where Keras compiles (groups, 3D channels first), the graph stays plain and portable."""
    for layer, shape in (
        (Conv2D(4, 3, groups=2), (2, 5, 5, 2)),
        (Conv3D(4, 2, **FIRST), (2, 2, 3, 3, 3)),
    ):
        x = tf.zeros(shape)
        layer(x)
        graph = tf.function(layer).get_concrete_function(x).graph
        assert not [op.name for op in graph.get_operations() if "Call" in op.type]


def test_a_broken_backward_is_seen(monkeypatch):
    case = (Conv2D, (2, 4, 5, 2), {"kernel_size": 3, "padding": "same", "filters": 2})
    for name, gradient in (("conv", 0), ("conv", 1), ("add_bias", 1)):
        forward, right = getattr(conv, f"{name}_forward"), getattr(conv, f"{name}_backward")
        for mistake in (lambda g: 2 * g, lambda g: g[::-1], lambda g: -g):

            def backward(dy, cache, right=right, i=gradient, mistake=mistake, **options):
                gradients = list(right(dy, cache, **options))
                gradients[i] = mistake(gradients[i])
                return gradients

            with monkeypatch.context() as patch:
                patch.setattr(conv, name, with_backward(forward, backward))
                layer, arguments, x = make(case)
                with pytest.raises(AssertionError, match="against autodiff"):
                    check_backward(layer(**arguments, dtype="float64"), x)


def standardized(base):
    """A convolution whose kernel has the mean 0 and the variance 1 (Qiao et al., 1903.10520)."""

    class Standardized(base):
        def convolution_op(self, inputs, kernel):
            kernel = tf.convert_to_tensor(kernel)
            mean, variance = tf.nn.moments(kernel, [0, 1, 2], keepdims=True)
            return super().convolution_op(inputs, (kernel - mean) / tf.sqrt(variance + 1e-5))

    return Standardized


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_subclass_overrides_convolution_op(data_format):
    """Weight standardization, as in Keras's guide on subclassing convolutions, trains alike."""
    x = RNG.standard_normal((8, 6, 6, 3)).astype("float32")
    y = RNG.standard_normal((8, 1)).astype("float32")
    if data_format == "channels_first":
        x = np.moveaxis(x, -1, 1).copy()
    weights, ends = None, []
    for base in (Conv2D, keras.layers.Conv2D):
        layer = standardized(base)(5, 3, data_format=data_format, bias_initializer="normal")
        model = keras.Sequential([keras.Input(x.shape[1:]), layer, keras.layers.Flatten()])
        model.add(keras.layers.Dense(1))
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        losses = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
        ends.append([np.array(losses), *model.get_weights()])
    for ours, twin in zip(*ends, strict=True):
        assert_near("loss or weight", ours, twin, 1e-5)


@pytest.mark.parametrize(("layer", "shape"), ONE)
def test_convolution_op_is_called(layer, shape):
    class Silent(layer):
        def convolution_op(self, inputs, kernel):
            assert kernel.shape == self.kernel.shape
            return tf.zeros(self.compute_output_shape(inputs.shape))

    made = Silent(2, 2, bias_initializer="ones", data_format="channels_first", activation="relu")
    x = tf.ones((shape[0], shape[-1], *shape[1:-1]))
    assert (made(x).numpy() == 1).all()


def test_a_subclass_overrides_kernel():
    class Positive(Conv2D):
        @property
        def kernel(self):
            return tf.abs(tf.convert_to_tensor(super().kernel))

    layer = Positive(2, 2, use_bias=False)
    assert (layer(tf.ones((1, 3, 3, 1))).numpy() > 0).all()
    assert [w.name for w in layer.weights] == ["kernel"]


@pytest.mark.parametrize("layer", [Conv1D, Conv2D, Conv3D])
def test_the_kernel_of_an_unbuilt_layer(layer):
    with pytest.raises(AttributeError, match="You must build the layer before accessing `kernel`."):
        layer(3, 2).kernel  # noqa: B018


def test_integers_of_numpy():
    three, two = np.int64(3), np.int32(2)
    layer = Conv2D(np.int64(4), three, two, groups=np.uint8(2), dilation_rate=np.int64(1))
    assert layer(tf.ones((1, 7, 7, 4))).shape == (1, 3, 3, 4)
    plain = Conv2D(4, 3, 2, groups=2, name=layer.name).get_config()
    assert layer.get_config() == plain
    assert all(type(layer.get_config()[k]) is type(v) for k, v in plain.items())


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e-40])
def test_what_counts_shows_and_nothing_else(value, compiled):
    """The outputs of the windows that hold the value, and no others, have to do with it."""
    layer = Conv2D(2, 3, padding="same", kernel_initializer="ones")
    x = np.zeros((1, 6, 6, 1), "float32")
    layer(x)
    x[0, 1, 1] = value

    @tf.function(jit_compile=compiled)
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y)
        return y, tape.gradient(loss, [x, layer.trainable_variables[0].value])

    y, (dx, dw) = both(tf.constant(x))
    expected = np.zeros((1, 6, 6, 2), "float32")
    expected[:, :3, :3] = x[0, 1, 1]
    np.testing.assert_allclose(y, expected, atol=1e-39)  # a denormal may be flushed to 0
    assert np.isfinite(dx).all()
    np.testing.assert_array_equal(np.isfinite(dw), np.full((3, 3, 1, 2), np.isfinite(value)))


@pytest.mark.parametrize("layer", [Conv1D, Conv2D, Conv3D])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("zero", ["batch", "places", "channels"])
def test_sizes_of_0(layer, mode, zero):
    rank = layer.rank
    shape = (0 if zero == "batch" else 2, 0 if zero == "places" else 4, *(4,) * (rank - 1))
    x = tf.zeros((*shape, 0 if zero == "channels" else 3))
    made = layer(5, 2, padding="same", bias_initializer="ones", kernel_initializer="zeros")
    made.build(x.shape)

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = made(x)
        return y, tape.gradient(y, [x, *(w.value for w in made.trainable_variables)])

    run = both if mode == "eager" else tf.function(both, jit_compile=mode == "xla")
    y, (dx, dkernel, dbias) = run(x)
    assert y.shape == (*shape, 5)
    assert (y.numpy() == 1).all()
    assert dx.shape == x.shape
    assert not dkernel.numpy().any()
    assert (dbias.numpy() == np.prod(shape)).all()
