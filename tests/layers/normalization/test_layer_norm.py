"""LayerNormalization: its gradients are its derivatives, and it drops in for Keras's."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.gradients import with_backward
from custom_layers.normalization.layer_norm import LayerNormalization, layer_norm

Twin = keras.layers.LayerNormalization

CASES = [  # input shape, arguments
    ((5, 7), {}),
    ((1, 3), {"scale": False}),
    ((0, 3), {}),
    ((0, 3), {"scale": False, "center": False}),
    ((2, 3, 5), {"center": False, "epsilon": 0.1}),
    ((2, 3, 5), {"axis": 1}),
    ((2, 3, 5), {"axis": [1, 2]}),
    ((2, 3, 5), {"axis": [-1, -2], "scale": False, "center": False}),
    ((3, 2, 5, 2), {"axis": [1, 3]}),
    ((3, 2, 5, 2), {"axis": [-1, 1]}),
    ((2, 3, 2, 2, 3), {"axis": (2, 3), "epsilon": 1e-6}),
    ((4, 1), {}),
    ((7,), {"axis": 0}),
    ((3, 5), {"axis": 0}),
    ((2, 3, 5), {"rms_scaling": True}),
    ((2, 3, 5), {"rms_scaling": True, "axis": [1, 2], "scale": False}),
]


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def make(cls=LayerNormalization, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `rms_scaling` is deprecated
        return cls(**arguments)


@pytest.mark.parametrize(("shape", "arguments"), CASES, ids=str)
def test_backward(shape, arguments):
    random = {"gamma_initializer": "normal", "beta_initializer": "normal"}
    check_backward(make(dtype="float64", **random, **arguments), draw(shape))


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
@pytest.mark.parametrize(("shape", "arguments"), CASES, ids=str)
def test_twin(shape, arguments):
    for i, dtype in enumerate(["float32", "mixed_float16", "mixed_bfloat16", "bfloat16"]):
        options = [
            {},
            {"gamma_regularizer": "l1", "beta_constraint": "non_neg"},
            {"gamma_initializer": "normal", "beta_regularizer": "l2"},
            {"beta_initializer": "ones", "gamma_constraint": "unit_norm"},
        ][i]
        if shape == (7,):  # without a batch there is no Input, hence no weight file
            layer, twin = (make(c, dtype=dtype, **arguments) for c in (LayerNormalization, Twin))
            assert_near("output", layer(draw(shape)), twin(draw(shape)))
        else:
            arguments = {"dtype": dtype, **options, **arguments}
            check_twin(LayerNormalization, Twin, arguments, draw(shape, "float32") + 3)


def test_signature():
    check_signature(LayerNormalization, Twin)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("arguments", [{}, {"axis": 1}, {"axis": [1, 2], "center": False}], ids=str)
def test_graphs_of_unknown_shape(arguments, compiled):
    """Also the second derivative, in a graph and compiled."""
    layer = LayerNormalization(dtype="float64", gamma_initializer="normal", **arguments)
    layer.build((None, 3, 5))

    def penalty(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(tf.sin(layer(x)))
            slope = inner.gradient(y, x)
            total = tf.reduce_sum(slope**2)
        return slope, outer.gradient(total, x)

    run = tf.function(
        penalty, input_signature=[tf.TensorSpec((None, None, 5), tf.float64)], jit_compile=compiled
    )
    for batch in (0, 1, 4):
        x = tf.constant(draw((batch, 3, 5)))
        for a, b in zip(run(x), penalty(x), strict=True):
            assert_near("derivative", a, b)


def test_axis_of_unknown_size():
    plain = {"axis": 1, "scale": False, "center": False}
    outputs = []
    for cls in (LayerNormalization, Twin):
        node = keras.Input((None, 4))
        outputs.append(keras.Model(node, cls(**plain)(node))(draw((2, 3, 4), "float32")))
    assert_near("output", *outputs)
    with pytest.raises(ValueError, match="must have a known size"):
        LayerNormalization(axis=1)(keras.Input((None, 4)))


def test_sixteen_bits_sum_in_thirty_two():
    """Squares of 300 overflow in float16; a mean of 257 does not exist in bfloat16."""
    x = np.tile(np.array([[-300.0, 300.0]]), (1, 512))
    y = LayerNormalization(dtype="mixed_float16")(tf.cast(x, "float16"))
    assert_near("float16", y, np.sign(x).astype("float16"))
    odd = np.arange(1000)[None] % 2
    y = LayerNormalization(dtype="mixed_bfloat16")(tf.cast(256 + 2 * odd, "bfloat16"))
    assert_near("bfloat16", y, tf.cast(2 * odd - 1, "bfloat16"))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_a_float32_input_is_not_rounded_first(dtype):
    """Numbers around 1000 that differ by less than 16 bits can tell."""
    x = 1000 + 0.01 * draw((4, 6), "float32")
    expected = LayerNormalization(epsilon=1e-12)(x)
    assert_near("y", LayerNormalization(epsilon=1e-12, dtype=dtype)(x), expected, 2e-2)


def test_a_large_mean_does_not_drown_the_variance():
    x = draw((64, 100))
    y = LayerNormalization()(tf.constant(x + 1000, "float32"))
    expected = LayerNormalization(dtype="float64")(x + 1000)
    assert_near("output", y, expected, 1e-3)


def test_mask_is_handed_on():
    model = keras.Sequential([keras.layers.Masking(), LayerNormalization()])
    x = draw((2, 3, 4), "float32")
    x[0, 1:] = 0
    assert model(x)._keras_mask.numpy().tolist() == [[True, False, False], [True, True, True]]


def test_config_keeps_rms_scaling():
    with pytest.warns(UserWarning, match="`rms_scaling=True`, which is deprecated"):
        layer = LayerNormalization(rms_scaling=True)
    layer.build((2, 3))
    assert [w.name for w in layer.weights] == ["gamma"]
    assert make(LayerNormalization.from_config, config=layer.get_config()).rms_scaling
    assert make(Twin.from_config, config=layer.get_config()).get_config() == layer.get_config()


def test_errors():
    for axis in ({"axis": -1}, 1.5, None):
        with pytest.raises(TypeError, match="Expected an int or a list/tuple of ints for the arg"):
            LayerNormalization(axis=axis)
    for axis in (2, -3, [0, 2]):
        with pytest.raises(ValueError, match=r"Axis -?\d is out of bounds for input shape"):
            LayerNormalization(axis=axis)(tf.zeros((2, 3)))


@pytest.mark.parametrize("part", range(3))
def test_a_broken_backward_is_seen(monkeypatch, part):
    def backward(dy, cache, **options):
        gradients = list(layer_norm.backward(dy, cache, **options))
        gradients[part] *= 1.001
        return gradients

    monkeypatch.setattr(
        "custom_layers.normalization.layer_norm.layer_norm",
        with_backward(layer_norm.forward, backward),
    )
    with pytest.raises(AssertionError, match="gradient of"):
        check_backward(LayerNormalization(dtype="float64"), draw((3, 5)))
