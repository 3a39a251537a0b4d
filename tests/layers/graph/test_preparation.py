"""Graphs: conversions, checks, samples and batches of edges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers import graphs
from custom_layers.checks import assert_near
from tests.six_nodes import EDGES, NODES, PADDED_EDGES, PADDED_WEIGHTS, WEIGHTS, dense, randomized


def test_edges_of_matrices():
    matrix = np.array([[0, 2.0, 0], [0, 0, 0], [0.5, 0, 1]])
    edges, weights = graphs.to_edges(matrix)
    assert edges.tolist() == [[0, 1], [2, 0], [2, 2]]
    assert weights.tolist() == [2, 0.5, 1]
    assert (edges.dtype, weights.dtype) == ("int32", "float32")
    sparse = pytest.importorskip("scipy.sparse")
    for form in (sparse.csr_matrix, sparse.coo_array, sparse.csc_matrix):
        for a, b in zip(graphs.to_edges(form(matrix)), (edges, weights), strict=True):
            assert sorted(a.tolist()) == sorted(b.tolist())
    for wrong in (np.zeros((2, 3)), np.zeros(4)):
        with pytest.raises(ValueError, match="must be square"):
            graphs.to_edges(wrong)


def test_edges_of_networkx():
    networkx = pytest.importorskip("networkx")
    graph = networkx.Graph()
    graph.add_nodes_from("abc")
    graph.add_edge("a", "c", weight=2.0)
    graph.add_edge("b", "b")
    edges, weights = graphs.to_edges(graph)
    assert edges.tolist() == [[0, 2], [2, 0], [1, 1]]
    assert weights.tolist() == [2, 2, 1]
    edges, _ = graphs.to_edges(networkx.DiGraph([("x", "y")]))
    assert edges.tolist() == [[0, 1]]
    assert graphs.to_edges(networkx.Graph())[0].shape == (0, 2)


def test_check_edges_names_the_edge():
    graphs.check_edges(PADDED_EDGES, 6)
    graphs.check_edges(np.zeros((0, 2), int), 0)
    with pytest.raises(ValueError, match=r"Edge 3 is \[3, 1\], but there are 3 nodes, 0 to 2 \(4 "):
        graphs.check_edges(EDGES, 3)
    with pytest.raises(ValueError, match=r"Edge \(1, 0\) is \[0, 9\]"):
        graphs.check_edges([[[0, 1]], [[0, 9]]], 3)
    with pytest.raises(ValueError, match="seem to count from 1: subtract 1"):
        graphs.check_edges(PADDED_EDGES[(PADDED_EDGES >= 0).all(1)] % 5 + 1, 5)
    for wrong in ([[0.0, 1.0]], [0, 1], [[0, 1, 2]]):
        with pytest.raises(ValueError, match="rows \\(source, target\\) of integers"):
            graphs.check_edges(wrong, 3)


def test_reverse_edges():
    edges, weights = graphs.add_reverse_edges(EDGES, WEIGHTS)
    a = dense(edges)
    assert ((a == 0) | (a == 1)).all()
    assert (a == a.T).all()
    assert ((a > 0) == (dense() + dense().T > 0)).all()
    assert weights[:4].tolist() == WEIGHTS[:4].tolist()
    assert graphs.add_reverse_edges(EDGES).tolist() == edges.tolist()


@pytest.mark.parametrize("normalize", ["symmetric", "row", None])
@pytest.mark.parametrize("add_self_loops", [False, True])
@pytest.mark.parametrize("weights", [None, PADDED_WEIGHTS], ids=["ones", "weights"])
def test_normalized_once_is_normalized_in_the_layer(normalize, add_self_loops, weights):
    options = {"normalize": normalize, "add_self_loops": add_self_loops}
    given = [PADDED_EDGES] if weights is None else [PADDED_EDGES, weights]
    layer = randomized(custom_layers.GraphConv(3, **options), [NODES, *given])
    other = custom_layers.GraphConv(3, normalize=None, add_self_loops=False)
    once = graphs.normalize_edges(PADDED_EDGES, 6, weights, **options)
    other([NODES, *once])
    other.set_weights(layer.get_weights())
    assert_near("output", other([NODES, *once]), layer([NODES, *given]), 1e-6)


def test_normalize_is_one_of_three():
    with pytest.raises(ValueError, match="argument `normalize`.*'both'"):
        graphs.normalize_edges(EDGES, 6, normalize="both")


RNG = np.random.default_rng(0)
MANY = RNG.integers(0, 50, (400, 2))


def test_sampling_everything_gives_the_rows_of_the_whole_graph():
    features = RNG.standard_normal((50, 4)).astype("float32")
    seeds = np.array([7, 3, 44])
    nodes, edges, rows = graphs.sample_neighbors(
        graphs.incoming_edges(MANY, 50), seeds, [None, None]
    )
    assert nodes[:3].tolist() == seeds.tolist()
    assert len(set(nodes.tolist())) == len(nodes)
    assert (nodes[edges] == MANY[rows]).all()
    layers = [custom_layers.SAGEConv(5, "relu"), custom_layers.SAGEConv(2)]
    whole, part = features, features[nodes]
    for layer in layers:
        whole = randomized(layer, [whole, MANY])([whole, MANY])
        part = layer([part, edges])
    assert_near("seeds", part[:3], tf.gather(whole, seeds), 1e-5)


def test_samples_are_small_and_fair():
    index = graphs.incoming_edges(MANY, 50)
    degree = np.bincount(MANY[:, 1], minlength=50)
    often = np.zeros(400)
    for seed in range(300):
        _, edges, rows = graphs.sample_neighbors(index, np.arange(50), [3], seed=seed)
        assert (np.bincount(edges[:, 1], minlength=50) == np.minimum(degree, 3)).all()
        assert len(set(rows.tolist())) == len(rows)
        often[rows] += 1
    expected = 300 * np.minimum(degree, 3) / np.maximum(degree, 1)
    assert np.abs(often - expected[MANY[:, 1]]).max() < 60  # 7 standard deviations
    again = graphs.sample_neighbors(index, np.arange(50), [3], seed=seed)
    assert (again[1] == edges).all()
    _, edges, _ = graphs.sample_neighbors(index, [5], [2, 2, 2], seed=1)
    assert len(edges) <= 2 + 4 + 8
    assert graphs.sample_neighbors(index, [5], [])[1].shape == (0, 2)
    lonely = graphs.incoming_edges(np.zeros((0, 2), int), 3)
    assert graphs.sample_neighbors(lonely, [1], [2, 2])[0].tolist() == [1]
    with pytest.raises(ValueError, match="must be different nodes"):
        graphs.sample_neighbors(index, [5, 5], [2])


def test_sampling_in_a_pipeline():
    index = graphs.incoming_edges(MANY, 50)
    seeds = tf.data.Dataset.range(50).shuffle(50).batch(16)
    types = [tf.int64, tf.int64, tf.int64]
    batches = seeds.map(
        lambda s: tf.numpy_function(lambda s: graphs.sample_neighbors(index, s, [4, 2]), [s], types)
    )
    for nodes, edges, rows in batches:
        assert (nodes.numpy()[edges] == MANY[rows]).all()


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
    batches = list(graphs.pack(dataset, 2))
    assert [len(y) for _, y in batches] == [2, 2, 1]
    assert len(list(graphs.pack(dataset, 2, drop_remainder=True))) == 2
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
    batches = [x for x, _ in graphs.pack(dataset, 2, pad_to=pad_to)]
    assert {len(x["nodes"]) for x in batches} == {len(x["graph_ids"]) for x in batches} == nodes
    assert {len(x["edges"]) for x in batches} == {len(x["edge_weights"]) for x in batches} == edges
    assert [(x["graph_ids"].numpy() >= 0).sum() for x in batches] == [4, 7]
    assert [(x["edges"].numpy() >= 0).all(1).sum() for x in batches] == [4, 11]


@pytest.mark.parametrize("compiled", [False, True])
def test_packed_graphs_train(compiled):
    alone = list(small_graphs([(3, 4), (1, 0), (5, 9), (2, 2)] * 5))
    dataset = tf.data.Dataset.from_generator(lambda: iter(alone), output_signature=SIGNATURE)
    batches = graphs.pack(dataset, 4, drop_remainder=True)
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
    packed = next(iter(graphs.pack(tf.data.Dataset.from_tensor_slices(data), 3)))
    assert packed["edges"].numpy().tolist() == [
        [0, 1], [-1, -1], [4, 5], [-1, -1], [8, 9], [-1, -1], [-1, -1], [-1, -1]
    ]  # fmt: skip
    assert packed["node_kind"].numpy().tolist() == [*range(12), 0, 0, 0, 0]
    assert packed["temperature"].numpy().tolist() == [0, 1, 2]
    assert packed["num_nodes"].numpy().tolist() == [4, 4, 4]
