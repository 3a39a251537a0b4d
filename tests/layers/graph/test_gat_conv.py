"""GATConv and GATv2Conv: the equations of the papers, written densely at six nodes."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.graph.gat_conv import GATConv, GATv2Conv
from tests.six_nodes import EDGES, NODES, PADDED_EDGES, WEIGHTS, dense, randomized


def leaky(z, slope):
    return np.where(z > 0, z, slope * z)


def attend(layer):
    """The outputs, from scores[t, s] of all pairs of nodes and how often each is an edge."""
    weights = {w.name: w.numpy() for w in layer.weights}
    count = dense() + layer.add_self_loops * np.eye(6)
    heads = []
    for k in range(layer.heads):
        part = slice(k * layer.units, (k + 1) * layer.units)
        h = NODES @ weights["kernel"][:, part]
        if isinstance(layer, GATConv):
            source = h @ weights["attention_source"][k]
            target = h @ weights["attention_target"][k]
            scores = leaky(source[None, :] + target[:, None], layer.negative_slope)
        else:
            target = NODES @ weights["target_kernel"][:, part]
            both = leaky(h[None, :, :] + target[:, None, :], layer.negative_slope)
            scores = both @ weights["attention"][k]
        p = count * np.exp(scores)
        p /= np.where(p.sum(1) > 0, p.sum(1), 1)[:, None]
        heads.append(p @ h)
    y = np.concatenate(heads, 1) if layer.concat else np.mean(heads, 0)
    return y + weights.get("bias", 0)


@pytest.mark.parametrize("make", [GATConv, GATv2Conv])
@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3},
        {"units": 2, "heads": 3, "negative_slope": 0.5},
        {"units": 5, "heads": 2, "concat": False, "use_bias": False},
        {"units": 1, "heads": 2, "add_self_loops": False},
    ],
    ids=str,
)
def test_equation_and_backward(make, arguments):
    layer = randomized(make(dtype="float64", **arguments), [NODES, EDGES])
    expected = attend(layer)
    assert_near("output", layer([NODES, EDGES]), expected)
    assert_near("padded", layer([NODES, PADDED_EDGES]), expected)
    check_backward(layer, [NODES, PADDED_EDGES])


@pytest.mark.parametrize("make", [GATConv, GATv2Conv])
def test_dropout_of_attention(make):
    layer = make(3, heads=2, dropout=0.4, seed=1, dtype="float64", add_self_loops=False)
    check_backward(layer, [NODES, EDGES], training=True)
    assert_near("inference", layer([NODES, EDGES]), layer([NODES, EDGES], training=False))
    # All neighbors alike: what a node gets is the kept share of 1, in the mean over draws 1.
    nodes, size = np.ones((200, 1)), 200
    edges = np.stack([np.repeat(np.arange(size), size), np.tile(np.arange(size), size)], 1)
    layer = make(1, dropout=0.4, seed=1, kernel_initializer="ones", add_self_loops=False)
    y = np.asarray(layer([nodes, edges], training=True))
    again = np.asarray(layer([nodes, edges], training=True))
    assert abs(y.mean() - 1) < 0.02
    assert y.std() > 0.02
    assert np.abs(y - again).max() > 0.01  # another draw
    with tf.GradientTape() as tape:
        x = tf.constant(nodes, tf.float32)
        tape.watch(x)
        y = layer([x, edges], training=True)
    assert np.isfinite(tape.gradient(y, x)).all()


def test_padding_does_not_enter_the_gradient_of_attention():
    """Rows of padding are gathered as node 0, which is alone here, and holds NaN."""
    layer = randomized(GATv2Conv(3, add_self_loops=False), [NODES, EDGES])
    edges = np.array([[1, 2], [-1, -1], [3, 2], [-1, 4]])
    slopes = []
    for value in (0.0, np.nan):
        nodes = NODES.astype("float32")
        nodes[0] = value
        with tf.GradientTape() as tape:
            y = layer([nodes, edges])
        slopes.append(tape.gradient(y, layer.attention.value))
    assert np.abs(slopes[0]).max() > 0
    assert_near("da", slopes[1], slopes[0], 1e-6)


@pytest.mark.parametrize("make", [GATConv, GATv2Conv])
def test_wrong_arguments(make):
    with pytest.raises(ValueError, match="`heads` must be a positive integer"):
        make(3, heads=0)
    with pytest.raises(ValueError, match="`dropout` must be in"):
        make(3, dropout=1.0)
    with pytest.raises(ValueError, match="without edge weights"):
        make(3)([NODES, EDGES, WEIGHTS])


@pytest.mark.parametrize("make", [GATConv, GATv2Conv])
def test_without_kernel_nodes_are_mapped_already(make):
    """As with a kernel that changes nothing; h' of version 2 is then h."""
    nodes = tf.concat([NODES, NODES], 1)[:, :6]
    arguments = {"units": 2, "heads": 3, "dtype": "float64"}
    whole = randomized(make(**arguments), [nodes, EDGES])
    bare = randomized(make(use_kernel=False, **arguments), [nodes, EDGES])
    for kernel in ("kernel", "target_kernel"):
        assert getattr(bare, kernel, None) is None
        if hasattr(whole, kernel):
            getattr(whole, kernel).assign(np.eye(6))
    bare.set_weights([w.numpy() for w in whole.weights if "kernel" not in w.name])
    assert_near("output", bare([nodes, EDGES]), whole([nodes, EDGES]))
    check_backward(bare, [nodes, PADDED_EDGES])
    with pytest.raises(ValueError, match=r"heads \* units features, not 5"):
        make(2, heads=3, use_kernel=False).build([(None, 5), (None, 2)])
