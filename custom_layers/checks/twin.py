"""check_twin and check_signature: one layer class drops in for another one."""

import inspect
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.function import dense_gradients, is_float
from custom_layers.checks.near import TOLERANCE, assert_near
from custom_layers.checks.report import Broken, DoesNotApply, Held


def check_signature(ours: type, twin: type) -> None:
    """Prove that two layer classes take the same arguments, in order and with the same defaults."""
    expected, actual = (
        [(p.name, p.default) for p in list(inspect.signature(cls.__init__).parameters.values())[1:]]
        for cls in (twin, ours)
    )
    expected = [argument for argument in expected if argument[0] not in not_here(ours)]
    if actual != expected:
        raise AssertionError(f"{ours.__name__}: arguments {actual}, {twin} has {expected}")


def not_here(ours):
    """The arguments that a class says it lacks, in `NOT_HERE`."""
    return getattr(ours, "NOT_HERE", frozenset())


def check_twin(ours: type, twin: type, arguments: dict, inputs: Any, **call) -> None:
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
    drops_in(ours, twin, twin(**arguments).get_config(), inputs, call)


def twin(subject):
    """The layer drops in for its twin: weights, outputs, gradients, configs and weight files."""
    if subject.twin is None:
        raise DoesNotApply("no twin is given")
    layer, call = subject.make(), dict(subject.call)
    settings = subject.twin.from_config(layer.get_config()).get_config()
    call.setdefault("training", False)
    try:
        drops_in(type(layer), subject.twin, settings, subject.inputs, call)
    except AssertionError as error:
        raise Broken(str(error)) from error
    return Held()


def drops_in(ours, twin, config, inputs, call):
    """Raise an AssertionError unless `ours`, made from a config of `twin`, takes its place."""
    # Each gets a config of its own: Keras's RNN takes the one it gets apart.
    reference, layer = twin.from_config({**config}), ours.from_config({**config})
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
        points = [t for t in tf.nest.flatten(inputs) if is_float(t)]
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = tf.nest.flatten(x(inputs, **call))
            loss = tf.add_n([tf.reduce_sum(tf.sin(tf.cast(part, "float64"))) for part in y])
        weights = [w.value for w in x.trainable_variables]
        results.append((y, dense_gradients(tape, loss, points + weights)))
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
    _weight_files_go_both_ways(ours, twin, config, inputs, call)


def _node(x):
    return keras.Input(batch_shape=x.shape, dtype=x.dtype.name)


def _weight_files_go_both_ways(ours, twin, config, inputs, call):
    reference, layer = (cls.from_config({**config, "name": "layer"}) for cls in (twin, ours))
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
