"""Promises about conduct: weights, state, seeds, training."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.function import dot, is_float, moved
from custom_layers.checks.report import Broken, DoesNotApply, Held, compare_float32
from custom_layers.checks.subject import flat_arrays


def weights_in_build(subject):
    """All weights exist after `build`: the first call makes none."""
    layer = subject.make()
    inputs, call = subject.arguments("float32")
    counts, inner = [], layer.call

    def watched(*args, **kwargs):
        counts.append({id(v) for v in layer.variables})
        y = inner(*args, **kwargs)
        counts.append({id(v) for v in layer.variables})
        return y

    layer.call = _like(watched, inner)
    layer(inputs, **call)
    for flag in (False, True):
        layer(inputs, **{"training": flag, **call})
    del layer.call
    for before, after in itertools.pairwise(counts):
        new = [v.path for v in layer.variables if id(v) in after - before]
        if new:
            raise Broken(
                "a call makes weights",
                expected="all weights after build",
                got=new,
                cause="add_weight in `call`, or a layer inside that `build` does not build",
            )
    return Held(note=f"weights: {len(layer.weights)}")


def _like(function, other):
    function.__wrapped__ = other  # Keras reads the signature
    return function


def inference_keeps_state(subject):
    """At inference no state moves, and earlier calls leave no trace."""
    layer, mode = subject.layer(), _inference(subject)
    if getattr(layer, "stateful", False):
        raise DoesNotApply("a stateful layer keeps its states on purpose")
    weights = {id(v): np.array(v) for v in layer.weights}
    first = subject.answer(layer, **mode)
    for v in layer.weights:
        if not np.array_equal(weights[id(v)], v):
            raise Broken(
                f"{v.path} moves at inference",
                expected=_short(weights[id(v)]),
                got=_short(np.array(v)),
                cause="an update that does not look at `training`",
            )
    if subject.random and subject.modes[-1] == subject.modes[0]:
        return Held(note="it draws random numbers at inference")
    inputs, call = subject.with_arrays([_other(x) for x in subject.arrays])
    fresh = subject.make()
    fresh(inputs, **{**call, **mode})
    subject.set_weights(fresh)
    expected = flat_arrays(fresh(inputs, **{**call, **mode}))
    others = flat_arrays(layer(inputs, **{**call, **mode}))
    worst, cause = 0.0, "the layer keeps something of an earlier call"
    pairs = zip(others + subject.answer(layer, **mode), expected + first, strict=True)
    for i, (got, right) in enumerate(pairs):
        what = f"output {i % len(first)} after a call with other inputs"
        worst = max(worst, compare_float32(what, got, right, cause))
    return Held(worst)


def _other(x):
    """Other numbers of the same shape; of integers, the same in another order."""
    x = np.asarray(x)
    return tf.convert_to_tensor(np.asarray(0.5 * x + 1, x.dtype) if is_float(x) else x[::-1])


def _inference(subject):
    return {} if "training" in subject.call else {"training": False}


def _short(x):
    return float(f"{np.ravel(x)[0]:.6g}") if x.size == 1 else f"Σ = {np.sum(x):.6g}"


def determinism(subject):
    """From the same seed come the same weights and the same random numbers; other calls differ."""
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(subject.seed + 7)
        layer = subject.make()
        inputs, call = subject.arguments("float32")
        outputs = [flat_arrays(layer(inputs, **{"training": True, **call})) for _ in range(2)]
        runs.append(([np.array(w) for w in layer.weights], outputs))
    (weights, outputs), (weights_again, outputs_again) = runs
    for a, b in zip(weights, weights_again, strict=True):
        if not np.array_equal(a, b):
            raise Broken("the same seed gives other weights", cause="an unseeded generator")
    for i in range(2):
        for a, b in zip(outputs[i], outputs_again[i], strict=True):
            if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                raise Broken(
                    f"the same seed gives other outputs, at call {i + 1}",
                    cause="random numbers that do not come from keras.random with a SeedGenerator",
                )
    if subject.random:
        return _draws_anew_in_graphs(subject)
    return Held()


def _draws_anew_in_graphs(subject):
    """In a graph each call draws other numbers: a seed that is a constant would not."""
    layer = subject.layer()
    inputs, call = subject.arguments("float32")
    mode = dict(subject.modes[-1])
    run = tf.function(lambda: layer(inputs, **{**call, **mode}), autograph=False)
    first, second = flat_arrays(run()), flat_arrays(run())
    if all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        raise Broken(
            "in a graph each call draws the same random numbers",
            cause="the seed is a Python number, a constant of the graph",
        )
    return Held(note="random")


def training_step(subject):
    """`train_on_batch` runs, reaches every weight, and a small step lowers the loss."""
    layer = subject.layer()
    if not layer.trainable_variables:
        raise DoesNotApply("the layer has no trainable weights")
    for mode, function in subject.exact.items():
        _every_weight_is_reached(subject, mode)
        gradient = function.gradient(function.points)
        start = len(function.where)
        slopes = [tf.zeros_like(g) for g in gradient[:start]] + gradient[start:]
        size = float(dot(slopes, slopes))
        step = 1e-4 / max(1.0, size)
        points = moved(function.points, slopes, -step)
        before, after = (float(function.value(p)) for p in (function.points, points))
        if not after - before < max(10 * subject.noise, -0.1 * step * size):
            raise Broken(
                "a small step against the gradient does not lower the loss as it should",
                expected=float(f"{before - step * size:.10g}"),
                got=float(f"{after:.10g}"),
            )
    _trains(subject, layer)
    return Held()


def _trains(subject, layer):
    model = subject.model(layer)
    outputs = [y for y in tf.nest.flatten(model.output) if is_float(y)]
    model = keras.Model(model.inputs, outputs)

    def loss(_, y):
        return tf.reduce_mean(tf.square(tf.cast(y, "float32") - 1))

    model.compile("sgd", [loss] * len(outputs))
    y = model([tf.convert_to_tensor(x) for x in subject.arrays])
    found = model.train_on_batch(subject.arrays, tf.nest.map_structure(tf.zeros_like, y))
    if not np.isfinite(found).all():
        raise Broken("the loss of a training step is not finite", got=float(np.max(found)))


def _every_weight_is_reached(subject, mode):
    """A weight whose gradient is None takes no part in any training."""
    layer = subject.layer()
    inputs, call = subject.arguments("float32")
    with tf.GradientTape() as tape:
        y = tf.nest.flatten(layer(inputs, **{**call, **dict(mode)}))
        parts = [tf.reduce_sum(tf.cast(part, "float64")) for part in y if is_float(part)]
        loss = tf.add_n(parts + [tf.cast(x, "float64") for x in layer.losses])
    variables = [v.value for v in layer.trainable_variables]
    for v, slope in zip(layer.trainable_variables, tape.gradient(loss, variables), strict=True):
        if slope is None:
            raise Broken(
                f"no gradient reaches {v.path}",
                expected="a gradient",
                got=None,
                cause="the weight takes no part in the output, or its path is cut",
            )
