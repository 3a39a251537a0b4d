"""EinsumDense: its gradients are its derivatives, and it drops in for Keras's."""

import keras
import numpy as np
import pytest

from custom_layers import EinsumDense
from custom_layers.checks import check_backward, check_signature, check_twin

Twin = keras.layers.EinsumDense

CASES = [  # equation, input shape, output shape, axes of the bias
    ("ab,bc->ac", (3, 4), 5, "c"),
    ("abc,cde->abde", (2, 3, 4), (None, 2, 5), "de"),
    ("abcd,cde->abe", (2, 3, 2, 4), (None, 3), "e"),
    ("...x,xy->...y", (2, 3, 2, 4), 3, "y"),
    ("bc...,cde->bde...", (2, 3, 2), (4, 2), "d"),
    # Where the last axis is as long as e, Keras adds this bias along the last axis instead.
    ("bc...,cde->bde...", (2, 3, 3), (4, 2), "e"),
    ("abc,bd->ad", (2, 3, 4), 5, None),  # c is summed
]


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("equation", "shape", "output", "bias"), CASES)
def test_backward(equation, shape, output, bias):
    arguments = {"bias_axes": bias, "bias_initializer": "normal", "activation": "tanh"}
    check_backward(EinsumDense(equation, output, dtype="float64", **arguments), draw(shape))


@pytest.mark.parametrize(("equation", "shape", "output", "bias"), CASES)
def test_twin(equation, shape, output, bias):
    arguments = {"equation": equation, "output_shape": output, "bias_axes": bias}
    check_twin(EinsumDense, Twin, arguments, draw(shape, "float32"))
    arguments |= {"dtype": "mixed_bfloat16", "kernel_regularizer": "l2", "activation": "relu"}
    check_twin(EinsumDense, Twin, arguments, draw(shape, "float32"))


def test_signature():
    check_signature(EinsumDense, Twin)


def test_the_same_seed_gives_the_same_kernel():
    kernels = []
    for cls in (EinsumDense, Twin):
        layer = cls(
            "abc,cde->abde", (None, 2, 5), kernel_initializer=keras.initializers.HeNormal(3)
        )
        layer.build((2, 3, 4))
        kernels.append(layer.kernel.numpy())
    assert np.array_equal(*kernels)


@pytest.mark.parametrize(
    ("equation", "output", "message"),
    [
        ("ab,bc,ac", 3, "Invalid einsum equation"),
        ("a...b,bc->a...c", 3, "Invalid einsum equation"),
        ("ab,bc->ad", 3, "'d' was specified in the output"),
        ("ab,bz->ab", 4, "'z' did not have a match"),
        ("ab,b->ab", 3, "do not match at shared dimension 'b'"),
    ],
)
def test_errors(equation, output, message):
    with pytest.raises(ValueError, match=message):
        EinsumDense(equation, output).build((2, 4))
    with pytest.raises(ValueError, match="'z' was requested"):
        EinsumDense("ab,bc->ac", 3, bias_axes="z").build((2, 4))
