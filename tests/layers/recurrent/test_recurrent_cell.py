"""RecurrentCell: weights, dropout masks and their life time."""

import numpy as np
import pytest

import custom_layers
from custom_layers.recurrent.recurrent_cell import forget_dropout_masks

X = np.ones((2, 3), "float32")


@pytest.fixture(params=["LSTMCell", "GRUCell", "SimpleRNNCell"])
def cell(request):
    return getattr(custom_layers, request.param)


def test_masks_stay_until_forgotten(cell):
    layer = cell(64, dropout=0.5, recurrent_dropout=0.5, seed=1)
    states = [np.ones((2, 64), "float32")] * layer.state_count
    first = layer(X, states, training=True)[0].numpy()
    again = layer(X, states, training=True)[0].numpy()
    forget_dropout_masks(layer)
    other = layer(X, states, training=True)[0].numpy()
    assert (first == again).all()
    assert (first != other).any()
    assert (layer(X, states)[0].numpy() != other).any()


def test_number_of_masks(cell):
    gates = cell.gates
    for implementation, count in ((2, None), (1, gates if gates > 1 else None)):
        layer = cell(2, implementation=implementation)
        assert getattr(layer, "dropout_mask_count", None) == count
    assert cell(2, recurrent_dropout=0.1).implementation == 1


def test_rates_are_clipped(cell):
    layer = cell(2, dropout=1.5, recurrent_dropout=-1)
    assert (layer.dropout, layer.recurrent_dropout) == (1.0, 0.0)


def test_states(cell):
    layer = cell(2, dtype="mixed_float16")
    states = layer.get_initial_state(batch_size=3)
    assert {(tuple(s.shape), s.dtype.name) for s in states} == {((3, 2), "float16")}
    assert len(states) == layer.state_count
    alone = [np.zeros((2, 2), "float32")]
    if len(states) == 1:  # a single state need not be in a list
        y, state = layer(X, alone[0])
        assert state is y


def test_no_two_rules_of_dropout(cell):
    """All inputs gone: what remains is the bias."""
    layer = cell(2, dropout=0.999999, seed=1, bias_initializer="zeros")
    states = layer.get_initial_state(2)
    empty = layer(0 * X, states, training=True)[0]
    np.testing.assert_allclose(layer(X, states, training=True)[0], empty, atol=1e-6)
