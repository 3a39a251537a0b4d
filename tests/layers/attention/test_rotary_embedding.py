"""RotaryEmbedding: the paper's rotation, relative positions, and the turn back."""

import numpy as np
import pytest

from custom_layers import RotaryEmbedding
from custom_layers.checks import assert_near, check_backward


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def rotated(x, positions, wavelength=10_000):
    """The paper's matrices: the pair (f, f + D/2) as a complex number, turned. x (B, T, ..., D)."""
    half = x.shape[-1] // 2
    theta = wavelength ** (-np.arange(half) / half)
    turn = np.exp(1j * np.multiply.outer(positions, theta))
    turn = turn.reshape(*turn.shape[:-1], *[1] * (x.ndim - 3), half)
    z = (x[..., :half] + 1j * x[..., half:]) * turn
    return np.concatenate([z.real, z.imag], -1)


def test_the_paper():
    x, layer = draw(2, 5, 3, 6), RotaryEmbedding(dtype="float64")
    assert_near("y", layer(x), rotated(x, np.arange(5)))
    assert_near("from 7", layer(x, start_index=7), rotated(x, np.arange(5) + 7))
    places = np.array([[0, 2, 4, 9, 1], [3, 3, 3, 0, 1]])
    assert_near("positions", layer(x, positions=places), rotated(x, places))
    scaled = RotaryEmbedding(100, 2.0, dtype="float64")
    assert_near("scaled", scaled(x), rotated(x, np.arange(5) / 2, 100))


def test_other_axes():
    x = draw(2, 3, 6, 5)  # heads, features, positions
    layer = RotaryEmbedding(sequence_axis=-1, feature_axis=2, dtype="float64")
    expected = rotated(np.transpose(x, (0, 3, 1, 2)), np.arange(5))
    assert_near("y", layer(x), np.transpose(expected, (0, 2, 3, 1)))


def test_products_depend_on_the_difference_of_positions():
    q, k = (np.repeat(draw(1, 1, 4, seed=seed), 6, 1) for seed in (0, 1))
    layer = RotaryEmbedding(dtype="float64")
    products = np.matmul(layer(q)[0], np.transpose(layer(k)[0]))
    for shift in range(-4, 5):
        diagonal = np.diagonal(products, shift)
        assert_near(f"at {shift}", diagonal, np.full_like(diagonal, diagonal[0]))


@pytest.mark.parametrize("call", [{}, {"start_index": 3}], ids=str)
def test_backward(call):
    check_backward(RotaryEmbedding(dtype="float64"), draw(2, 3, 2, 4), **call)


def test_errors():
    with pytest.raises(ValueError, match=r"even, known number of features.*\(2, 3, 5\)"):
        RotaryEmbedding()(draw(2, 3, 5))
    with pytest.raises(ValueError, match="`max_wavelength` must be above 0"):
        RotaryEmbedding(0)
