"""SAGEConv: the equation of the paper, written densely at six nodes."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.graph.sage_conv import SAGEConv, normalize_rows
from tests.six_nodes import EDGES, NODES, WEIGHTS, check_equation, dense, randomized, six_nodes


def aggregated(aggregate, weights=None):
    a = dense(weights=weights)
    if aggregate == "max":
        rows = [NODES[a[n] > 0] for n in range(6)]
        return np.stack([r.max(0) if len(r) else np.zeros(4) for r in rows])
    if aggregate == "mean":
        a = a / np.where(a.sum(1) > 0, a.sum(1), 1)[:, None]
    return a @ NODES


@pytest.mark.parametrize("units", [2, 5])
@pytest.mark.parametrize(
    ("aggregate", "weighted"),
    [("mean", False), ("mean", True), ("sum", False), ("sum", True), ("max", False)],
)
@pytest.mark.parametrize(
    "arguments", [{}, {"normalize": True, "use_bias": False, "activation": "tanh"}], ids=str
)
def test_equation_and_backward(aggregate, weighted, units, arguments):
    layer = SAGEConv(units, aggregate=aggregate, dtype="float64", **arguments)
    randomized(layer, six_nodes(weighted))
    kernel, *bias = layer.get_weights()
    around = aggregated(aggregate, WEIGHTS if weighted else None)
    y = np.concatenate([NODES, around], 1) @ kernel
    y = y + bias[0] if bias else y
    if arguments:
        y = np.tanh(y / np.linalg.norm(y, axis=1, keepdims=True))
    check_equation(layer, weighted, y)


def test_normalize_rows_of_any_length():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [3e-13, 4e-13], [-1e8, 0.0]])
    expected = np.array([[0.6, 0.8], [0, 0], [0.3, 0.4], [-1, 0]])
    assert_near("rows", normalize_rows(tf.constant(x)), expected)
    check_backward(normalize_rows, x[:1])
    # A row shorter than ε is divided by ε, whatever its direction.
    for x in (tf.zeros((1, 2), tf.float64), tf.constant([[3e-13, 4e-13]], tf.float64)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = normalize_rows(x)
        assert_near(
            "gradient", tape.gradient(y, x, tf.constant([[2.0, 1]], tf.float64)), [[2e12, 1e12]]
        )


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`aggregate`.*'median'"):
        SAGEConv(3, aggregate="median")
    with pytest.raises(ValueError, match="aggregate='max' does not use edge weights"):
        SAGEConv(3, aggregate="max")([NODES, EDGES, WEIGHTS])
