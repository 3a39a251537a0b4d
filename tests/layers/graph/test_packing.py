"""pack: batches of small graphs are these graphs, and few shapes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near
from custom_layers.graph.packing import pack

RNG = np.random.default_rng(0)


def small_graphs(sizes):
    for i, (n, e) in enumerate(sizes):
        edges = RNG.integers(0, max(n, 1), (e, 2)).astype("int32")
        nodes = RNG.standard_normal((n, 3)).astype("float32")
        weights = RNG.random(e).astype("float32")
        yield {"nodes": nodes, "edges": edges, "edge_weights": weights}, np.float32(i)


SIGNATURE = (
    {
        "nodes": tf.TensorSpec((None, 3)),
        "edges": tf.TensorSpec((None, 2), tf.int32),
        "edge_weights": tf.TensorSpec((None,)),
    },
    tf.TensorSpec(()),
)


def model():
    nodes = keras.Input((3,), name="nodes")
    edges = keras.Input((2,), dtype="int32", name="edges")
    weights = keras.Input((), name="edge_weights")
    ids = keras.Input((), dtype="int32", name="graph_ids")
    num_nodes = keras.Input((), dtype="int32", name="num_nodes")
    x = custom_layers.GraphConv(5, "relu")([nodes, edges, weights])
    x = custom_layers.GraphAveragePooling()([x, ids, num_nodes])
    y = keras.layers.Reshape(())(custom_layers.Dense(1)(x))
    return keras.Model([nodes, edges, weights, ids, num_nodes], y)


def test_packed_graphs_are_the_graphs_alone():
    alone = list(small_graphs([(3, 4), (1, 0), (5, 9), (2, 2), (4, 3)]))
    dataset = tf.data.Dataset.from_generator(lambda: iter(alone), output_signature=SIGNATURE)
    network = model()
    batches = list(pack(dataset, 2))
    assert [len(y) for _, y in batches] == [2, 2, 1]
    assert len(list(pack(dataset, 2, drop_remainder=True))) == 2
    i = 0
    for x, labels in batches:
        assert len(x["nodes"]) in (4, 8)
        assert len(x["edges"]) == len(x["edge_weights"])
        assert (x["graph_ids"].numpy() >= 0).sum() == x["num_nodes"].numpy().sum()
        for y, label in zip(network(x), labels, strict=True):
            one, expected = alone[i]
            assert label == expected
            size = len(one["nodes"])
            one = {**one, "graph_ids": np.zeros(size, "int32"), "num_nodes": np.array([size])}
            assert_near("output", y, network(one)[0], 1e-5)
            i += 1


@pytest.mark.parametrize(
    ("pad_to", "nodes", "edges"), [((5, 10), {5, 8}, {10, 16}), ((20, 1), {20}, {4, 16})]
)
def test_packed_to_given_sizes(pad_to, nodes, edges):
    alone = list(small_graphs([(3, 4), (1, 0), (5, 9), (2, 2)]))
    dataset = tf.data.Dataset.from_generator(lambda: iter(alone), output_signature=SIGNATURE)
    batches = [x for x, _ in pack(dataset, 2, pad_to=pad_to)]
    assert {len(x["nodes"]) for x in batches} == {len(x["graph_ids"]) for x in batches} == nodes
    assert {len(x["edges"]) for x in batches} == {len(x["edge_weights"]) for x in batches} == edges
    assert [(x["graph_ids"].numpy() >= 0).sum() for x in batches] == [4, 7]
    assert [(x["edges"].numpy() >= 0).all(1).sum() for x in batches] == [4, 11]


@pytest.mark.parametrize("compiled", [False, True])
def test_packed_graphs_train(compiled):
    alone = list(small_graphs([(3, 4), (1, 0), (5, 9), (2, 2)] * 5))
    dataset = tf.data.Dataset.from_generator(lambda: iter(alone), output_signature=SIGNATURE)
    batches = pack(dataset, 4, drop_remainder=True)
    network = model()
    network.compile("adam", "mse", jit_compile=compiled)
    # 20 graphs from Python: Keras cannot know that they are 5 batches.
    data = batches.repeat()
    history = network.fit(data, steps_per_epoch=5, epochs=2, shuffle=False, verbose=0)
    history = history.history["loss"]
    assert history[1] < history[0]
    assert network.predict(data, steps=5, verbose=0).shape == (20,)


def test_graphs_of_one_size_and_extra_features():
    data = {
        "nodes": np.ones((6, 4, 3), "float32"),
        "edges": np.tile(np.array([[0, 1], [-1, 2]], "int32"), (6, 1, 1)),
        "node_kind": np.arange(24).reshape(6, 4),
        "temperature": np.arange(6.0),
    }
    packed = next(iter(pack(tf.data.Dataset.from_tensor_slices(data), 3)))
    assert packed["edges"].numpy().tolist() == [
        [0, 1], [-1, -1], [4, 5], [-1, -1], [8, 9], [-1, -1], [-1, -1], [-1, -1]
    ]  # fmt: skip
    assert packed["node_kind"].numpy().tolist() == [*range(12), 0, 0, 0, 0]
    assert packed["temperature"].numpy().tolist() == [0, 1, 2]
    assert packed["num_nodes"].numpy().tolist() == [4, 4, 4]
