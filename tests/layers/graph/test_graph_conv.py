"""GraphConv: the equation of the paper, written densely at six nodes."""

import numpy as np
import pytest

from custom_layers.checks import assert_near, check_backward
from custom_layers.graph.graph_conv import GraphConv
from tests.six_nodes import (
    EDGES,
    NODES,
    WEIGHTS,
    check_equation,
    propagation,
    randomized,
    six_nodes,
)

ARGUMENTS = [
    {"units": 3},
    {"units": 5, "activation": "tanh"},
    {"units": 3, "normalize": "row", "use_bias": False},
    {"units": 5, "normalize": None, "add_self_loops": False},
    {"units": 1, "normalize": "symmetric", "add_self_loops": False},
    {"units": 5, "normalize": "row", "add_self_loops": False, "activation": "tanh"},
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_equation_and_backward(arguments, weighted):
    layer = randomized(GraphConv(dtype="float64", **arguments), six_nodes(weighted))
    options = {k: arguments[k] for k in ("normalize", "add_self_loops") if k in arguments}
    kernel, *bias = layer.get_weights()
    expected = propagation(WEIGHTS if weighted else None, **options) @ NODES @ kernel
    expected = expected + bias[0] if bias else expected
    expected = np.tanh(expected) if "activation" in arguments else expected
    check_equation(layer, weighted, expected)


def test_negative_degrees_count_as_zero():
    weights = -np.ones(len(EDGES))
    layer = randomized(GraphConv(3, add_self_loops=False, dtype="float64"), [NODES, EDGES, weights])
    bias = layer.get_weights()[1]
    assert_near("output", layer([NODES, EDGES, weights]), np.broadcast_to(bias, (6, 3)))
    check_backward(layer, [NODES, EDGES, weights])


@pytest.mark.parametrize("normalize", ["both", "Symmetric", True, 1])
def test_normalize_is_one_of_three(normalize):
    with pytest.raises(ValueError, match=f"argument `normalize`.*{normalize}"):
        GraphConv(3, normalize=normalize)


@pytest.mark.parametrize("units", [0, -1, 2.5, "3"])
def test_units_must_be_a_positive_integer(units):
    with pytest.raises(ValueError, match=f"`units` must be a positive integer.*{units}"):
        GraphConv(units)
