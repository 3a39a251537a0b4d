"""Slopes, kinks and noise of functions whose slopes, kinks and noise are known."""

import numpy as np
import pytest

from custom_layers.checks.differences import noise, one_sided, slope

RNG = np.random.default_rng(0)


def test_slope_is_the_derivative():
    found = slope(lambda t: np.sin(1 + t), 1e-16)
    assert abs(found.value - np.cos(1)) <= found.error < 1e-8


def test_slope_near_a_kink_takes_a_small_step():
    found = slope(lambda t: np.abs(1e-5 + t), 1e-16)
    assert abs(found.value - 1) <= 3 * found.error < 1e-6


@pytest.mark.parametrize("size", [1e-12, 1e-7, 1e-4])
def test_noise_is_measured(size):
    found = noise(lambda t: np.sin(t) + size * RNG.standard_normal())
    assert size / 3 < found < 3 * size


def test_noise_of_float32_inside_of_float64():
    x = RNG.standard_normal(50)
    found = noise(lambda t: np.float64(np.sum(np.tanh(np.float32(x + t)))))
    assert 1e-8 < found < 1e-5


def test_a_smooth_function_has_no_noise():
    assert noise(lambda t: np.sin(1 + t)) < 1e-15


def test_slope_under_noise_tells_its_error():
    for _ in range(20):
        phi = lambda t: np.sin(1 + t) + 1e-7 * RNG.standard_normal()  # noqa: E731
        found = slope(phi, 1e-7)
        assert abs(found.value - np.cos(1)) <= 3 * found.error < 1e-2


@pytest.mark.parametrize("ahead", [0.0, 2.0, -1.0])
def test_one_sided_slopes_differ_at_a_kink(ahead):
    behind, found, spread = one_sided(lambda t: max(t, 0) * ahead + min(t, 0), 1e-16)
    assert abs(behind - 1) <= spread
    assert abs(found - ahead) <= spread < 1e-6
