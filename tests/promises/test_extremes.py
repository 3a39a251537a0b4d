"""Extremes: zeros of both signs, numbers near the smallest and the largest, infinities, no entries.

Right is what `keras.layers` has in float64, or this library in float64 where Keras has no such
layer; what is not compared stands in `NOT_COMPARED` with its reason; test_nan.py has the rule
on NaN. Sizes
of 0 run in a process of their own, since kernels of TensorFlow end the process there: whatever the
size, a layer answers with the shape that it predicts or raises an error.
"""

import contextlib
import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from tests.promises.every_layer import LONG, ROWS

LARGE = np.array([3e38, 0.75, -3e38], "float32")
SIGNS = {
    "zeros": lambda x: np.zeros_like(x),
    "negative zeros": lambda x: -np.zeros_like(x),
    "equal entries": lambda x: np.full_like(x, 1.5),
    "1e-30": lambda x: np.copysign(np.float32(1e-30), x),
    "denormal": lambda x: np.copysign(np.float32(1e-40), x),
    "3e38": lambda x: np.random.default_rng(0).choice(LARGE, x.shape),
    # Sums of 3e38 leave the range of float32, in an order of its own on each processor: not these.
    "3e35": lambda x: np.random.default_rng(0).uniform(-3e35, 3e35, x.shape).astype("float32"),
    "inf": lambda x: with_one(x, np.inf),
    "-inf": lambda x: with_one(x, -np.inf),
    "NaN": lambda x: with_one(x, np.nan),
}
# Layers that do not add: even of the largest numbers, each output and gradient is exact.
EXACT = {"MaxPooling", "GlobalMaxPooling", "GraphMaxPooling", "ReLU", "LeakyReLU", "Flatten"}
EXACT |= {"Dropout", "SpatialDropout", "Embedding", "ActivityRegularization"}
NOT_COMPARED = {
    **{(n, "NaN"): "has no twin, see test_nan.py" for n in ("GraphMaxPooling", "SAGEConv")},
    ("EdgeConv", "NaN"): "has no twin, see test_nan.py",
    ("MaxPooling", "NaN"): "TensorFlow's kernel passes over NaN",
    ("GlobalMaxPooling", "NaN"): "the gradient of a maximum that is NaN is 0 / 0, or 0",
    ("LayerNormalization", "3e35"): "the variance leaves the range of float32, in Keras too",
    **{
        (f"{name}Normalization", "3e35"): "the squares leave the range of float32, in Keras too"
        for name in ("Group", "RMS", "Unit")
    },
    **{
        (f"{name}Attention", "3e35"): "products of queries and keys leave the range of float32"
        for name in ("", "MultiHead", "GroupedQuery")
    },
    ("BatchNormalization", "3e35"): "the variance leaves the range of float32, in Keras too",
    ("GraphConv with weights", "3e35"): "a weight times a feature leaves the range of float32",
    ("GATConv", "3e35"): "the gradient of the scores leaves the range of float32",
    ("SAGEConv", "3e35"): "the gradient of a normalized row is so small that its digits are lost",
    ("ReLU", "NaN"): "threshold=1: NaN > 1 is False, and so NaN becomes a number",
}
MODES = {
    "eager": lambda run: run,
    "graph": lambda run: tf.function(run, autograph=False),
    "XLA": lambda run: tf.function(run, autograph=False, jit_compile=True),
}
SHORT = {"Dense", "SimpleRNN", "Conv2D", "MaxPooling2D", "MaxPooling3D", "Softmax", "GraphConv"}
SHORT |= {"LayerNormalization", "GraphMaxPooling", "GATConv", "ReLU", "GlobalMaxPooling1D"}


def with_one(x, value):
    x = np.array(x)
    x.flat[x.size // 2] = value
    return x


def family(name):
    """MaxPooling2D -> MaxPooling, "LSTM with states" -> LSTM."""
    return name.partition(" ")[0].rstrip("D").rstrip("123")


def is_random(layer):
    return bool(getattr(layer, "dropout", getattr(layer, "rate", 0)))


def function_of(layer):
    """(float inputs, others) -> outputs and gradients of the inputs and weights, in a flat list."""
    training = not is_random(layer)

    def run(inputs):
        points = [x for x in tf.nest.flatten(inputs) if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = tf.nest.flatten(layer(inputs, training=training))
            y = [part for part in y if part.dtype.is_floating]
        weights = [w.value for w in layer.trainable_variables]
        count = [tf.cast(tf.size(p), "float32") for p in y]
        dy = [
            tf.sin(tf.reshape(tf.range(1.0, 1.0 + n), tf.shape(p)))
            for n, p in zip(count, y, strict=True)
        ]
        dy = [tf.cast(d, part.dtype) for d, part in zip(dy, y, strict=True)]
        return y + [tf.convert_to_tensor(g) for g in tape.gradient(y, points + weights, dy, "zero")]

    return run


def tensors(inputs, dtype):
    return tf.nest.map_structure(
        lambda x: tf.constant(x, dtype if x.dtype.kind == "f" else x.dtype), inputs
    )


def reference(name, row, layer):
    """Keras's layer in float64 with the weights of `layer`, or ours."""
    twin = getattr(keras.layers, name.partition(" ")[0], None)
    right = row.make(dtype="float64")
    # Keras's MaxPooling3D has no float64, and gives each of equal maxima the whole gradient.
    # Of a row that shows a layer inside of another one, the reference is ours.
    if twin is not None and name != "MaxPooling3D" and type(right).__name__ == twin.__name__:
        right = twin.from_config(right.get_config())
    right(tensors(row.inputs, "float64"))
    right.set_weights(layer.get_weights())
    return right


def wrong_values(name, mode):
    """What of the layer of that row is wrong, in words, one for each case."""
    row = ROWS[name]
    layer = row.make(dtype="float32")
    layer(row.inputs)
    weights = layer.get_weights()
    right = reference(name, row, layer)
    start = right.get_weights()
    run, expect = MODES[mode](function_of(layer)), function_of(right)
    for case, change in SIGNS.items():
        if NOT_COMPARED.keys() & {(name, case), (family(name), case)}:
            continue
        if case == "3e38" and family(name) not in EXACT:
            continue
        flat = [change(x) if x.dtype.kind == "f" else x for x in tf.nest.flatten(row.inputs)]
        inputs = tf.nest.pack_sequence_as(row.inputs, flat)
        layer.set_weights(weights), right.set_weights(start)
        actual = run(tensors(inputs, "float32"))
        expected = expect(tensors(inputs, right.compute_dtype))
        # TensorFlow's threads may take denormal numbers for 0.
        zeros = [np.zeros_like(x) if x.dtype.kind == "f" else x for x in flat]
        zeros = tf.nest.pack_sequence_as(row.inputs, zeros)
        right.set_weights(start)
        flushed = expect(tensors(zeros, right.compute_dtype)) if case == "denormal" else expected
        for i, (a, *others) in enumerate(zip(actual, expected, flushed, strict=True)):
            with np.errstate(over="ignore"):
                a, *others = (t.numpy().astype("float32") for t in (a, *others))
            errors = [error for b in others if (error := how_far(a, b))]
            if len(errors) == len(others):
                yield f"{case}, {mode}, result {i}: {errors[0]}"


def how_far(a, b):
    """What differs between a and b, in words, or nothing."""
    try:
        assert_near("value", a, b, 1e-4)
    except AssertionError as error:
        return f"{error}: {a.ravel()[:6]}, expected {b.ravel()[:6]}"
    return ""


def has_floats(row):
    return any(x.dtype.kind == "f" for x in tf.nest.flatten(row.inputs))


CASES = [
    pytest.param(
        name,
        mode,
        marks=[pytest.mark.long] if name not in SHORT and (mode != "graph" or name in LONG) else [],
    )
    for name, row in ROWS.items()
    if has_floats(row)
    for mode in MODES
]
# What is still wrong, until it is mended: (row, mode) and why.
ONEDNN = "oneDNN's kernel hides NaN"
NO_TWIN = "Keras's layer, with which it would be compared, does not run in float64 on a CPU"
KNOWN = {
    ("Softmax", "eager"): ONEDNN,
    ("Softmax", "graph"): ONEDNN,
    ("Conv2D", "graph"): ONEDNN,
    **{
        (name, mode): reason
        for mode in ("eager", "graph")
        for name, reason in {
            "Conv2D in groups, channels first": "not looked into",
            "Conv2DTranspose": NO_TWIN,
            "Conv3DTranspose": NO_TWIN,
            "AveragePooling3D": NO_TWIN,
        }.items()
    },
}


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_values(name, mode, request):
    if (name, mode) in KNOWN:
        reason = KNOWN[name, mode]
        raises = (AssertionError, tf.errors.OpError)
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason, raises=raises))
    wrong = list(wrong_values(name, mode))
    assert not wrong, "\n".join(wrong)


def empty_inputs(row):
    """The inputs with each axis in turn of size 0; a batch of graphs has no graph, node or edge."""
    if not isinstance(row.inputs, list):
        for axis in range(row.inputs.ndim):
            yield np.take(row.inputs, range(0), axis)
        return
    yield [x[:0] for x in row.inputs]
    first = row.inputs[0]
    if len(row.inputs) > 1 and row.inputs[1].ndim > 1:
        yield [first, *(x[:, :0] for x in row.inputs[1:])]  # no edge
        yield [first[:, :0], *(x[:, :0] for x in row.inputs[1:])]  # no node
        yield [first[..., :0], *row.inputs[1:]]  # no feature
    else:
        yield [first[:0], row.inputs[1][:0], *row.inputs[2:]]


def answer(layer, inputs, mode):
    """The shapes of the outputs that differ from those predicted, or of gradients, in words."""
    layer = layer(dtype="float32")
    inputs = tensors(inputs, "float32")
    shapes = tf.nest.map_structure(lambda x: tuple(x.shape), inputs)
    try:
        results = MODES[mode](function_of(layer))(inputs)
    except (ValueError, TypeError, ZeroDivisionError, tf.errors.OpError) as error:
        return "", type(error).__name__
    said = layer.compute_output_shape(shapes)
    said = said if isinstance(said[0], tuple) else [said]
    got = [tuple(y.shape) for y in results[: len(said)]]
    if got != [tuple(s) for s in said]:
        return f"shapes {got}, predicted {said}", ""
    points = [x for x in tf.nest.flatten(inputs) if x.dtype.is_floating]
    for x, dx in zip(points, results[len(said) :], strict=False):
        if x.shape != dx.shape:
            return f"gradient of shape {dx.shape} of an input of shape {x.shape}", ""
    return "", ""


def main(cases):
    """Run the cases; tell of each before and after, for the process may end between the two."""
    for name, i, mode in cases:
        print(json.dumps([name, i, mode]), flush=True)
        inputs = list(empty_inputs(ROWS[name]))[i]
        with contextlib.redirect_stdout(sys.stderr):
            wrong, raised = answer(ROWS[name].make, inputs, mode)
        print(json.dumps([wrong, raised]), flush=True)


def run_apart(cases):
    """{case: (what is wrong, the error raised)}, from as many processes as die, and one."""
    results, left = {}, list(cases)
    while left:
        run = subprocess.run(
            [sys.executable, "-m", "tests.promises.test_extremes"],
            input=json.dumps(left), capture_output=True, text=True,
        )  # fmt: skip
        lines = [json.loads(line) for line in run.stdout.splitlines()]
        for case, result in zip(lines[::2], lines[1::2], strict=False):
            results[tuple(case)] = tuple(result)
        if len(lines) % 2:
            results[tuple(lines[-1])] = f"the process ends with {run.returncode}", ""
        elif run.returncode:
            raise RuntimeError(run.stderr[-3000:])
        left = [case for case in left if tuple(case) not in results]
    return results


@functools.cache
def empty_cases(mode):
    cases = [(n, i, mode) for n, row in ROWS.items() for i, _ in enumerate(empty_inputs(row))]
    return run_apart(cases)


# (row, which of `empty_inputs`) and why, until it is mended.
DIES = {("RNN", 2): "a product of no features, in Keras's GRUCell"}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("mode", MODES)
# Each end of a process costs another start of TensorFlow.
@pytest.mark.long
def test_sizes_of_0(name, mode):
    results = {i: result for (n, i, _), result in empty_cases(mode).items() if n == name}
    wrong = {i: said for i, (said, _) in results.items() if said and (name, i) not in DIES}
    assert not wrong
    # An empty batch is no mistake.
    assert not results[0][1]


if __name__ == "__main__":
    main(json.load(sys.stdin))
