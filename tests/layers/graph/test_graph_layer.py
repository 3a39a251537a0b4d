"""What every graph layer promises about its inputs: one row a layer, the promises below."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers as cl
from custom_layers.checks import assert_near
from tests.six_nodes import (
    EDGES,
    LAYERS,
    NODES,
    PADDED_EDGES,
    WEIGHTED,
    randomized,
    slopes,
    with_values,
)

RNG = np.random.default_rng(0)


def pytest_generate_tests(metafunc):
    marked = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "name" in metafunc.fixturenames and "name" not in marked:
        metafunc.parametrize("name", LAYERS)


def test_renumbering_the_nodes_renumbers_the_output(name):
    inputs = with_values(name, NODES, EDGES)
    layer = randomized(LAYERS[name](dtype="float64"), inputs)
    order = np.array([3, 5, 0, 2, 1, 4])  # new row i is old row order[i]
    edges_order = RNG.permutation(len(EDGES))
    moved = [NODES[order], np.argsort(order)[EDGES][edges_order]]
    moved += [x[edges_order] for x in inputs[2:]]
    assert_near("output", layer(moved), tf.gather(layer(inputs), order))


def test_padding_changes_nothing(name):
    inputs, padded = with_values(name, NODES, EDGES), with_values(name, NODES, PADDED_EDGES)
    layer = randomized(LAYERS[name](dtype="float64"), inputs)
    y, gradients = slopes(layer, inputs)
    z, others = slopes(layer, padded)
    assert_near("output", z, y)
    kept = (PADDED_EDGES >= 0).all(1)
    for a, b in zip(others, gradients, strict=True):
        a = np.asarray(a)
        if a.shape[:1] == (12,):  # of edges
            assert not a[~kept].any()
            a = a[kept]
        assert_near("gradient", a, b)


def test_batched_is_flat(name):
    nodes = np.stack([NODES, NODES[::-1] + 1, 2 * NODES])
    edges = np.stack([PADDED_EDGES, PADDED_EDGES[::-1], np.full_like(PADDED_EDGES, -1)])
    batched = with_values(name, nodes, edges)
    layer = randomized(LAYERS[name](dtype="float64"), batched)
    y, gradients = slopes(layer, batched)
    assert y.shape[:2] == (3, 6)
    shifted = np.where(edges < 0, -1, edges + 6 * np.arange(3)[:, None, None])
    flat = [x.reshape(-1, *x.shape[2:]) for x in [nodes, shifted, *batched[2:]]]
    z, others = slopes(layer, flat)
    assert_near("output", tf.reshape(y, z.shape), z)
    for a, b in zip(gradients, others, strict=True):
        assert_near("gradient", tf.reshape(a, b.shape), b)
    for i in range(3):
        assert_near("alone", layer([x[i] for x in batched]), y[i])


@pytest.mark.parametrize("batched", [False, True])
def test_masked_nodes_are_not_there(name, batched):
    mask = np.array([1, 1, 0, 1, 1, 0], bool)
    left = np.flatnonzero(mask)
    kept = mask[EDGES].all(1)
    inputs = with_values(name, NODES, EDGES)
    small = [NODES[left], np.searchsorted(left, EDGES[kept])] + [x[kept] for x in inputs[2:]]
    layer = randomized(LAYERS[name](dtype="float64"), inputs)
    expected = np.zeros(layer(inputs).shape)
    expected[left] = layer(small)
    if batched:
        inputs, mask, expected = [x[None] for x in inputs], mask[None], expected[None]
    for given in (mask, [mask, None, None][: len(inputs)]):
        assert_near("output", layer(inputs, mask=given), expected)
    assert_near("no mask", layer(inputs, mask=[None] * len(inputs)), layer(inputs), 0)


def test_masks_travel_through_models(name):
    kinds = np.array([[3, 1, 2, 0], [1, 2, 3, 1]])
    edges = np.array([[[0, 1], [1, 2], [2, 3]], [[0, 1], [1, 2], [2, 3]]], "int32")
    shapes = [keras.Input((4,), dtype="int32"), keras.Input((3, 2), dtype="int32")]
    x = keras.layers.Embedding(4, 4, mask_zero=True)(shapes[0])
    third = with_values(name, np.zeros((2, 4, 1), "float32"), edges)[2:]
    more = [keras.Input(t.shape[1:], dtype=t.dtype.name) for t in third]
    first = LAYERS[name]()([x, shapes[1], *more])
    y = LAYERS[name](name="second")([first, shapes[1], *more])
    pooled = keras.layers.GlobalAveragePooling1D()(y)
    model = keras.Model([*shapes, *more], [y, pooled])
    y, pooled = model.predict([kinds, edges, *third], verbose=0)
    assert not y[0, 3].any()
    assert y[1, 3].any()
    assert_near("pooled", pooled[0], y[0, :3].mean(0), 1e-6)


def test_no_edges_and_no_nodes(name):
    inputs = with_values(name, NODES, EDGES)
    layer = randomized(LAYERS[name](dtype="float64"), inputs)
    nothing = [x[:0] for x in inputs[1:]]
    padding = [np.full_like(x, -1) if i == 0 else x for i, x in enumerate(inputs[1:])]
    y, gradients = slopes(layer, [NODES, *nothing])
    assert y.shape[0] == 6
    assert_near("padding only", layer([NODES, *padding]), y)
    assert all(np.isfinite(g).all() for g in gradients)
    y, gradients = slopes(layer, [NODES[:0], *nothing])
    assert y.shape[0] == 0
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_many_neighbors_in_half_precision(name, dtype):
    """A star of 3000 neighbors: the sums forward and backward do not get stuck."""
    nodes = (1 + 0.1 * RNG.standard_normal((3001, 4))).astype("float32")
    ends = np.stack([np.arange(1, 3001), np.zeros(3000, int)], 1)
    for edges in (ends, ends[:, ::-1]):
        inputs = with_values(name, nodes, edges)
        layer = LAYERS[name](dtype="float64")
        layer(inputs)
        half = LAYERS[name](dtype=dtype)
        half(inputs)
        small = [0.02 * RNG.standard_normal(w.shape) for w in layer.get_weights()]
        layer.set_weights(small)
        half.set_weights(small)
        assert_near("output", np.asarray(half(inputs), "float64"), layer(inputs), 2e-2)


@pytest.mark.parametrize("name", ["GraphConv", "GATv2Conv", "SAGEConv max", "RGCNConv"])
def test_compiled_fit_of_a_flat_graph(name):
    inputs = with_values(name, NODES.astype("float32"), PADDED_EDGES.astype("int32"))
    shapes = [keras.Input(batch_shape=(None, *x.shape[1:]), dtype=x.dtype.name) for x in inputs]
    results = []
    for compiled in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Model(shapes, cl.Dense(2)(LAYERS[name]()(shapes)))
        model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=compiled)
        data = tf.data.Dataset.from_tensors((tuple(inputs), np.ones((6, 2), "float32"))).repeat()
        history = model.fit(data, steps_per_epoch=3, epochs=2, shuffle=False, verbose=0)
        assert history.history["loss"][1] < history.history["loss"][0]
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        assert_near("weight", a, b, 1e-4)


@pytest.mark.parametrize("name", ["GraphConv", "GATv2Conv", "SAGEConv max", "GINConv"])
def test_a_flat_model_is_saved_and_exported(name, tmp_path):
    inputs = with_values(name, NODES.astype("float32"), PADDED_EDGES.astype("int32"))
    inputs = [x.astype("float32") if x.dtype == "float64" else x for x in inputs]
    shapes = [keras.Input(batch_shape=(None, *x.shape[1:]), dtype=x.dtype.name) for x in inputs]
    layer = LAYERS[name]()
    model = keras.Model(shapes, layer(shapes))
    expected, gradients = slopes(layer, inputs)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_near("reloaded", again(inputs), expected, 1e-6)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    x = tf.constant(inputs[0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.sin(loaded.serve([x, *inputs[1:]])))
    assert_near("gradient of the exported model", tape.gradient(loss, x), gradients[0], 1e-5)


@pytest.mark.parametrize("dtype", ["int64", "int16", "uint8"])
def test_any_integers_are_edges(name, dtype):
    inputs = with_values(name, NODES, EDGES)
    layer = LAYERS[name]()
    assert_near("output", layer([NODES, EDGES.astype(dtype), *inputs[2:]]), layer(inputs), 0)


@pytest.mark.parametrize("batched", [False, True])
def test_an_edge_to_nowhere_is_never_taken_for_another(name, batched):
    nodes, edges = NODES.astype("float32"), EDGES.astype("int32")
    if batched:  # node 6 of graph 0 would be node 0 of graph 1
        nodes, edges = np.stack([nodes, nodes]), np.stack([edges, edges])
    inputs = with_values(name, nodes, edges)
    layer = LAYERS[name]()
    layer(inputs)
    wrong = edges.copy()
    wrong[..., 3, 1] = 6
    wrong = [tf.constant(x) for x in [nodes, wrong, *inputs[2:]]]
    for function in (layer, tf.function(layer)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="points at a node that does not exist"
        ):
            function(wrong)
    assert np.isnan(tf.function(layer, jit_compile=True)(wrong)).all()


def test_inputs_that_do_not_fit(name):
    def attempt(nodes, edges, message):
        third = with_values(name, NODES, EDGES)[2:]
        with pytest.raises(ValueError, match=message):
            LAYERS[name]()([nodes, edges, *third])

    attempt(NODES, EDGES.astype("float32"), "edges of .* must be integers")
    attempt(NODES, EDGES.T, r"edges of .* must have the shape \(E, 2\)")
    attempt(NODES[None], EDGES, r"edges of .* must have the shape \(B, E, 2\)")
    attempt(NODES[0], EDGES, r"nodes of .* must have the shape")
    attempt(NODES.astype("int32"), EDGES, "nodes of .* must be floating point")
    with pytest.raises(ValueError, match=r"called on a list \[nodes, edges\]"):
        LAYERS[name]()(NODES)
    layer, inputs = LAYERS[name](), with_values(name, NODES, EDGES)
    layer(inputs)
    with pytest.raises(ValueError, match="was built for nodes of 4 features"):
        layer([NODES[:, :3], *inputs[1:]])


def test_batches_that_do_not_fit():
    with pytest.raises(ValueError, match="batch of nodes and of edges"):
        cl.GraphConv(3)([np.stack([NODES] * 3), np.stack([EDGES] * 2)])
    with pytest.raises(ValueError, match="third input of GraphConv"):
        cl.GraphConv(3)([NODES[None], EDGES[None], np.ones(8)])


def test_a_mask_of_one_graph_is_that_of_all(name):
    nodes, edges = np.stack([NODES, NODES + 1]), np.stack([EDGES, EDGES[::-1]])
    inputs = with_values(name, nodes, edges)
    layer = randomized(LAYERS[name](), inputs)
    mask = np.array([[1, 1, 0, 1, 1, 0]], bool)
    expected = layer(inputs, mask=np.repeat(mask, 2, 0))
    assert_near("output", layer(inputs, mask=mask), expected, 0)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "float64", "float16"])
@pytest.mark.parametrize("name", [*sorted(WEIGHTED), "EdgeConv"])
def test_any_numbers_are_weights(name, dtype):
    values = np.array([1, 0, 2, 1, 1, 3, 0, 1]).astype(dtype)
    values = np.stack([values] * 2, 1) if name == "EdgeConv" else values
    floats = [NODES, EDGES, values.astype("float32")]
    layer = randomized(LAYERS[name](), floats)
    assert_near("output", layer([NODES, EDGES, values]), layer(floats), 0)


def test_weights_that_are_no_numbers():
    with pytest.raises(ValueError, match="edge_weights of GraphConv must be numbers.*complex64"):
        cl.GraphConv(3)([NODES, EDGES, np.ones(8, "complex64")])


def test_what_is_no_array_yet():
    """Each error says what would be right."""

    def attempt(edges, message):
        with pytest.raises(ValueError, match=message):
            cl.GraphConv(3)([NODES, edges])

    networkx, sparse = pytest.importorskip("networkx"), pytest.importorskip("scipy.sparse")
    to_edges = r"custom_layers.graphs.to_edges\(graph\)"
    attempt(networkx.path_graph(6), to_edges)
    attempt(sparse.eye(6), to_edges)
    attempt(tf.sparse.eye(6), to_edges)
    attempt([(0, 1), (1, 2)], r"`numpy.array\(...\)` makes one of a list. Received: a list")
    attempt(np.eye(6, dtype=int), "to_edges` makes them of an adjacency matrix")
    attempt(EDGES.T, r"two rows, sources and targets: pass `edges.T`")
    with pytest.raises(tf.errors.InvalidArgumentError, match="subtract 1 from edges that count"):
        cl.GraphConv(3)([NODES, EDGES + 2])


def test_numpy_integers_are_arguments():
    three = np.int64(3)
    layers = [
        cl.GraphConv(three), cl.GATConv(three, heads=three), cl.ChebConv(three, K=three),
        cl.SGConv(three, K=three), cl.APPNP(three), cl.RGCNConv(three, three, num_bases=three),
        cl.SAGEConv(three), cl.GraphSumPooling(three), cl.EmbeddingBag(three, three),
    ]  # fmt: skip
    for layer in layers:
        saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
        again = keras.saving.deserialize_keras_object(saved)
        assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("make", [cl.GINConv, cl.EdgeConv])
def test_the_network_is_called_as_it_is(make):
    """What a subclass of a layer, of Keras or here, overrides is what is called."""

    class Twice(cl.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    plain, twice = make(cl.Dense(3)), make(Twice(3))
    plain([NODES, EDGES])
    twice([NODES, EDGES])
    twice.set_weights(plain.get_weights())
    assert_near("output", twice([NODES, EDGES]), 2 * plain([NODES, EDGES]), 1e-6)


TWO_REPLICAS = """
import sys; sys.path[:0] = [""]
import keras, numpy as np, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.layers.graph import test_graph_layer as t

rng = np.random.default_rng(0)
nodes = rng.standard_normal((8, 6, 4)).astype("float32")
edges = rng.integers(-1, 6, (8, 9, 2)).astype("int32")
targets = rng.standard_normal((8, 6, 2)).astype("float32")

def train(name, scope):
    inputs = t.with_values(name, nodes, edges)
    inputs = [x.astype("float32") if x.dtype == "float64" else x for x in inputs]
    with scope:
        keras.utils.set_random_seed(0)
        shapes = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
        model = keras.Model(shapes, t.cl.Dense(2)(t.LAYERS[name]()(shapes)))
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.fit(inputs, targets, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()

strategy = tf.distribute.MirroredStrategy(
    ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
)
import contextlib
for name in ["GATConv", "SAGEConv max"]:
    one = train(name, contextlib.nullcontext())
    two = train(name, strategy.scope())
    for a, b in zip(one, two, strict=True):
        assert np.abs(a - b).max() < 1e-5, name
print("equal")
"""


def test_two_replicas_train_like_one():
    root = pathlib.Path(__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        cwd=root,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip().endswith("equal"), result.stderr[-2000:]


def test_inputs_of_unknown_rank():
    layer = cl.GraphConv(2)
    layer.build([(3, 4), (5, 2)])
    unknown = [tf.TensorSpec(None, tf.float32), tf.TensorSpec((None, 2), tf.int32)]
    with pytest.raises(ValueError, match="GraphConv must know whether its inputs are flat or"):
        tf.function(lambda *x: layer(list(x))).get_concrete_function(*unknown)
