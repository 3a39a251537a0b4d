"""What every layer promises: `check_layer` over the rows of `every_layer.py`."""

import json

import keras
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import ALL, assert_near, check_layer
from tests.promises.every_layer import ROWS

# A cell in Keras's loop: of a SavedModel that was loaded again, TensorFlow cannot differentiate a
# custom gradient inside of a loop. A cell in the RNN of this package has no loop around its own.
CELLS = ("LSTMCell", "GRUCell", "SimpleRNNCell")
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv2D in groups, channels first", "Conv3D")
EXCEPT = {
    **{name: {"saved_model"} for name in CELLS},
    # Where the batch is unknown, oneDNN's kernels give an empty one the shape of the input.
    **dict.fromkeys(CONVOLUTIONS, ("empty_batch",)),
    # As Keras's: its mean over time is one over all steps, masked ones too.
    "LayerNormalization over time": {"masks"},
    "GroupNormalization": {"masks"},
    # Renormalized by r and d, which by definition have no derivative (Ioffe, 2017).
    "BatchNormalization channels first": {"gradient", "second_derivative"},
    **{  # nodes of several graphs are no batch
        f"Graph{kind}Pooling": {"batch_of_one", "replicas"}
        for kind in ("Sum", "Average", "Max", "Attention")
    },
}
# Of a class that has another row, or that consists of what has one, what is traced and compiled
# again can wait; the tests of the layer prove its derivatives.
SECOND = (
    *(name for name in ROWS if " " in name),
    *(*CELLS, "RNN", "SGConv", "ChebConv", "APPNP"),
)
NAMES = [promise.__name__ for promise in ALL]
LATER = ("gradient", "second_derivative", "autodiff_agrees", "compiled", "precision")


def prove(name, promises):
    row, twin = ROWS[name], getattr(keras.layers, name.partition(" ")[0], None)
    if not type(row.make()).__module__.startswith("custom_layers"):
        twin = None  # a cell, in Keras's loop
    promises = [promise for promise in promises if promise not in EXCEPT.get(name, ())]
    report = check_layer(row.make, row.inputs, twin=twin, promises=promises)
    report.raise_if_broken()
    return report


@pytest.mark.parametrize("name", ROWS)
def test_promises(name):
    report = prove(name, [p for p in NAMES if not (p in LATER and name in SECOND)])
    assert axes_that_may_be_unknown(report) >= set(ROWS[name].free_axes)


@pytest.mark.long
@pytest.mark.parametrize("name", SECOND)
def test_promises_that_can_wait(name):
    prove(name, LATER)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_in_the_loop_of_keras_is_served(name, tmp_path):
    row = ROWS[name]
    model = row.model()
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    assert_near("output", loaded.serve(row.inputs), model(row.inputs), 1e-6)


def axes_that_may_be_unknown(report):
    note = report["unknown_sizes"].note
    return set(json.loads(note[note.index("[") : note.index("]") + 1]))


def test_no_layer_is_forgotten():
    layers = {
        value.__name__
        for value in vars(custom_layers).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    assert layers == {name.partition(" ")[0] for name in ROWS}
