"""EdgeConv: the equation of the paper, edge by edge."""

import keras
import numpy as np
import pytest

from custom_layers.checks import assert_near, check_backward
from custom_layers.core.dense import Dense
from custom_layers.graph.edge_conv import EdgeConv
from tests.six_nodes import EDGES, NODES, PADDED_EDGES, randomized

FEATURES = np.random.default_rng(9).standard_normal((len(EDGES), 2))
PADDED_FEATURES = np.insert(FEATURES, [0, 3, 3, 8], 9.0, axis=0)


def network():
    return keras.Sequential(
        [Dense(5, "tanh", dtype="float64"), Dense(3, dtype="float64")], name="network"
    )


@pytest.mark.parametrize("featured", [False, True])
@pytest.mark.parametrize("aggregate", ["max", "mean", "sum"])
def test_equation_and_backward(aggregate, featured):
    inputs = [NODES, EDGES, FEATURES] if featured else [NODES, EDGES]
    layer = randomized(EdgeConv(network(), aggregate, dtype="float64"), inputs)
    u, b, v, c = layer.network.get_weights()
    messages = [[] for _ in range(6)]
    for e, (s, t) in enumerate(EDGES):
        row = [NODES[t], NODES[s] - NODES[t]] + ([FEATURES[e]] if featured else [])
        messages[t].append(np.tanh(np.concatenate(row) @ u + b) @ v + c)
    expected = [getattr(np, aggregate)(m, 0) if m else np.zeros(3) for m in messages]
    expected = np.stack(expected)
    assert_near("output", layer(inputs), expected)
    padded = [NODES, PADDED_EDGES, PADDED_FEATURES] if featured else [NODES, PADDED_EDGES]
    assert_near("padded", layer(padded), expected)
    # Two equal messages of a repeated edge are equal maxima: differences see no derivative there.
    once = [x[[0, 1, 2, 3, 5, 6, 7]] if i else x for i, x in enumerate(inputs)]
    check_backward(layer, once if aggregate == "max" else padded)


def test_the_maximum_is_the_default():
    keras.utils.set_random_seed(3)
    layers = [EdgeConv(Dense(3), **kind) for kind in ({}, {"aggregate": "max"})]
    layers[1]([NODES, EDGES])
    layers[0]([NODES, EDGES])
    layers[0].set_weights(layers[1].get_weights())
    assert_near("output", layers[0]([NODES, EDGES]), layers[1]([NODES, EDGES]), 0)


def test_the_network_is_saved_with_it(tmp_path):
    inputs = [keras.Input((4,)), keras.Input((2,), dtype="int32"), keras.Input((2,))]
    layer = EdgeConv(network(), "sum")
    model = keras.Model(inputs, layer(inputs))
    randomized(layer, [NODES, EDGES, FEATURES])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = [NODES, EDGES, FEATURES]
    assert_near("output", again(inputs), model(inputs), 0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`network` must be a Keras layer or model.*16"):
        EdgeConv(16)
    with pytest.raises(ValueError, match="`aggregate`.*'min'"):
        EdgeConv(Dense(3), "min")
    with pytest.raises(ValueError, match="third input of EdgeConv must have a value for each edge"):
        EdgeConv(Dense(3))([NODES, EDGES, FEATURES[:, 0]])
