"""APPNP: the equation of the paper, written densely at six nodes."""

import numpy as np
import pytest

from custom_layers.graph.appnp import APPNP
from tests.six_nodes import NODES, WEIGHTS, check_equation, propagation


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"K": 3},
        {"K": 1, "alpha": 0},
        {"K": 2, "alpha": 0.5, "normalize": "row", "add_self_loops": False},
        {"K": 2, "alpha": 1.0, "normalize": None},
    ],
    ids=str,
)
def test_equation_and_backward(arguments, weighted):
    layer = APPNP(dtype="float64", **arguments)
    options = {k: arguments[k] for k in ("normalize", "add_self_loops") if k in arguments}
    matrix = propagation(WEIGHTS if weighted else None, **options)
    expected = NODES
    for _ in range(layer.K):
        expected = (1 - layer.alpha) * matrix @ expected + layer.alpha * NODES
    check_equation(layer, weighted, expected)


def test_arguments_of_the_paper():
    assert (APPNP().K, APPNP().alpha, APPNP().normalize) == (10, 0.1, "symmetric")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`K` must be a positive integer"):
        APPNP(0)
    for alpha in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="`alpha` must be from 0 to 1"):
            APPNP(alpha=alpha)
