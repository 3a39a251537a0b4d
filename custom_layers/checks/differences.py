"""Derivatives by differences, with the error that they are good for.

    central     (φ(h) - φ(-h)) / 2h          one-sided     (φ(h) - φ(0)) / h,  (φ(0) - φ(-h)) / h

φ(t) is a function on a line, with a number or an array as value. Its rounding noise ε is measured:
the differences of order 4 of a smooth function vanish for a small spacing, so what is left of them
is noise (Hamming; Moré & Wild, Estimating computational noise, 2011). The step follows from it.
"""

import dataclasses
import math

import numpy as np

SPACING = 3e-6  # for the noise: some 30 units in the last place of float32, tiny for a smooth φ
ORDER = 4


def noise(phi):
    """The rounding noise of φ around 0: a standard deviation, of the worst entry."""
    estimates = []
    for center in (0.0, 1e-4, -1e-4):  # a kink lies in one of these places, not in all
        values = np.stack([phi(center + k * SPACING) for k in range(-4, 5)])
        differences = np.diff(values, ORDER, axis=0)
        gain = math.comb(2 * ORDER, ORDER)  # the variance of a difference of noise of variance 1
        estimates.append(np.sqrt(np.mean(differences**2, axis=0) / gain).max(initial=0))
    size = np.abs(values).max(initial=0)
    return float(max(np.median(estimates), 1e-16 * size))


@dataclasses.dataclass(frozen=True)
class Slope:
    """A derivative by central differences, how far it may be off, and the step that gave it."""

    value: np.ndarray
    error: float
    step: float


def slope(phi, noise, length=1.0, good=0.0):
    """φ'(0), the best of some steps.

    Args:
        phi: the function on the line.
        noise: its rounding noise.
        length: of the direction in which the line runs: the step is divided by it.
        good: an error that suffices; no further step is tried.
    """
    best = None
    size = np.abs(phi(0.0)).max(initial=1e-30)
    first = max(1e-4, min(2e-2, float(noise / size) ** (1 / 3))) / max(1.0, length)
    for step in (first, first / 8, first / 64, first / 512):
        wide, narrow = ((phi(h) - phi(-h)) / (2 * h) for h in (step, step / 2))
        error = np.abs(wide - narrow).max(initial=0) + 4 * noise / step
        value = (4 * narrow - wide) / 3  # Richardson: without the error of order h²
        if best is None or not error >= best.error:
            best = Slope(value, float(error), step)
        if best.error <= good:
            break
    return best


def one_sided(phi, noise, length=1.0):
    """(slope behind 0, slope ahead of 0, how far both may be off). They differ at a kink."""
    size = abs(float(phi(0.0)))
    step = max(1e-6, min(1e-2, math.sqrt(noise / max(size, 1e-30)))) / max(1.0, length)
    center = phi(0.0)
    sides = []
    for sign in (-1, 1):
        far, near = ((phi(sign * h) - center) / (sign * h) for h in (step, step / 2))
        sides.append((2 * near - far, abs(near - far)))
    (behind, spread), (ahead, other) = sides
    return behind, ahead, float(max(spread, other) + 8 * noise / step)
