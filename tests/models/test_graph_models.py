"""Models of graphs: as with keras.layers, saved whole, the papers' formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers import APPNP, GATConv, GraphConv, SAGEConv, SGConv
from custom_layers.checks import assert_near
from custom_layers.graphs import pack
from models.graph_classifier import graph_classifier
from models.node_classifier import node_classifier
from models.recommender import recommender

RNG = np.random.default_rng(0)
FEATURES, CLASSES, NODES = 9, 3, 7
IDS = np.where(RNG.random((NODES, 4)) < 0.7, RNG.integers(0, FEATURES, (NODES, 4)), -1)
WORDS = RNG.random((NODES, 4)).astype("float32")
EDGES = np.array([[0, 1], [1, 0], [1, 2], [2, 1], [3, 4], [4, 3], [0, 5], [5, 0], [2, 5]])
GRAPH = [IDS.astype("int32"), WORDS, EDGES.astype("int32")]  # node 6 is alone
LABELS = RNG.integers(0, CLASSES, NODES)


def small_graphs():
    """Three graphs, the second without nodes, in one padded batch."""
    sizes, edges = (3, 0, 2), ([[0, 1], [1, 0], [1, 2], [2, 1]], [], [[0, 1], [1, 0]])

    def examples():
        random = np.random.default_rng(1)
        for size, rows in zip(sizes, edges, strict=True):
            nodes = random.standard_normal((size, 4)).astype("float32")
            yield {"nodes": nodes, "edges": np.array(rows, "int32").reshape(-1, 2)}, size % 2

    spec = {"nodes": tf.TensorSpec((None, 4)), "edges": tf.TensorSpec((None, 2), tf.int32)}
    dataset = tf.data.Dataset.from_generator(
        examples, output_signature=(spec, tf.TensorSpec((), tf.int64))
    )
    return next(iter(pack(dataset, 3)))


def of_nodes(conv, **sizes):
    def build(**options):
        return node_classifier(FEATURES, CLASSES, conv=conv, **sizes, **options)

    return build, lambda: (GRAPH, LABELS)


MODELS = {
    "GraphConv": of_nodes(GraphConv, units=5),
    "GATConv": of_nodes(GATConv, units=3, heads=2, last_heads=2),
    "SAGEConv": of_nodes(SAGEConv, units=5),
    "SGConv": of_nodes(SGConv),
    "APPNP": of_nodes(APPNP, units=5, K=3),
    "graph_classifier": (
        lambda **options: graph_classifier(4, 2, units=(5,), **options),
        small_graphs,
    ),
    "recommender": (
        lambda **options: recommender(NODES, units=4, **options),
        lambda: (
            [
                np.array([0, 1, 0], "int32"),
                np.array([[5, 3], [2, 6], [4, 3]], "int32"),
                np.arange(NODES, dtype="int32"),
                GRAPH[2],
            ],
            np.zeros(3, "int32"),
        ),
    ),
}


SHORT = ("GraphConv", "graph_classifier", "recommender")  # the other convolutions are as the first


@pytest.fixture(
    params=[n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in MODELS]
)
def row(request):
    return MODELS[request.param]


def compiled(model, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=model.name == "recommender")
    model.compile(keras.optimizers.SGD(0.1), loss, weighted_metrics=["accuracy"], **options)
    return model


def one(x, y):
    return tf.data.Dataset.from_tensors((tuple(x) if isinstance(x, list) else x, y))


def test_fit_evaluate_predict_and_train_on_from_a_file(row, tmp_path):
    build, batch = row
    x, y = batch()
    model = compiled(build())
    history = model.fit(one(x, y).repeat(), steps_per_epoch=2, epochs=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()
    figures = model.evaluate(one(x, y), verbose=0, return_dict=True)
    assert figures.keys() == {"loss", "accuracy"}
    probabilities = model.predict(one(x, y), verbose=0)
    assert_near("predict_on_batch", probabilities, model.predict_on_batch(x), 1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_near("reloaded", again.predict_on_batch(x), probabilities, 1e-6)
    assert again.train_on_batch(x, y)


def test_compiled_by_xla(row):
    build, batch = row
    x, y = batch()
    model = build(dropout=0.0)
    start = model.get_weights()
    losses = []
    for jit in (False, True):
        model.set_weights(start)
        compiled(model, jit_compile=jit)
        losses.append([model.train_on_batch(x, y)[0] for _ in range(2)])
    assert_near("losses", losses[0], losses[1], 1e-4)


def test_node_classifier_is_the_dense_formula():
    """GraphConv: Â relu(Â X W) V with X as a matrix."""
    model = node_classifier(FEATURES, CLASSES, units=5)
    w, v = model.get_weights()
    x = np.zeros((NODES, FEATURES))
    for n in range(NODES):
        for i, value in zip(IDS[n], WORDS[n], strict=True):
            x[n, i] += value * (i >= 0)
    a = np.eye(NODES)
    for s, t in EDGES:
        a[t, s] += 1
    d = a.sum(1) ** -0.5
    a = d[:, None] * a * d
    scores = a @ np.maximum(a @ x @ w, 0) @ v
    exponential = np.exp(scores)
    expected = exponential / exponential.sum(1, keepdims=True)
    assert_near("probabilities", model.predict_on_batch(GRAPH), expected, 1e-5)


def test_unknown_convolution():
    with pytest.raises(ValueError, match="`conv` must be one of GraphConv, GATConv, SAGEConv"):
        node_classifier(3, 2, conv=custom_layers.ChebConv)


def test_padding_and_neighbors_in_a_batch_change_nothing():
    """A graph is classified alike alone and beside others; in training too: no batch statistics."""
    (x, _), model = small_graphs(), graph_classifier(4, 2, units=(5,))
    whole = model.predict_on_batch(x)
    alone = {
        "nodes": x["nodes"][:3],
        "edges": x["edges"][:4],
        "graph_ids": x["graph_ids"][:3],
        "num_nodes": x["num_nodes"][:1],
    }
    assert_near("alone", model.predict_on_batch(alone), whole[:1], 1e-5)
    short = {
        "nodes": x["nodes"][:5],
        "edges": x["edges"][:6],
        "graph_ids": x["graph_ids"][:5],
        "num_nodes": x["num_nodes"],
    }
    assert len(x["nodes"]) == 8
    keras.utils.set_random_seed(0)
    padded = graph_classifier(4, 2, units=(5,), dropout=0.0)
    assert_near("training", padded(short, training=True), padded(x, training=True), 1e-5)


def test_nodes_without_a_place_are_ids_of_a_table():
    x, _ = small_graphs()
    nodes = tf.constant([[0, 4], [1, 5], [2, 4], [3, 5], [0, 5], [0, 4], [0, 4], [0, 4]])
    model = graph_classifier(6, 3, units=(5, 5), categorical=2, tasks=True)
    answers = model.predict_on_batch({**x, "nodes": nodes})
    assert answers.shape == (3, 3, 1)
    assert (answers > 0).all()
    assert (answers < 1).all()


def test_recommender_is_bayesian_personalized_ranking():
    build, batch = MODELS["recommender"]
    x, y = batch()
    model = build(l2=0.0)
    a = np.zeros((NODES, NODES))
    for s, t in EDGES:
        a[t, s] += 1
    d = np.where(a.sum(1) > 0, np.maximum(a.sum(1), 1) ** -0.5, 0)
    a = d[:, None] * a * d
    embeddings = model.get_weights()[0]
    e = sum(np.linalg.matrix_power(a, k) @ embeddings for k in range(4)) / 4
    expected = np.einsum("bf,bkf->bk", e[x[0]], e[x[1]])
    scores = model.predict_on_batch(x)
    assert_near("scores", scores, expected, 1e-5)
    loss = np.mean(np.log1p(np.exp(-(expected[:, 0] - expected[:, 1]))))
    figures = compiled(model).evaluate(one(x, y), verbose=0, return_dict=True)
    assert figures["loss"] == pytest.approx(loss, rel=1e-5)
