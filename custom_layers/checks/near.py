"""How near two arrays are, and what one mistake turns the one into the other."""

import numpy as np
from numpy.typing import ArrayLike

# How far two correct computations of one value may lie apart, relative to its largest entry.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}


def assert_near(
    name: str, actual: ArrayLike, expected: ArrayLike, tolerance: float | None = None
) -> None:
    """Raise unless `actual` equals `expected`, relative to the largest entry of `expected`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"{name}: shape {actual.shape}, expected {expected.shape}")
    if tolerance is None:
        tolerance = TOLERANCE.get(str(actual.dtype), 0.0)
    scale = max(1.0, largest(expected))
    error = errors(actual, expected).max(initial=0)
    if not error <= tolerance * scale:
        raise AssertionError(f"{name}: off by {error:.3g}, allowed {tolerance * scale:.3g}")


def errors(actual, expected):
    """|actual - expected|, entry by entry; equal infinities and NaN at the same place are 0."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    return np.abs(np.where(same, 0, actual) - np.where(same, 0, expected))


def largest(x):
    """The largest finite magnitude in `x`, 0 if there is none."""
    x = np.asarray(x, "float64")
    return float(np.abs(np.where(np.isfinite(x), x, 0)).max(initial=0))


def probable_cause(got, expected, batch=None):
    """The one mistake that makes `got` of `expected`, in words, or how many entries are wrong.

    Args:
        got, expected: arrays of one shape, of which `got` is wrong.
        batch: the batch size, which a forgotten or a second mean shows as a factor.
    """
    got, expected = np.asarray(got, "float64"), np.asarray(expected, "float64")
    if not np.isfinite(got).all():
        return f"{np.sum(~np.isfinite(got))} of {got.size} entries are NaN or infinite"
    if not got.any():
        return "it is zero: the path is cut (stop_gradient, numpy, a rounding) or was forgotten"
    near = 1e-3 * max(largest(got), largest(expected))

    def explains(candidate):
        return errors(candidate, got).max(initial=0) <= near

    factor = np.vdot(expected, got) / max(np.vdot(expected, expected), 1e-300)
    if got.size > 1 and explains(factor * expected):
        return _factor_in_words(factor, batch)
    if got.ndim == 2 and explains(np.reshape(expected.T, got.shape)):
        return "it is transposed"
    for axis in range(got.ndim):
        if explains(np.flip(expected, axis)):
            return f"axis {axis} runs backwards"
        if explains(np.broadcast_to(expected.mean(axis, keepdims=True), got.shape)):
            return f"it is a mean over axis {axis}"
    wrong = errors(got, expected) > 1e-6 * largest(expected)
    if got.size == 1:
        return _factor_in_words(factor, batch)
    if wrong.sum() < got.size:
        return f"{wrong.sum()} of {got.size} entries are wrong"
    return "all entries are wrong, by no constant factor"


def _factor_in_words(factor, batch):
    if abs(factor + 1) < 1e-3:
        return "the sign is wrong"
    text = f"a constant factor {factor:.4g}"
    if batch and batch > 1 and abs(factor * batch - 1) < 1e-3:
        return f"{text}, 1 / batch size: a mean where a sum belongs"
    if batch and batch > 1 and abs(factor / batch - 1) < 1e-3:
        return f"{text}, the batch size: a sum where a mean belongs"
    return text
