"""GRU: its gradients are its derivatives, and it drops in for keras.layers.GRU."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.gradients import with_backward
from custom_layers.recurrent.gru import GRU, GRUCell

X = np.random.default_rng(0).standard_normal((3, 4, 2))
DROPOUT = {"use_bias": False, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 1}
MASK = tf.constant([[True, True, False, True], [False, False, True, True], [False] * 4])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def numpy_gru(x, kernel, recurrent_kernel, bias, reset_after):
    """The equations, one gate at a time."""
    w, u = (np.split(v, 3, -1) for v in (kernel, recurrent_kernel))
    b = np.split(bias if reset_after else np.stack([bias, 0 * bias]), 3, -1)
    h = np.zeros((len(x), u[0].shape[0]))
    for x_t in np.swapaxes(x, 0, 1):
        a = [x_t @ w[k] + b[k][0] for k in range(3)]
        p = [h @ u[k] + b[k][1] for k in range(3)]
        z, r = sigmoid(a[0] + p[0]), sigmoid(a[1] + p[1])
        g = np.tanh(a[2] + (r * p[2] if reset_after else (r * h) @ u[2]))
        h = z * h + (1 - z) * g
    return h


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_equations(reset_after):
    layer = GRU(3, dtype="float64", bias_initializer="normal", reset_after=reset_after)
    expected = layer(X)
    weights = layer.get_weights()
    assert_near("output", numpy_gru(X, *weights, reset_after), expected)


ACTIVATIONS = [
    ("tanh", "sigmoid"),
    ("relu", "linear"),
    ("softmax", tf.sin),
    ("elu", "hard_sigmoid"),
]


@pytest.mark.parametrize(
    ("activation", "recurrent_activation"),
    ACTIVATIONS,
    ids=lambda f: getattr(f, "__name__", str(f)),
)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"reset_after": False},
        {"use_bias": False, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 1},
    ],
    ids=str,
)
def test_backward(activation, recurrent_activation, arguments):
    layer = GRU(
        3,
        activation=activation,
        recurrent_activation=recurrent_activation,
        dtype="float64",
        return_sequences=True,
        bias_initializer="normal",
        **arguments,
    )
    check_backward(layer, X, mask=MASK, training=True)


@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 1, 1), (2, 7, 3)], ids=str)
def test_backward_at_odd_shapes(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    check_backward(GRU(5, dtype="float64", return_state=True), x)


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3},
        {"units": 1, "use_bias": False, "activation": "relu", "return_sequences": True},
        {
            "units": 4,
            "kernel_regularizer": "l1",
            "recurrent_constraint": "non_neg",
            **{"reset_after": False},
        },
        {
            "units": 2,
            "recurrent_activation": "hard_sigmoid",
            "return_state": True,
            "go_backwards": True,
        },
        {"units": 3, "dtype": "mixed_bfloat16", "unroll": True, "zero_output_for_mask": True},
        {"units": 3, "dtype": "mixed_float16", "return_sequences": True, "recurrent_dropout": 0.5},
        {"units": 2, "dtype": "float64", "activation": "gelu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "mask"])
def test_twin(arguments, mask):
    call = {} if mask is None else {"mask": mask}
    check_twin(GRU, keras.layers.GRU, arguments, X.astype("float32"), **call)


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16"])
@pytest.mark.parametrize("arguments", [{}, {"reset_after": False}], ids=str)
def test_cell_twin(dtype, arguments):
    cells = [cls(3, dtype=dtype, **arguments) for cls in (GRUCell, keras.layers.GRUCell)]
    states = [np.ones((3, 3), "float32")] * len(cells[0].get_initial_state(3))
    for cell in cells:
        cell(X[:, 0], states)
    cells[0].set_weights(cells[1].get_weights())
    results = [tf.nest.flatten(cell(X[:, 0], states)) for cell in cells]
    for a, b in zip(*results, strict=True):
        assert_near("output", a, b)
    again = keras.layers.GRUCell.from_config(cells[0].get_config())
    assert again.get_config() == {**cells[1].get_config(), "name": cells[0].name}
    assert [w.path for w in cells[0].weights] == [
        w.path.replace(cells[1].name, cells[0].name) for w in cells[1].weights
    ]


def test_signature():
    check_signature(GRU, keras.layers.GRU)
    check_signature(GRUCell, keras.layers.GRUCell)


def test_weight_paths():
    paths = []
    for cls in (GRU, keras.layers.GRU):
        model = keras.Sequential([keras.Input((4, 2)), cls(3, name="layer")])
        paths.append([w.path.partition("/")[2] for w in model.weights])
    assert paths[0] == paths[1]


@pytest.mark.parametrize("which", [0, 1, 4], ids=["dx", "dkernel", "drecurrent"])
def test_a_broken_backward_is_seen(monkeypatch, which):
    whole = GRUCell.loop

    def backward(dy, cache, **options):
        gradients = list(whole.backward(dy, cache, **options))
        gradients[which] = gradients[which] * 1.001
        return gradients

    monkeypatch.setattr(GRUCell, "loop", staticmethod(with_backward(whole.forward, backward)))
    with pytest.raises(AssertionError, match="gradient of"):
        check_backward(GRU(3, dtype="float64"), X)
