"""Activation, ReLU, LeakyReLU, Softmax: gradients, and Keras's behavior, masks and corners."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import Activation, LeakyReLU, ReLU, Softmax
from custom_layers.activations.activations import relu
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin

SHAPES = [(5, 7), (1, 1), (0, 3), (2, 3, 5), (3,)]
RELUS = [  # corners that float32 can represent: Keras rounds them to it
    {},
    {"negative_slope": 0.2},
    {"max_value": 0.75},
    {"max_value": 0.0, "negative_slope": 0.5},
    {"threshold": 0.25},
    {"threshold": 0.25, "negative_slope": 1.5, "max_value": 0.875},
    {"threshold": 1.0, "max_value": 0.5, "negative_slope": 0.1},
    {"max_value": 6},
]


def normal(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("arguments", RELUS, ids=str)
def test_relu_backward(shape, arguments):
    check_backward(ReLU(dtype="float64", **arguments), normal(shape))


@pytest.mark.parametrize("slope", [0, 0.3, 1, 2.5])
def test_leaky_relu_backward(slope):
    check_backward(LeakyReLU(slope, dtype="float64"), normal((5, 7)))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5, 7), -1),
        ((2, 3, 5), 1),
        ((2, 3, 5), [2]),
        ((2, 3, 5), (1, 2)),
        ((2, 3, 5, 2), (3, 1)),
        ((0, 3), -1),
        ((3,), 0),
        ((1, 1), -1),
    ],
    ids=str,
)
def test_softmax_backward(shape, axis):
    layer, x = Softmax(axis, dtype="float64"), 3 * normal(shape)
    check_backward(layer, x)
    mask = np.random.default_rng(1).random(shape) < 0.6
    check_backward(layer, x, mask=mask)
    check_backward(layer, x, mask=np.zeros_like(mask))


def test_activation_backward():
    check_backward(Activation("gelu", dtype="float64"), normal((5, 7)))
    check_backward(Activation(relu, dtype="float64"), normal((5, 7)))


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16"])
@pytest.mark.parametrize("arguments", RELUS, ids=str)
def test_relu_twin(arguments, dtype):
    x = 3 * normal((4, 5)).astype("float32")
    check_twin(ReLU, keras.layers.ReLU, {**arguments, "dtype": dtype}, x)


@pytest.mark.parametrize(
    ("slope", "dtype"), [(0.0, "bfloat16"), (0.3, "float32"), (0.3, "float16"), (2, "float64")]
)
def test_leaky_relu_twin(slope, dtype):
    arguments = {"negative_slope": slope, "dtype": dtype}
    check_twin(LeakyReLU, keras.layers.LeakyReLU, arguments, normal((4, 5)))


@pytest.mark.parametrize(
    ("axis", "dtype"),
    [(-1, "float32"), (1, "mixed_float16"), ([1], "float64"), ([1, 2], "mixed_bfloat16")],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
def test_softmax_twin(axis, masked, dtype):
    x = 3 * normal((4, 5, 3)).astype("float32")
    call = {"mask": np.random.default_rng(1).random(x.shape) < 0.6} if masked else {}
    check_twin(Softmax, keras.layers.Softmax, {"axis": axis, "dtype": dtype}, x, **call)


@pytest.mark.parametrize(
    ("name", "dtype"), [("relu", "float32"), ("softmax", "mixed_float16"), (None, "float64")]
)
def test_activation_twin(name, dtype):
    arguments = {"activation": name, "dtype": dtype}
    check_twin(Activation, keras.layers.Activation, arguments, normal((4, 5)).astype("float32"))


@pytest.mark.parametrize("ours", [Activation, ReLU, LeakyReLU, Softmax])
def test_signature(ours):
    check_signature(ours, getattr(keras.layers, ours.__name__))


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(), Softmax(), Activation("relu")])
def test_built_at_once(layer):
    assert layer.built
    assert layer.supports_masking


@pytest.mark.parametrize(
    ("arguments", "slopes"),
    [
        ({}, [0, 0, 1, 1]),
        ({"negative_slope": 0.5}, [0.5, 0.5, 1, 1]),
        ({"max_value": 2.0}, [0, 0, 1, 0]),
        ({"max_value": 6}, [0, 0, 1, 1]),
    ],
    ids=str,
)
def test_corners(arguments, slopes):
    """Zeros are common inputs: there the derivative is that of Keras."""
    x = tf.constant([-1.0, 0.0, 1.0, 2.0])
    for cls in (ReLU, keras.layers.ReLU) if arguments != {"max_value": 2.0} else (ReLU,):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = cls(**arguments)(x)
        assert tape.gradient(y, x).numpy().tolist() == slopes


@pytest.mark.parametrize("arguments", RELUS, ids=str)
def test_infinities(arguments):
    x = np.array([-np.inf, np.inf], "float32")
    y = ReLU(**arguments)(x).numpy()
    assert (y == keras.layers.ReLU(**arguments)(x).numpy()).all()


def test_relu_keeps_integers():
    y = ReLU()(tf.constant([-2, 3]))
    assert y.dtype == tf.int32
    assert y.numpy().tolist() == [0, 3]


def test_large_logits():
    x = tf.constant([[1e4, 1e4 - 1, -1e4], [-1e30, -1e30, -1e38]])
    for axis in (-1, (-1,), (1,)):
        y = Softmax(axis)(x).numpy()
        assert_near("softmax", y[0], np.array([0.7310586, 0.2689414, 0], "float32"))
        assert_near("softmax", y[1], np.array([0.5, 0.5, 0], "float32"))
    # Keras puts -1e9 in place of the masked ones, and keeps those instead of these.
    y = Softmax()(x, mask=np.array([True, True, False])).numpy()
    assert_near("softmax", y[1], np.array([0.5, 0.5, 0], "float32"))


@pytest.mark.parametrize("mask", [[1, 0, 1], [1.0, 0.2, 0.9], [True, False, True]], ids=str)
def test_masks_of_all_kinds(mask):
    y = Softmax()(np.array([[1.0, 5.0, 1.0]]), mask=np.array([mask]))
    assert y.numpy().tolist() == [[0.5, 0, 0.5]]


def test_logits_are_handed_to_the_loss():
    """-log y of a y that rounds to 0 is known if the loss sees x."""
    x, target = tf.constant([[200.0, 0.0]]), tf.constant([[0.0, 1.0]])
    loss = keras.losses.CategoricalCrossentropy()
    for layer in (Softmax(), keras.layers.Softmax()):
        assert loss(target, layer(x)).numpy() == 200


def test_wrong_masks():
    with pytest.raises(ValueError, match="must not have more dimensions"):
        Softmax()(tf.zeros((2, 3)), mask=tf.ones((1, 2, 3)))
    with pytest.raises(ValueError, match="Each mask dimension must be 1 or match"):
        Softmax()(tf.zeros((1, 3)), mask=tf.ones((2, 3)))


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (ReLU, {"max_value": -1}, "max_value of a ReLU .* Received: max_value=-1"),
        (ReLU, {"negative_slope": -1}, "negative_slope of a ReLU .* negative_slope=-1"),
        (ReLU, {"negative_slope": None}, "negative_slope of a ReLU .* cannot be None"),
        (ReLU, {"threshold": None}, "threshold of a ReLU .* cannot be None"),
        (LeakyReLU, {"negative_slope": None}, "negative_slope value of a Leaky ReLU"),
        (LeakyReLU, {"negative_slope": -0.1}, "Received: negative_slope=-0.1"),
        (Activation, {"activation": "relo"}, "Could not interpret activation .*relo"),
    ],
    ids=str,
)
def test_wrong_arguments(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)


def test_former_name_of_the_slope():
    assert LeakyReLU(alpha=0.1).negative_slope == 0.1
