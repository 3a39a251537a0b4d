"""Graph layers and numbers: long sums of 16 bits, sizes of 0, NaN, infinities, what padding holds.

The rule: what counts shows, in the rows that it reaches and in no others; what is masked or padding
has no influence, whatever it holds.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import custom_layers as cl
from custom_layers.checks import assert_near
from custom_layers.graph import segments
from custom_layers.graph.sage_conv import normalize_rows
from tests.six_nodes import EDGES, LAYERS, NODES, PADDED_EDGES, randomized, with_values

POOLING = {
    "GraphSumPooling": cl.GraphSumPooling,
    "GraphAveragePooling": cl.GraphAveragePooling,
    "GraphMaxPooling": cl.GraphMaxPooling,
    "GraphAttentionPooling": cl.GraphAttentionPooling,
}
MODES = {
    "eager": lambda f: f,
    "graph": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}
LARGE = 50_000  # in bfloat16 so many ones add up to 256, in float16 to 2048


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", LAYERS)
    if "mode" in metafunc.fixturenames:
        # The table of all layers in tests/promises has every mode of sums, sizes and extremes.
        once = {"test_sizes_of_0": ["graph"], "test_sums_of_50000": ["eager"],
                "test_features_of_any_scale": ["eager"]}  # fmt: skip
        slow = pytest.param("xla", marks=pytest.mark.long)  # compiles each case for a second
        modes = [slow if mode == "xla" else mode for mode in MODES]
        metafunc.parametrize("mode", once.get(metafunc.function.__name__, modes))


def results_of(layer, mode, mask=None, loss=tf.sin):
    """inputs -> the output, and the gradients of Σ loss(y) in inputs and weights by name."""

    def step(*inputs):
        points = [x for x in inputs if x.dtype.is_floating]
        points += [w.value for w in layer.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = layer(list(inputs), **({} if mask is None else {"mask": mask}))
            total = tf.reduce_sum(loss(tf.cast(y, tf.float64)))
        return y, tape.gradient(total, points, unconnected_gradients="zero")

    step = MODES[mode](step)  # one trace for all inputs of these sizes

    def run(inputs):
        inputs = [tf.convert_to_tensor(x) for x in inputs]
        names = [i for i, x in enumerate(inputs) if x.dtype.is_floating]
        names += [w.name for w in layer.trainable_weights]
        y, gradients = step(*inputs)
        return y, dict(zip(names, map(tf.convert_to_tensor, gradients), strict=True))

    return run


def run(layer, inputs, mode, mask=None, loss=tf.sin):
    return results_of(layer, mode, mask, loss)(inputs)


def half_and_exact(make, inputs, dtype):
    """The layer under a policy of 16 bits and in float64, with equal weights: multiples of 1/8."""
    layers = [make(dtype=d) for d in (f"mixed_{dtype}", "float64")]
    for layer in layers:
        layer(inputs)
    rng = np.random.default_rng(1)
    weights = [rng.integers(1, 4, w.shape) / 8 for w in layers[0].trainable_weights]
    for layer in layers:
        for weight, value in zip(layer.trainable_weights, weights, strict=True):
            weight.assign(value)
    return layers


def same_sums(layers, inputs, mode, loss):
    (y, gradients), (exact, others) = (run(x, inputs, mode, loss=loss) for x in layers)
    assert_near("output", np.asarray(y, "float64"), exact, 2e-2)
    for (key, a), b in zip(gradients.items(), others.values(), strict=True):
        assert_near(f"gradient of {key}", np.asarray(a, "float64"), b, 2e-2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("outward", [False, True])
def test_sums_of_50000(name, dtype, outward, mode):
    """All nodes to one, or one to all: then the sum is in the backward."""
    nodes = np.ones((LARGE + 1, 2), "float32") / 4
    nodes[::2] /= 2
    ends = np.stack([np.arange(1, LARGE + 1), np.zeros(LARGE, int)], 1)
    inputs = [nodes, ends[:, ::-1] if outward else ends]
    if name == "RGCNConv":
        inputs.append(np.arange(LARGE) % 2)
    if name == "GINConv":
        inputs.append(np.full(LARGE, 2.0**-10, "float32"))  # or the sum is no float16
    layers = half_and_exact(LAYERS[name], inputs, dtype)
    same_sums(layers, inputs, mode, lambda y: y / 16)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", POOLING)
def test_pooling_of_50000(kind, dtype):
    nodes = np.ones((LARGE, 2), "float32") / 4
    nodes[::2] /= 2
    inputs = [nodes, np.zeros(LARGE, int)]
    layers = half_and_exact(lambda **k: POOLING[kind](1, **k), inputs, dtype)
    same_sums(layers, inputs, "eager", tf.identity)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_bag_of_50000(dtype):
    inputs = [np.zeros((1, LARGE), int), np.ones((1, LARGE), "float32") / 2]
    layers = half_and_exact(lambda **k: cl.EmbeddingBag(2, 3, **k), inputs, dtype)
    same_sums(layers, inputs, "eager", tf.identity)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dot_of_50000(dtype, mode):
    """The gradient of an edge weight is a sum over features."""
    x, edges = tf.ones((1, LARGE), dtype), tf.constant([[0, 0]])
    y = MODES[mode](segments.edge_dot)(x, x, edges)
    assert y.numpy().astype("float64") == np.asarray(tf.cast(float(LARGE), dtype), "float64")


@pytest.mark.parametrize("empty", ["nodes", "edges", "features", "graphs"])
def test_sizes_of_0(name, empty, mode):
    sizes = {"graphs": 2, "nodes": 3, "features": 4, "edges": 5, empty: 0}
    if sizes["nodes"] == 0:
        sizes["edges"] = 0
    nodes = np.ones((sizes["graphs"], sizes["nodes"], sizes["features"]), "float32")
    edges = np.zeros((sizes["graphs"], sizes["edges"], 2), "int32")
    inputs = with_values(name, nodes, edges) if nodes.size else [nodes, edges]
    if name == "RGCNConv":
        inputs[2:] = [np.zeros(edges.shape[:-1], "int32")]
    layer = LAYERS[name]()
    layer.build([x.shape for x in inputs])
    y, gradients = run(layer, inputs, mode)
    assert tuple(y.shape) == layer.compute_output_shape([x.shape for x in inputs])
    assert all(np.isfinite(x).all() for x in (y, *gradients.values()))


@pytest.mark.parametrize("kind", POOLING)
@pytest.mark.parametrize("sizes", [(0, 2, 3), (4, 0, 3), (0, 2, 0), (0, 0, 0)], ids=str)
def test_pooling_of_size_0(kind, sizes):
    n, features, graphs = sizes
    inputs = [np.ones((n, features), "float32"), np.zeros(n, "int32"), np.zeros(graphs, "float32")]
    layer = POOLING[kind]()
    layer.build([x.shape for x in inputs])
    y, gradients = run(layer, inputs, "graph")
    assert y.shape == (graphs, features)
    assert not np.asarray(y).any() or n
    assert all(np.isfinite(g).all() for g in list(gradients.values())[:1])


HOPS = {"ChebConv": 2, "SGConv": 2, "APPNP": 3}


def reached_from(node, hops):
    found = {node}
    for _ in range(hops):
        found |= {t for s, t in EDGES if s in found}
    return sorted(found)


def test_what_counts_shows_where_it_reaches(name, mode):
    """In the edges' values a number stays: those of most layers are made of the nodes."""
    inputs = [x.astype("float32") if x.dtype == "float64" else x for x in
              with_values(name, NODES, EDGES)]  # fmt: skip
    run = results_of(randomized(LAYERS[name](), inputs), mode)
    plain, gradients = run(inputs)
    for value, node in itertools.product((np.nan, np.inf), (0, 3, 5)):
        bad = inputs[0].copy()
        bad[node, 1] = value
        y, slope = run([bad, *inputs[1:]])
        reached = reached_from(node, HOPS.get(name, 1))
        if np.isnan(value):
            direct = [t for s, t in EDGES if s == node]
            assert np.isnan(np.asarray(y)[direct]).any(1).all()
            assert not direct or np.isnan(slope[0][node]).any()
        out_of_reach = np.setdiff1d(range(6), reached)
        assert_near("rows out of reach", np.asarray(y)[out_of_reach],
                    np.asarray(plain)[out_of_reach], 1e-6)  # fmt: skip
        if node == 0:  # node 5 is alone: nothing that the others hold reaches its gradient
            assert_near("gradient", slope[0][5], gradients[0][5], 1e-6)


def test_what_is_masked_or_padding_has_no_influence(name, mode):
    nodes = NODES.astype("float32")
    inputs = with_values(name, nodes, PADDED_EDGES)
    mask = np.array([0, 1, 1, 1, 1, 0], bool)
    layer = randomized(LAYERS[name](), inputs)
    gone = ~((PADDED_EDGES >= 0).all(1) & mask[PADDED_EDGES].all(1))
    for batched in (False, True):
        front = (lambda x: x[None]) if batched else (lambda x: x)
        run = results_of(layer, mode, tf.constant(front(mask)))
        expected, gradients = run(map(front, inputs))
        for value in (np.nan, 3e38):
            bad = [x.copy() for x in inputs]
            bad[0][~mask] = value
            if inputs[2:] and inputs[2].dtype.kind == "f":
                bad[2][gone] = value
            y, others = run(map(front, bad))
            assert_near("output", y, expected, 0)
            for key, gradient in gradients.items():
                assert_near(f"gradient of {key}", others[key], gradient, 0)
            assert not np.asarray(others[0]).reshape(6, 4)[~mask].any()


@pytest.mark.parametrize("value", [np.nan, 3e38], ids=str)
@pytest.mark.parametrize("kind", POOLING)
def test_padding_of_a_pool_has_no_influence(kind, value, mode):
    nodes, ids = NODES.astype("float32"), np.array([1, 0, -1, 1, 0, 1])
    mask = np.array([1, 1, 1, 1, 1, 0], bool)
    layer = randomized(POOLING[kind](3), [nodes, ids])
    bad = nodes.copy()
    bad[[2, 5]] = value
    expected, gradients = run(layer, [nodes, ids], mode, [mask, None])
    y, others = run(layer, [bad, ids], mode, [mask, None])
    assert_near("output", y, expected, 0)
    for key, gradient in gradients.items():
        assert_near(f"gradient of {key}", others[key], gradient, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38], ids=str)
def test_padding_of_a_bag_has_no_influence(value, mode):
    ids, weights = np.array([[1, -1, 2], [-1, -1, -1]]), np.ones((2, 3), "float32")
    layer = randomized(cl.EmbeddingBag(3, 2), [ids, weights])
    bad = np.where(ids < 0, np.float32(value), weights)
    expected, gradients = run(layer, [ids, weights], mode)
    y, others = run(layer, [ids, bad], mode)
    assert_near("output", y, expected, 0)
    for key, gradient in gradients.items():
        assert_near(f"gradient of {key}", others[key], gradient, 0)


LOWEST = float(np.finfo("float32").min)


def test_maxima_of_any_numbers(mode):
    """As numpy's; and 0 of no number at all."""
    rows = [
        [np.nan, 1.0], [1.0, np.nan], [-np.inf, -np.inf], [-np.inf, np.nan], [np.inf, -np.inf],
        [np.inf, np.nan], [LOWEST], [LOWEST, -np.inf], [-np.inf, -2.0], [np.inf], [3e38, -3e38],
        [1e-30, -1e-30], [-0.0, -0.0], [],
    ]  # fmt: skip
    x = np.array([v for row in rows for v in row] + [np.nan, np.inf], "float32")
    ids = np.array([i for i, row in enumerate(rows) for _ in row] + [-1, -1])
    expected = np.array([max_of(row) for row in rows], "float32")

    def maximum(x):
        return segments.segment_max(x, tf.constant(ids), num_segments=len(rows))

    y = MODES[mode](maximum)(tf.constant(x))
    np.testing.assert_array_equal(y, expected)
    edges = np.stack([np.where(ids < 0, -1, np.arange(len(ids))), ids], 1)
    y = MODES[mode](lambda x: segments.propagate_max(x, tf.constant(edges)))(
        tf.constant(x[:, None])
    )
    np.testing.assert_array_equal(np.asarray(y)[: len(rows), 0], expected)


def test_the_gradient_of_a_maximum_that_is_nan_is_nan(mode):
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.sin(segments.segment_max(x, tf.constant([0, 0, 1, 1]), num_segments=2))
        return tape.gradient(y, x)

    dx = MODES[mode](slope)(tf.constant([np.nan, 1.0, 2.0, 3.0])).numpy()
    assert np.isnan(dx[0])
    assert_near("dx", dx[2:], [0, np.cos(3.0)], 1e-6)


def max_of(row):
    return np.max(np.array(row, "float32")) if row else 0.0


def test_maxima_where_all_numbers_are_finite(mode):
    """The way that is taken nearly always: the lowest number is a number, no number is 0."""
    x, ids = tf.constant([LOWEST, LOWEST, -1.0, 5.0]), tf.constant([1, 1, 3, -1])
    y = MODES[mode](lambda x: segments.segment_max(x, ids, num_segments=5))(x)
    np.testing.assert_array_equal(y, np.array([0, LOWEST, 0, -1, 0], "float32"))


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 8e37], ids=str)
def test_rows_of_any_length_are_normalized(scale, mode):
    x = np.array([[3.0, -4.0], [0.0, 2.0]])
    expected = x * scale / np.maximum(np.linalg.norm(x * scale, axis=1, keepdims=True), 1e-12)
    y = MODES[mode](normalize_rows)(tf.constant(x * scale, tf.float32))
    assert_near("rows", y, expected, 1e-6)
    for bad in (np.nan, np.inf):
        y = MODES[mode](normalize_rows)(tf.constant([[1.0, bad], [3.0, 4.0]]))
        assert np.isnan(y[0]).any()
        assert_near("row", y[1], [0.6, 0.8], 1e-6)


@pytest.mark.parametrize("scale", [-0.0, 1e-42, 1e30], ids=str)
def test_features_of_any_scale(name, scale, mode):
    """As in float64; what is smaller than 1e-37 may count as 0."""
    inputs = with_values(name, NODES, EDGES)
    inputs[2:] = [x if x.dtype.kind == "i" else np.ones_like(x) for x in inputs[2:]]
    if name == "EdgeConv":
        inputs = inputs[:2]
    exact = randomized(LAYERS[name](dtype="float64"), inputs)
    layer = LAYERS[name]()
    layer([x.astype("float32") if x.dtype == "float64" else x for x in inputs])
    for weight, value in zip(layer.trainable_weights, exact.trainable_weights, strict=True):
        weight.assign(value)
    nodes = (scale * NODES).astype("float32")
    y = MODES[mode](lambda x: layer([x, *inputs[1:]]))(tf.constant(nodes))
    expected = np.asarray(exact([nodes.astype("float64"), *inputs[1:]]))
    assert np.isfinite(y).all()
    assert np.abs(y - expected).max() <= 2e-6 * np.abs(expected).max() + 1e-36
