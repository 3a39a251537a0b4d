"""Promises about how the layer is computed: eager, graph and XLA; float32 and 16 bits.

What a rounding may change is measured, in float64: inputs and weights are moved by the roundoff of
the format, and the largest change of each output and gradient is the noise that is allowed.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.function import is_float
from custom_layers.checks.kinks import at_and_beside
from custom_layers.checks.report import Broken, Held, compare

NOISE = 16.0  # how many times the measured noise a correct computation may be off
# {compute dtype: its policies}
POLICIES = {
    "float16": ("mixed_float16", "float16"),
    "bfloat16": ("mixed_bfloat16", "bfloat16"),
}


def compiled(subject):
    """Outputs and gradients are the same in eager mode, in a graph and compiled by XLA."""
    worst, notes = 0.0, set()
    for mode, function in subject.exact.items():
        prove = functools.partial(_prove_compiled, subject, mode, notes)
        error, kink = at_and_beside(subject, function, prove)
        worst = max(worst, error)
        notes |= {"proven beside a kink"} if kink else set()
    return Held(worst, "; ".join(sorted(notes)))


def _prove_compiled(subject, mode, notes, points):
    points, exact, spread = subject.rounding("float32", mode, points)
    function = subject.function("float32", **dict(mode))
    points = [tf.cast(x, y.dtype) for x, y in zip(points, function.points, strict=True)]
    names = [f"output {i}" for i in range(len(exact) - len(points))]
    names += [f"gradient of {name}" for name in function.names]
    random = dict(mode).get("training") and subject.random
    worst = 0.0
    for kind, jit_compile in (("eager mode", None), ("a graph", False), ("XLA", True)):
        if random and kind == "a graph":
            continue  # it draws other numbers from the same seed; `determinism` looks at them
        try:
            results = _outputs_and_gradient(function, points, jit_compile)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if not (jit_compile and _refused(error)):
                raise
            notes.add(f"XLA refuses: {_refused(error)}")
            continue
        if random:
            continue  # that it runs is all that can be said
        for name, got, expected, noise in zip(names, results, exact, spread, strict=True):
            what = f"{name} in {kind}, against {subject.exact_policy}"
            allowed = NOISE * noise + 1e-30
            worst = max(worst, compare(what, got, expected, allowed, batch=subject.batch))
    return worst


def _outputs_and_gradient(function, points, jit_compile):
    def run(*points):
        outputs, gradient = function.outputs_and_gradient(list(points))
        return [y for y in outputs if is_float(y)] + gradient

    if jit_compile is not None:
        run = tf.function(run, jit_compile=jit_compile, autograph=False)
        run = run.get_concrete_function(*points)  # without TensorFlow's advice on retracing
    return run(*points)


def _refused(error):
    """The operation that XLA has no kernel for, or "" if it refuses for another reason."""
    text = str(error)
    for sign in ("No registered '", "Op type not registered '", "unsupported operations", "XLA"):
        if sign in text:
            start = text.find("No registered '")
            return text[start + 15 :].split("'")[0] if start >= 0 else text.split("\n")[0][:80]
    return ""


def precision(subject):
    """Dtypes are those of the policy, and errors in 16 bits are rounding errors of the format."""
    worst = 0.0
    for mode, function in subject.exact.items():
        _have_dtype(function.outputs(function.points)[0], subject.exact_policy)
        if dict(mode).get("training") and subject.random:
            continue
        for compute_dtype, policies in POLICIES.items():
            prove = functools.partial(_prove_format, subject, compute_dtype, policies, mode)
            rounded = subject.rounded(compute_dtype, function.points)
            worst = max(worst, at_and_beside(subject, function, prove, rounded)[0])
    return Held(worst)


def _prove_format(subject, compute_dtype, policies, mode, points):
    points, exact, spread = subject.rounding(compute_dtype, mode, points)
    worst = 0.0
    for policy in policies:
        function = subject.function(policy, **dict(mode))
        near = [tf.cast(x, y.dtype) for x, y in zip(points, function.points, strict=True)]
        outputs, gradient = function.outputs_and_gradient(near)
        _have_dtype(outputs, policy)
        outputs = [y for y in outputs if is_float(y)]
        names = [f"output {i} under {policy}" for i in range(len(outputs))]
        for name, point, slope in zip(function.names, function.points, gradient, strict=True):
            names.append(f"gradient of {name} under {policy}")
            if slope.dtype != point.dtype:
                raise Broken(f"{names[-1]}: wrong dtype", expected=point.dtype, got=slope.dtype)
        results = [np.asarray(tf.cast(x, "float64")) for x in outputs + gradient]
        for name, got, expected, noise in zip(names, results, exact, spread, strict=True):
            worst = max(worst, compare(name, got, expected, NOISE * noise, batch=subject.batch))
    return worst


def _have_dtype(outputs, policy):
    """Raise unless the outputs that are floats have the compute dtype of the policy."""
    compute_dtype = keras.dtype_policies.get(policy).compute_dtype
    for i, y in enumerate(outputs):
        if is_float(y) and y.dtype.name != compute_dtype:
            raise Broken(
                f"output {i} under {policy}: wrong dtype",
                expected=compute_dtype,
                got=y.dtype.name,
                cause="a constant, a weight or an operation in a dtype of its own",
            )
