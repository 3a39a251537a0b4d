"""ChebConv: the equation of the paper, written densely at six nodes."""

import numpy as np
import pytest

from custom_layers.graph.cheb_conv import ChebConv
from tests.six_nodes import NODES, WEIGHTS, check_equation, propagation, randomized, six_nodes


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3, "K": 1},
        {"units": 5, "K": 2, "activation": "tanh"},
        {"units": 3, "K": 4, "lambda_max": 1.7, "use_bias": False},
    ],
    ids=str,
)
def test_equation_and_backward(arguments, weighted):
    layer = randomized(ChebConv(dtype="float64", **arguments), six_nodes(weighted))
    matrix = propagation(WEIGHTS if weighted else None, add_self_loops=False)
    laplacian = 2 / layer.lambda_max * (np.eye(6) - matrix) - np.eye(6)
    terms = [np.eye(6), laplacian]
    while len(terms) < layer.K:
        terms.append(2 * laplacian @ terms[-1] - terms[-2])
    kernel, *bias = layer.get_weights()
    expected = sum(terms[k] @ NODES @ kernel[k] for k in range(layer.K))
    expected = expected + bias[0] if bias else expected
    expected = np.tanh(expected) if "activation" in arguments else expected
    check_equation(layer, weighted, expected)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`K` must be a positive integer"):
        ChebConv(3, K=0)
    with pytest.raises(ValueError, match="`lambda_max` must be positive"):
        ChebConv(3, K=2, lambda_max=0)
