"""assert_near, and the words for what is wrong."""

import numpy as np
import pytest

from custom_layers.checks import assert_near
from custom_layers.checks.near import probable_cause

A = np.random.default_rng(0).standard_normal((3, 3))


def test_near():
    assert_near("x", np.array([1.0, np.nan]), np.array([1.0, np.nan]))
    assert_near("x", np.array([np.inf, -np.inf]), np.array([np.inf, -np.inf]))
    for wrong in ([1.0, 2.0], [1.1, np.nan], [np.inf, np.nan], [[1.0, np.nan]]):
        with pytest.raises(AssertionError):
            assert_near("x", np.array(wrong), np.array([1.0, np.nan]))


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (-A, "the sign is wrong"),
        (2 * A, "a constant factor 2"),
        (A / 5, "1 / batch size"),
        (5 * A, "the batch size"),
        (A.T, "it is transposed"),
        (A[::-1], "axis 0 runs backwards"),
        (np.broadcast_to(A.mean(1, keepdims=True), A.shape), "a mean over axis 1"),
        (0 * A, "it is zero"),
        (A * np.nan, "9 of 9 entries are NaN"),
        (A + np.eye(3), "3 of 9 entries are wrong"),
        (A + 1, "all entries are wrong"),
    ],
)
def test_the_mistake_is_told(got, words):
    assert words in probable_cause(got, A, batch=5)
