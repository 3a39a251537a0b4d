"""Promises about derivatives, in float64: first, second, and against autodiff of the bare forward.

At a kink (ReLU at 0, equal maxima) there is no derivative, and any slope between the one-sided ones
is right. So where a central difference disagrees, the one-sided ones are asked, entry by entry; if
only kinks are found, the proof is repeated a little beside of them.
"""

import functools

import numpy as np
import tensorflow as tf

from custom_layers.checks.differences import noise, one_sided, slope
from custom_layers.checks.function import dot
from custom_layers.checks.kinks import (
    at_and_beside,
    beside,
    gradient_jumps,
    gradient_on_line,
)
from custom_layers.checks.near import errors, largest, probable_cause
from custom_layers.checks.report import Broken, DoesNotApply, Held, compare
from custom_layers.gradients import autodiff
from custom_layers.private_apis import graphs_inside

RELATIVE = 1e-6  # of the norm of a gradient: a difference along a direction
ENTRIES = 256  # so many entries are looked at one by one, a sample of a larger tensor


def gradient(subject):
    """The gradient of each float input and weight is the derivative, against differences."""
    worst, kinks = 0.0, set()
    for mode, function in subject.exact.items():
        error, found = _prove_gradients(subject, function, function.points, mode)
        worst, kinks = max(worst, error), kinks | found
        if found:
            points = beside(function.points, subject.seed)
            worst = max(worst, _prove_gradients(subject, function, points, mode)[0])
    return Held(worst, f"kinks at {', '.join(sorted(kinks))}" if kinks else "")


def _prove_gradients(subject, function, points, mode):
    """(the largest relative error, the names of the points that sit at a kink)."""
    worst, kinks, wrong = 0.0, set(), {}
    for i, name in enumerate(function.names):
        try:
            what = f"gradient of {name}{_said(mode)}"
            error, kink = _prove_gradient(subject, function, points, i, what)
        except Broken as broken:
            wrong[name] = broken
            continue
        worst = max(worst, error)
        kinks |= {name} if kink else set()
    if wrong:
        (_, broken), *others = wrong.items()
        right = [name for name in function.names if name not in wrong]
        for text, names in (("wrong too", [name for name, _ in others]), ("right", right)):
            broken.cause += f"; {text}: {', '.join(names)}" if names else ""
        raise broken
    return worst, kinks


def _prove_gradient(subject, function, points, i, what):
    """(the largest relative error along some directions of point i, whether it sits at a kink)."""
    got = function.fast_outputs_and_gradient(points)[1][i]
    _must_be_finite(what, got)
    norm = float(tf.norm(tf.cast(got, "float64")))
    directions = [subject.direction([got])[0]]
    if i < len(function.where):  # equal entries stay equal: no kink, whichever of them is taken
        directions.append(tf.ones(got.shape, "float64"))
    worst, off = 0.0, []
    for direction in directions:
        phi, length = _line(function, points, i, direction), float(tf.norm(direction))
        found = slope(phi, subject.noise, length, good=0.1 * RELATIVE * norm)
        expected, along = float(found.value), float(dot([got], [direction]))
        error = abs(along - expected) / max(norm, abs(expected), 1e-300)
        if error <= RELATIVE + 3 * found.error / max(norm, abs(expected), 1e-300):
            worst = max(worst, error)
            continue
        behind, ahead, spread = one_sided(phi, subject.noise, length)
        smooth = abs(ahead - behind) <= 4 * spread + RELATIVE * max(norm, abs(expected))
        off.append((smooth, error, expected, along))
    if off:
        numbers, kinks = _entries(subject, function, points, i, got)
        _raise_if_wrong(subject, what, got, numbers, kinks, norm)
    for smooth, error, expected, along in off:
        if smooth:
            raise Broken(
                f"{what}: off by {error:.1e} along a direction in which there is no kink",
                expected=float(f"{expected:.6g}"),
                got=float(f"{along:.6g}"),
                error=error,
                cause="each of several equal entries gets the gradient that they should share"
                if kinks
                else "too few of many entries are wrong to be found one by one",
            )
    return worst, bool(off)


def _line(function, points, i, direction):
    """φ(t): the value where point i has moved by t along the direction."""

    def phi(t):
        near = list(points)
        near[i] = near[i] + tf.cast(t * direction, near[i].dtype)
        return function.fast_value(near).numpy()

    return phi


def _entries(subject, function, points, i, got):
    """({entry: the slope that is right there}, the entries at a kink), of a sample of entries.

    At a kink what is there is right if it lies between the one-sided slopes.
    """
    entries = np.arange(tf.size(got))
    if len(entries) > ENTRIES:
        entries = np.random.default_rng(subject.seed).choice(entries, ENTRIES, replace=False)
    flat, numbers, kinks = np.ravel(got).astype("float64"), {}, []
    for entry in entries:
        direction = np.zeros(flat.size)
        direction[entry] = 1.0
        phi = _line(function, points, i, tf.constant(direction.reshape(got.shape)))
        found = slope(phi, subject.noise)
        behind, ahead, spread = one_sided(phi, subject.noise)
        low, high = min(behind, ahead) - 4 * spread, max(behind, ahead) + 4 * spread
        if high - low > 16 * spread:
            kinks.append(entry)
            numbers[entry] = float(np.clip(flat[entry], low, high))
        elif abs(found.value - flat[entry]) <= 3 * found.error:
            numbers[entry] = float(flat[entry])
        else:
            numbers[entry] = float(found.value)
    return numbers, kinks


def _raise_if_wrong(subject, what, got, numbers, kinks, norm):
    """Raise `Broken` if entries of a gradient are not the slopes that are right there."""
    entries = np.array(sorted(numbers))
    expected = np.array([numbers[entry] for entry in entries])
    have = np.ravel(got)[entries]
    off = errors(have, expected)
    if off.max(initial=0) <= RELATIVE * max(norm, largest(expected)):
        return
    worst, shape = off.argmax(), tuple(got.shape)
    if len(entries) == tf.size(got):
        have, expected = have.reshape(shape), expected.reshape(shape)
    raise Broken(
        f"{what}: off by {off.max():.2e}",
        expected=float(f"{np.ravel(expected)[worst]:.6g}"),
        got=float(f"{np.ravel(have)[worst]:.6g}"),
        entry=tuple(int(k) for k in np.unravel_index(entries[worst], shape)),
        error=float(off.max() / max(largest(expected), 1e-300)),
        cause=probable_cause(have, expected, subject.batch),
    )


def second_derivative(subject):
    """The second derivative is the derivative of the gradient, against differences."""
    worst, kinks = 0.0, False
    for mode, function in subject.exact.items():
        points = function.points
        if gradient_jumps(subject, function, points):
            kinks, points = True, beside(points, subject.seed)
        worst = max(worst, _prove_curvature(subject, function, mode, points))
    return Held(worst, "proven beside a kink" if kinks else "")


def _prove_curvature(subject, function, mode, points):
    """The largest relative error of the Hessian times a direction."""
    phi, direction = gradient_on_line(subject, function, points)
    hand = function.curvature(points, direction)
    length = float(tf.sqrt(dot(direction, direction)))
    size = float(tf.sqrt(dot(hand, hand)))
    found = slope(phi, noise(phi), length, good=1e-7 * size)
    worst, start = 0.0, 0
    for name, got in zip(function.names, hand, strict=True):
        what = f"second derivative of {name}{_said(mode)}"
        _must_be_finite(what, got)
        count = int(tf.size(got))
        expected = found.value[start : start + count].reshape(got.shape)
        start += count
        allowed = 1e-5 * max(size, largest(found.value)) + 3 * found.error
        try:
            worst = max(worst, compare(what, got, expected, allowed, batch=subject.batch))
        except Broken as broken:
            cut = _gradient_stops(function)
            if cut:
                broken.cause = f"{broken.cause}; the graph holds {cut}"
            raise
    return worst


def _gradient_stops(function):
    """The operations of the gradient's graph that stop a derivative, in words."""

    @tf.function(autograph=False)
    def run(*points):
        return function.gradient(list(points))

    names = set()
    graphs = [run.get_concrete_function(*function.points).graph]
    for graph in graphs:
        graphs += graphs_inside(graph)
        for operation in graph.get_operations():
            if operation.type in ("StopGradient", "PreventGradient"):
                names.add(f"{operation.type} ({operation.name})")
    return ", ".join(sorted(names)[:3])


def autodiff_agrees(subject):
    """The written-out gradient is what autodiff derives from the bare forward, twice."""
    worst, kinks = 0.0, False
    for mode, function in subject.exact.items():
        with autodiff() as bare:
            function.value(function.points)
        if not bare:
            raise DoesNotApply("it calls no function made by gradients.with_backward")
        prove = functools.partial(_against_autodiff, subject, function, mode)
        error, kink = at_and_beside(subject, function, prove)
        worst, kinks = max(worst, error), kinks or kink
    return Held(worst, "proven beside a kink" if kinks else "")


def _against_autodiff(subject, function, mode, points):
    direction = subject.direction(points)
    worst = 0.0
    for order, derive, tolerance in (
        ("gradient", function.gradient, 1e-10),
        ("second derivative", lambda p: function.curvature(p, direction), 1e-9),
    ):
        hand = derive(points)
        with autodiff():
            derived = derive(points)
        size = max(1.0, float(tf.sqrt(dot(derived, derived))))
        for name, got, expected in zip(function.names, hand, derived, strict=True):
            what = f"{order} of {name}{_said(mode)} against autodiff"
            allowed = tolerance * size + 1e3 * subject.noise
            error = compare(what, got, expected, allowed, floor=size, batch=subject.batch)
            worst = max(worst, error)
    return worst


def _said(mode):
    return "".join(f", {name}={value}" for name, value in mode)


def _must_be_finite(what, x):
    x = np.asarray(x)
    bad = ~np.isfinite(x)
    if bad.any():
        entry = tuple(int(k) for k in np.argwhere(bad)[0])
        raise Broken(
            f"{what}: not finite",
            expected="a number",
            got=float(x[entry]),
            entry=entry,
            error=float("inf"),
            cause=f"{bad.sum()} of {bad.size} entries; a division by 0 or a root at 0?",
        )
