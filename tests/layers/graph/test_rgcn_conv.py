"""RGCNConv: the equation of the paper, written densely at six nodes."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.graph.rgcn_conv import RGCNConv
from tests.six_nodes import EDGES, NODES, PADDED_EDGES, dense, randomized

RELATIONS = np.array([0, 1, 1, 3, 3, 0, 1, 0])  # of four; 2 does not occur
PADDED_RELATIONS = np.insert(RELATIONS, [0, 3, 3, 8], [1, 0, 3, 1])


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3},
        {"units": 5, "use_bias": False, "activation": "tanh"},
        {"units": 3, "num_bases": 2},
        {"units": 1, "num_bases": 5},
    ],
    ids=str,
)
def test_equation_and_backward(arguments):
    inputs = [NODES, EDGES, RELATIONS]
    layer = randomized(RGCNConv(num_relations=4, dtype="float64", **arguments), inputs)
    weights = {w.name: w.numpy() for w in layer.weights}
    kernel = weights["kernel"]
    if "num_bases" in arguments:
        kernel = np.einsum("rb,bfo->rfo", weights["coefficients"], kernel)
    y = NODES @ weights["self_kernel"] + weights.get("bias", 0)
    for r in range(4):
        a = dense(EDGES[r == RELATIONS])
        y = y + a / np.maximum(a.sum(1), 1)[:, None] @ NODES @ kernel[r]
    y = np.tanh(y) if "activation" in arguments else y
    assert_near("output", layer(inputs), y)
    assert_near("padded", layer([NODES, PADDED_EDGES, PADDED_RELATIONS]), y)
    check_backward(layer, [NODES, PADDED_EDGES, PADDED_RELATIONS])


def test_a_negative_relation_is_padding():
    inputs = [NODES, EDGES, RELATIONS]
    layer = randomized(RGCNConv(3, 4), inputs)
    for edge in range(len(EDGES)):  # to node 0, and to others
        without = layer([np.delete(x, edge, 0) if i else x for i, x in enumerate(inputs)])
        relations = np.where(np.arange(len(EDGES)) == edge, -1, RELATIONS)
        assert_near("output", layer([NODES, EDGES, relations]), without)


def test_wrong_arguments():
    for name in ("units", "num_relations", "num_bases"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
            RGCNConv(**{"units": 3, "num_relations": 3, name: 0})
    with pytest.raises(ValueError, match=r"called on \[nodes, edges, relations\]"):
        RGCNConv(3, 4)([NODES, EDGES])
    with pytest.raises(ValueError, match="relations of RGCNConv must be integers"):
        RGCNConv(3, 4)([NODES, EDGES, RELATIONS.astype("float32")])
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_relations=3"):
        RGCNConv(3, 3)([NODES, EDGES, RELATIONS])
    layer = RGCNConv(3, 3)
    layer([NODES, EDGES, np.zeros(8, "int32")])
    compiled = tf.function(lambda *x: layer(list(x)), jit_compile=True)
    assert np.isnan(compiled(tf.constant(NODES), tf.constant(EDGES), RELATIONS)).all()
