"""SGConv: the equation of the paper, written densely at six nodes."""

import numpy as np
import pytest

from custom_layers.graph.sg_conv import SGConv
from tests.six_nodes import NODES, WEIGHTS, check_equation, propagation, randomized, six_nodes


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3, "K": 2},
        {"units": 5, "K": 3, "activation": "tanh"},
        {"units": 3, "normalize": "row", "use_bias": False, "add_self_loops": False},
    ],
    ids=str,
)
def test_equation_and_backward(arguments, weighted):
    layer = randomized(SGConv(dtype="float64", **arguments), six_nodes(weighted))
    options = {k: arguments[k] for k in ("normalize", "add_self_loops") if k in arguments}
    matrix = propagation(WEIGHTS if weighted else None, **options)
    kernel, *bias = layer.get_weights()
    expected = np.linalg.matrix_power(matrix, layer.K) @ NODES @ kernel
    expected = expected + bias[0] if bias else expected
    expected = np.tanh(expected) if "activation" in arguments else expected
    check_equation(layer, weighted, expected)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`K` must be a positive integer"):
        SGConv(3, K=-1)
    with pytest.raises(ValueError, match="argument `normalize`"):
        SGConv(3, normalize="both")
