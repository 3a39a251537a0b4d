"""GINConv: the equation of the paper, written densely at six nodes."""

import keras
import numpy as np
import pytest

from custom_layers.checks import assert_near
from custom_layers.core.dense import Dense
from custom_layers.graph.gin_conv import GINConv
from tests.six_nodes import EDGES, NODES, WEIGHTS, check_equation, dense, randomized, six_nodes


def network():
    return keras.Sequential(
        [Dense(5, "tanh", dtype="float64"), Dense(3, dtype="float64")], name="network"
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("train_epsilon", [False, True])
def test_equation_and_backward(weighted, train_epsilon):
    layer = GINConv(network(), epsilon=0.3, train_epsilon=train_epsilon, dtype="float64")
    layer(six_nodes(weighted))
    if train_epsilon:
        assert_near("where ε starts", layer.epsilon_weight, 0.3, 1e-6)
    randomized(layer, six_nodes(weighted))
    epsilon = layer.epsilon_weight.numpy() if train_epsilon else 0.3
    assert len(layer.weights) == 4 + train_epsilon
    a = dense(weights=WEIGHTS if weighted else None)
    u, b, v, c = layer.network.get_weights()
    expected = np.tanh(((1 + epsilon) * np.eye(6) + a) @ NODES @ u + b) @ v + c
    check_equation(layer, weighted, expected)


def test_a_trained_epsilon_starts_where_it_should():
    layer = GINConv(network(), epsilon=0.3, train_epsilon=True)
    layer.build([(6, 4), (8, 2)])
    assert_near("epsilon", layer.epsilon_weight, np.float32(0.3), 0)


def test_the_network_is_saved_with_it(tmp_path):
    inputs = [keras.Input((4,)), keras.Input((2,), dtype="int32")]
    functional = keras.Input((4,))
    functional = keras.Model(functional, Dense(2)(functional))
    for inner in (network(), functional, Dense(2)):
        layer = GINConv(inner, train_epsilon=True)
        model = keras.Model(inputs, layer(inputs))
        randomized(layer, [NODES, EDGES])
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        assert_near("output", again([NODES, EDGES]), model([NODES, EDGES]), 0)
        assert len(again.trainable_weights) == len(model.trainable_weights)


def test_batch_normalization_inside_knows_of_training():
    layer = GINConv(keras.Sequential([Dense(3), keras.layers.BatchNormalization()]))
    before = layer([NODES, EDGES], training=False)
    layer([NODES, EDGES], training=True)
    assert np.abs(layer([NODES, EDGES], training=False) - before).max() > 1e-3


def test_network_must_be_a_layer():
    with pytest.raises(ValueError, match="`network` must be a Keras layer or model.*16"):
        GINConv(16)
