"""Graph pooling: one row for each graph, by loops."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.graph.graph_pooling import (
    GraphAttentionPooling,
    GraphAveragePooling,
    GraphMaxPooling,
    GraphSumPooling,
)

NODES = np.random.default_rng(0).standard_normal((7, 3))
IDS = np.array([2, 0, -1, 2, 4, 0, 2])
LAYERS = [GraphSumPooling, GraphAveragePooling, GraphMaxPooling, GraphAttentionPooling]


def attend(rows, layer):
    p = np.exp(rows @ layer.kernel.numpy())
    return (p / p.sum() * rows).sum(0)


POOL = {
    GraphSumPooling: lambda rows, layer: rows.sum(0),
    GraphAveragePooling: lambda rows, layer: rows.mean(0),
    GraphMaxPooling: lambda rows, layer: rows.max(0),
    GraphAttentionPooling: attend,
}


@pytest.mark.parametrize("make", LAYERS)
def test_equation_and_backward(make):
    layer = make(5, dtype="float64")
    y = layer([NODES, IDS])
    rows = [NODES[g == IDS] for g in range(5)]
    expected = np.stack([POOL[make](r, layer) if len(r) else np.zeros(3) for r in rows])
    assert_near("output", y, expected)
    check_backward(layer, [NODES, IDS])
    other = make(dtype="float64")
    other([NODES, IDS, np.zeros(5)])
    other.set_weights(layer.get_weights())
    for per_graph in (np.zeros(5), np.zeros((5, 2), "int32")):
        assert_near("third input", other([NODES, IDS, per_graph]), expected)


@pytest.mark.parametrize("make", LAYERS)
def test_masked_nodes_take_no_part(make):
    layer = make(5)
    mask = np.array([1, 1, 1, 0, 0, 1, 1], bool)
    expected = layer([NODES, np.where(mask, IDS, -1)])
    assert_near("output", layer([NODES, IDS], mask=[mask, None]), expected, 0)


@pytest.mark.parametrize("make", LAYERS)
def test_compiled_number_of_graphs_comes_from_the_third_input(make):
    layer = make()
    inputs = [tf.constant(NODES, tf.float32), tf.constant(IDS), tf.zeros(5)]
    expected = layer(inputs)
    compiled = tf.function(lambda *x: layer(list(x)), jit_compile=True)
    assert_near("output", compiled(*inputs), expected, 1e-6)
    assert np.isnan(compiled(*inputs[:2], tf.zeros(4))).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="not below the number of graphs"):
        layer([*inputs[:2], tf.zeros(4)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_graphs_in_half_precision(dtype):
    nodes, ids = tf.ones((3000, 2), dtype), tf.zeros(3000, tf.int32)
    for make in (GraphAveragePooling, GraphAttentionPooling):
        assert_near("mean", make(1, dtype=dtype)([nodes, ids]), np.ones((1, 2)), 4e-3)
    total = GraphSumPooling(1, dtype=dtype)([nodes, ids])
    assert bool(tf.reduce_all(total == tf.cast(3000.0, dtype)))


@pytest.mark.parametrize("make", LAYERS)
def test_wrong_inputs(make):
    with pytest.raises(ValueError, match="`num_graphs` must be a positive integer"):
        make(0)
    for number, inputs in ((None, [NODES, IDS]), (5, [NODES, IDS, np.zeros(5)])):
        with pytest.raises(ValueError, match="either the argument `num_graphs` or a third input"):
            make(number)(inputs)
    for inputs in (NODES, [NODES, IDS[:, None]], [NODES[None], IDS]):
        with pytest.raises(ValueError, match=r"is called on \[nodes, graph_ids\]"):
            make(5)(inputs)
    with pytest.raises(ValueError, match="graph_ids must be integers"):
        make(5)([NODES, IDS.astype("float32")])
