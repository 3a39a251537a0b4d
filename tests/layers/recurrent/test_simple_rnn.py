"""SimpleRNN: its gradients are its derivatives, and it drops in for keras.layers.SimpleRNN."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.gradients import with_backward
from custom_layers.recurrent.simple_rnn import SimpleRNN, SimpleRNNCell

X = np.random.default_rng(0).standard_normal((3, 4, 2))
TWINS = (SimpleRNNCell, keras.layers.SimpleRNNCell)
DROPOUT = {"use_bias": False, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 1}
MASK = tf.constant([[True, True, False, True], [False, False, True, True], [False] * 4])


def numpy_simple_rnn(x, kernel, recurrent_kernel, bias):
    h = np.zeros((len(x), len(recurrent_kernel)))
    for x_t in np.swapaxes(x, 0, 1):
        h = np.tanh(x_t @ kernel + bias + h @ recurrent_kernel)
    return h


def test_the_equations():
    layer = SimpleRNN(3, dtype="float64", bias_initializer="normal")
    expected = layer(X)
    assert_near("output", numpy_simple_rnn(X, *layer.get_weights()), expected)


@pytest.mark.parametrize(
    "activation",
    ["tanh", "relu", "softmax", tf.sin, None],
    ids=lambda f: getattr(f, "__name__", str(f)),
)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_bias": False, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 1},
    ],
    ids=str,
)
def test_backward(activation, arguments):
    layer = SimpleRNN(
        3,
        activation=activation,
        dtype="float64",
        return_sequences=True,
        bias_initializer="normal",
        **arguments,
    )
    check_backward(layer, X, mask=MASK, training=True)


@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 1, 1), (2, 7, 3)], ids=str)
def test_backward_at_odd_shapes(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    check_backward(SimpleRNN(5, dtype="float64", return_state=True), x)


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3},
        {"units": 1, "use_bias": False, "activation": "relu", "return_sequences": True},
        {
            "units": 4,
            "kernel_regularizer": "l1",
            "recurrent_constraint": "non_neg",
            **{"activation": None},
        },
        {"units": 2, "return_state": True, "go_backwards": True},
        {"units": 3, "dtype": "mixed_bfloat16", "unroll": True, "zero_output_for_mask": True},
        {"units": 3, "dtype": "mixed_float16", "return_sequences": True, "recurrent_dropout": 0.5},
        {"units": 2, "dtype": "float64", "activation": "gelu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "mask"])
def test_twin(arguments, mask):
    call = {} if mask is None else {"mask": mask}
    check_twin(SimpleRNN, keras.layers.SimpleRNN, arguments, X.astype("float32"), **call)


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16"])
@pytest.mark.parametrize("arguments", [{}, {"activation": "relu"}], ids=str)
def test_cell_twin(dtype, arguments):
    cells = [
        cls(3, dtype=dtype, **arguments) for cls in (SimpleRNNCell, keras.layers.SimpleRNNCell)
    ]
    states = [np.ones((3, 3), "float32")] * len(cells[0].get_initial_state(3))
    for cell in cells:
        cell(X[:, 0], states)
    cells[0].set_weights(cells[1].get_weights())
    results = [tf.nest.flatten(cell(X[:, 0], states)) for cell in cells]
    for a, b in zip(*results, strict=True):
        assert_near("output", a, b)
    again = keras.layers.SimpleRNNCell.from_config(cells[0].get_config())
    assert again.get_config() == {**cells[1].get_config(), "name": cells[0].name}
    assert [w.path for w in cells[0].weights] == [
        w.path.replace(cells[1].name, cells[0].name) for w in cells[1].weights
    ]


def test_signature():
    check_signature(SimpleRNN, keras.layers.SimpleRNN)
    check_signature(SimpleRNNCell, keras.layers.SimpleRNNCell)


def test_weight_paths():
    paths = []
    for cls in (SimpleRNN, keras.layers.SimpleRNN):
        model = keras.Sequential([keras.Input((4, 2)), cls(3, name="layer")])
        paths.append([w.path.partition("/")[2] for w in model.weights])
    assert paths[0] == paths[1]


def test_seed_is_in_the_config():
    """Keras's SimpleRNN forgets it."""
    assert SimpleRNN.from_config(SimpleRNN(3, seed=5).get_config()).cell.seed == 5
    assert "seed" not in keras.layers.SimpleRNN(3, seed=5).get_config()


@pytest.mark.parametrize("which", [0, 1, 4], ids=["dx", "dkernel", "drecurrent"])
def test_a_broken_backward_is_seen(monkeypatch, which):
    whole = SimpleRNNCell.loop

    def backward(dy, cache, **options):
        gradients = list(whole.backward(dy, cache, **options))
        gradients[which] = gradients[which] * 1.001
        return gradients

    monkeypatch.setattr(SimpleRNNCell, "loop", staticmethod(with_backward(whole.forward, backward)))
    with pytest.raises(AssertionError, match="gradient of"):
        check_backward(SimpleRNN(3, dtype="float64"), X)
