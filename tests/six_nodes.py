"""A graph of six nodes with everything awkward: a repeated edge, a loop, an isolated node, padding.

0 <-> 1     2 -> 2     3 -> 1 twice     0 -> 3     2 -> 0     4 -> 0     5 alone, 4 and 2 only send
"""

import numpy as np
import tensorflow as tf

import custom_layers as cl
from custom_layers.checks import assert_near, check_backward

NODES = np.random.default_rng(6).standard_normal((6, 4))
EDGES = np.array([[0, 1], [1, 0], [2, 2], [3, 1], [3, 1], [0, 3], [2, 0], [4, 0]])
WEIGHTS = np.random.default_rng(7).uniform(0.5, 1.5, len(EDGES))
PADDED_EDGES = np.insert(EDGES, [0, 3, 3, 8], [[-1, -1], [-1, 2], [4, -3], [-1, -1]], axis=0)
PADDED_WEIGHTS = np.insert(WEIGHTS, [0, 3, 3, 8], [5.0, 6.0, 7.0, 8.0])


LAYERS = {
    "GraphConv": lambda **k: cl.GraphConv(3, "tanh", **k),
    "GraphConv wide": lambda **k: cl.GraphConv(7, normalize="row", **k),
    "GATConv": lambda **k: cl.GATConv(3, heads=2, **k),
    "GATv2Conv": lambda **k: cl.GATv2Conv(3, heads=2, concat=False, add_self_loops=False, **k),
    "SAGEConv": lambda **k: cl.SAGEConv(3, **k),
    "SAGEConv max": lambda **k: cl.SAGEConv(3, aggregate="max", **k),
    "GINConv": lambda **k: cl.GINConv(cl.Dense(3, **k), train_epsilon=True, **k),
    "EdgeConv": lambda **k: cl.EdgeConv(cl.Dense(3, **k), "sum", **k),
    "RGCNConv": lambda **k: cl.RGCNConv(3, num_relations=3, **k),
    "ChebConv": lambda **k: cl.ChebConv(3, K=3, **k),
    "SGConv": lambda **k: cl.SGConv(3, K=2, **k),
    "APPNP": lambda **k: cl.APPNP(3, **k),
}
WEIGHTED = {"GraphConv", "GraphConv wide", "SAGEConv", "GINConv", "ChebConv", "SGConv", "APPNP"}


def dense(edges=EDGES, weights=None, size=6):
    """The matrix A, A[t, s] = Σ of the weights of the edges from s to t."""
    matrix = np.zeros((size, size))
    for i, (s, t) in enumerate(edges):
        matrix[t, s] += 1 if weights is None else weights[i]
    return matrix


def propagation(weights=None, normalize="symmetric", add_self_loops=True):
    """Â as a dense matrix."""
    a = dense(weights=weights) + add_self_loops * np.eye(6)
    d = a.sum(1)
    power = np.zeros(6)
    if normalize == "row":
        power[d > 0] = 1 / d[d > 0]
        return power[:, None] * a
    if normalize == "symmetric":
        power[d > 0] = d[d > 0] ** -0.5
        return power[:, None] * a * power
    return a


def six_nodes(weighted, padded=False):
    """[nodes, edges], or with the weights of the edges."""
    edges, weights = (PADDED_EDGES, PADDED_WEIGHTS) if padded else (EDGES, WEIGHTS)
    return [NODES, edges, weights] if weighted else [NODES, edges]


def check_equation(layer, weighted, expected):
    """The output is what the equation says, padded too, and the backward is right."""
    assert_near("output", layer(six_nodes(weighted)), expected)
    check_backward(layer, six_nodes(weighted))
    assert_near("padded", layer(six_nodes(weighted, padded=True)), expected)


def randomized(layer, inputs):
    """The layer, built, with weights that are neither zeros nor ones."""
    layer(inputs)
    rng = np.random.default_rng(8)
    for weight in layer.trainable_weights:
        weight.assign(rng.standard_normal(weight.shape))
    return layer


def with_values(name, nodes, edges):
    """The inputs of the layer, the third one a function of the nodes that an edge joins."""
    ends = np.take_along_axis(
        nodes.sum(-1)[..., None], np.maximum(edges, 0).reshape(*edges.shape[:-2], -1, 1), -2
    ).reshape(edges.shape)
    if name == "EdgeConv":
        return [nodes, edges, np.sin(ends)]
    if name == "RGCNConv":
        return [nodes, edges, (ends.sum(-1) > 0).astype("int32") + (ends[..., 0] > 1)]
    if name in WEIGHTED:
        return [nodes, edges, 1.5 + np.sin(ends.sum(-1))]
    return [nodes, edges]


def slopes(layer, inputs):
    """The output, and the gradients of a sum of sines."""
    inputs = [tf.convert_to_tensor(x) for x in inputs]
    points = [x for x in inputs if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(points)
        y = layer(inputs)
        loss = tf.reduce_sum(tf.sin(y))
    points += [w.value for w in layer.trainable_variables]
    return y, tape.gradient(loss, points)
