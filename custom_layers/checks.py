"""The proofs, for the layers here and for those that you write yourself.

    check_backward(layer, x)                     the gradient is the derivative, first and second
    check_twin(Dense, keras.layers.Dense, dict(units=3), x)       drops in for Keras's layer
    check_signature(Dense, keras.layers.Dense)   the same arguments, order and defaults

Each raises an AssertionError that names what differs, and by how much.
"""

import inspect
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from custom_layers.base import Layer
from custom_layers.gradients import autodiff

# How far two correct computations of one value may lie apart, relative to its largest entry.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}


def assert_near(name, actual, expected, tolerance=None):
    """Raise unless `actual` equals `expected`, relative to the largest entry of `expected`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"{name}: shape {actual.shape}, expected {expected.shape}")
    if tolerance is None:
        tolerance = TOLERANCE.get(str(actual.dtype), 0.0)
    actual, expected = actual.astype("float64"), expected.astype("float64")
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))  # infinities too
    error = np.abs(np.where(same, 0, actual) - np.where(same, 0, expected)).max(initial=0)
    scale = max(1.0, np.abs(np.where(np.isfinite(expected), expected, 0)).max(initial=0))
    if not error <= tolerance * scale:
        raise AssertionError(f"{name}: off by {error:.3g}, allowed {tolerance * scale:.3g}")


class _Function:
    """A layer (or function) as a scalar function of its float inputs and trainable weights.

    The scalar is Σ sin(y + i) over all outputs y_i: every output matters, and matters differently.
    The scope gives the layer tensors in place of its weights, and forgets the state that a call
    moves on (seeds, moving averages): each call draws the same random numbers.
    """

    def __init__(self, layer, inputs, call):
        self.layer, self.call = layer, call
        self.inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        layer(self.inputs, **call)  # builds
        self.weights = list(getattr(layer, "trainable_variables", ()))
        flat = tf.nest.flatten(self.inputs)
        self.where = [i for i, x in enumerate(flat) if x.dtype.is_floating]
        self.points = [flat[i] for i in self.where]
        self.points += [tf.convert_to_tensor(w.value) for w in self.weights]
        self.names = [f"input {i}" for i in self.where] + [w.path for w in self.weights]
        for name, point in zip(self.names, self.points, strict=True):
            if point.dtype != tf.float64:
                raise AssertionError(f"check_backward needs float64, {name} is {point.dtype.name}")

    def value(self, points):
        inputs, weights = points[: len(self.where)], points[len(self.where) :]
        flat = tf.nest.flatten(self.inputs)
        for i, x in zip(self.where, inputs, strict=True):
            flat[i] = x
        packed = tf.nest.pack_sequence_as(self.inputs, flat)
        with keras.StatelessScope(state_mapping=list(zip(self.weights, weights, strict=True))):
            y = self.layer(packed, **self.call)
        total = tf.zeros((), tf.float64)
        for part in tf.nest.flatten(y):
            if part.dtype.is_floating:
                part = tf.reshape(part, (-1,))
                phase = tf.cast(tf.range(tf.size(part)), tf.float64)
                total += tf.reduce_sum(tf.sin(part + phase))
        return total

    def gradient(self, points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            value = self.value(points)
        return _gradients(tape, value, points)

    def curvature(self, points, direction):
        """The Hessian times `direction`."""
        with tf.GradientTape() as tape:
            tape.watch(points)
            slope = _dot(self.gradient(points), direction)
        return _gradients(tape, slope, points)


def _gradients(tape, value, points):
    """Dense ones, zeros where there is no path."""
    gradients = tape.gradient(value, points, unconnected_gradients="zero")
    return [tf.convert_to_tensor(g) for g in gradients]


def _dot(a, b):
    return tf.add_n([tf.reduce_sum(x * y) for x, y in zip(a, b, strict=True)])


def _difference(value, points, direction, step=1e-6):
    """The central difference of `value` along `direction`."""
    ahead = value([x + step * d for x, d in zip(points, direction, strict=True)])
    behind = value([x - step * d for x, d in zip(points, direction, strict=True)])
    return (ahead - behind) / (2 * step)


def check_backward(layer, inputs, *, second_order=True, seed=0, **call):
    """Prove that the gradients of a layer are its derivatives.

    In float64, for each float input and each trainable weight: the written-out gradient equals what
    TensorFlow derives from the bare forward (to 1e-10) and a central difference along a random
    direction (to 1e-6). The same for the second derivative (1e-9 and 1e-5).

    Args:
        layer: a layer built with `dtype="float64"`, or a function of tensors.
        inputs: what it is called with: arrays or a structure of them.
        second_order: whether to prove the second derivative too.
        seed: of the random directions.
        **call: further arguments of the call, such as `training=True` or `mask=...`.

    Raises:
        AssertionError: names the input or weight whose gradient is off, and by how much.
    """
    function, rng = _Function(layer, inputs, call), np.random.default_rng(seed)
    points, names = function.points, function.names

    hand = function.gradient(points)
    with autodiff():
        derived = function.gradient(points)
    for name, a, b in zip(names, hand, derived, strict=True):
        assert_near(f"gradient of {name} against autodiff", a, b)

    directions = []  # one for each tensor alone, so that a small one is not drowned
    for i, point in enumerate(points):
        directions.append([tf.zeros_like(x) for x in points])
        directions[i][i] = tf.constant(rng.standard_normal(point.shape), tf.float64)
    size = max(1.0, tf.sqrt(_dot(hand, hand)).numpy())
    for name, direction in zip(names, directions, strict=True):
        slope = _difference(function.value, points, direction)
        name = f"gradient of {name} against differences"
        assert_near(name, _dot(hand, direction), slope, 1e-6 * size)
    if not second_order:
        return

    probe = [tf.constant(rng.standard_normal(x.shape), tf.float64) for x in points]
    hand = function.curvature(points, probe)
    with autodiff():
        derived = function.curvature(points, probe)
    size = max(1.0, tf.sqrt(_dot(hand, hand)).numpy())
    for name, a, b in zip(names, hand, derived, strict=True):
        assert_near(f"second derivative of {name} against autodiff", a, b, 1e-9 * size)
    for name, direction in zip(names, directions, strict=True):
        slope = _difference(lambda p: _dot(function.gradient(p), probe), points, direction)
        name = f"second derivative of {name} against differences"
        assert_near(name, _dot(hand, direction), slope, 1e-5 * size)


def check_signature(ours, twin):
    """Prove that two layer classes take the same arguments, in order and with the same defaults."""
    expected = [
        (p.name, p.default)
        for p in list(inspect.signature(twin.__init__).parameters.values())[1:]
        if p.name not in Layer.NOT_HERE
    ]
    actual = [
        (p.name, p.default) for p in list(inspect.signature(ours.__init__).parameters.values())[1:]
    ]
    if actual != expected:
        raise AssertionError(f"{ours.__name__}: arguments {actual}, {twin} has {expected}")


def check_twin(ours, twin, arguments, inputs, **call):
    """Prove that a layer class drops in for another one.

    Built from the other's config, it has weights of the same names, shapes and order, and with the
    same values gives the same outputs and gradients; its config makes the other one; and
    `.weights.h5` files go both ways.

    Args:
        ours, twin: the two layer classes.
        arguments: of the constructor of `twin`.
        inputs: an array or a structure of arrays.
        **call: further arguments of the call. Calls must not be random.
    """
    reference = twin(**arguments)
    layer = ours.from_config(reference.get_config())
    inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    layer(inputs, **call), reference(inputs, **call)  # builds
    names = [[(w.name, tuple(w.shape), w.dtype) for w in x.weights] for x in (layer, reference)]
    if names[0] != names[1]:
        raise AssertionError(f"{ours.__name__}: weights {names[0]}, {twin} has {names[1]}")
    # Zero biases and unit scales would hide mistakes.
    rng = np.random.default_rng(0)
    values = [
        (w + 0.1 * np.abs(rng.standard_normal(w.shape))).astype(w.dtype)
        if np.issubdtype(w.dtype, np.floating)
        else w
        for w in reference.get_weights()
    ]
    reference.set_weights(values)
    layer.set_weights(values)
    results = []
    for x in (layer, reference):
        points = [t for t in tf.nest.flatten(inputs) if t.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = tf.nest.flatten(x(inputs, **call))
            loss = tf.add_n([tf.reduce_sum(tf.sin(tf.cast(part, "float64"))) for part in y])
        weights = [w.value for w in x.trainable_variables]
        results.append((y, _gradients(tape, loss, points + weights)))
    for kind, mine, theirs in zip(("output", "gradient"), *results, strict=True):
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            if a.dtype != b.dtype:
                raise AssertionError(f"{kind} {i}: dtype {a.dtype.name}, expected {b.dtype.name}")
            assert_near(f"{kind} {i}", a, b, TOLERANCE[layer.compute_dtype])
    for a, b in zip(layer.weights, reference.weights, strict=True):
        assert_near(
            f"weight {a.name} after the call", a.numpy(), b.numpy(), TOLERANCE[layer.compute_dtype]
        )
    back = twin.from_config({**layer.get_config(), "name": reference.name}).get_config()
    if back != reference.get_config():
        raise AssertionError(f"config {back}, expected {reference.get_config()}")
    _check_weight_files(ours, twin, arguments, inputs, call)


def _node(x):
    return keras.Input(batch_shape=x.shape, dtype=x.dtype.name)


def _check_weight_files(ours, twin, arguments, inputs, call):
    reference = twin(**arguments, name="layer")
    layer = ours.from_config(reference.get_config())
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "x.weights.h5")
        for source, target in ((layer, reference), (reference, layer)):
            models = []
            for x in (source, target):
                nodes = tf.nest.map_structure(_node, inputs)
                models.append(keras.Model(nodes, x(nodes, **call)))
            rng = np.random.default_rng(1)
            source.set_weights(
                [rng.uniform(0.1, 1, w.shape).astype(w.dtype) for w in source.get_weights()]
            )
            models[0].save_weights(path)
            models[1].load_weights(path)
            for a, b in zip(target.get_weights(), source.get_weights(), strict=True):
                assert_near(f".weights.h5 of {type(source)} in {type(target)}", a, b, 0.0)
