"""Promises about what is kept: configs, files, copies, exports, here and in another process."""

import copy
import json
import os
import pickle

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.elsewhere import ask, value_and_slopes
from custom_layers.checks.report import (
    Broken,
    DoesNotApply,
    Held,
    compare_float32,
    compare_outputs_and_gradients,
)
from custom_layers.private_apis import layers_inside

LOST_ARGUMENT = "an argument is missing from get_config"


def config(subject):
    """The config is plain JSON, and makes the same layer: weights, losses and outputs."""
    layer = subject.given if subject.given is not None else subject.make()
    settings = layer.get_config()
    try:
        json.dumps(keras.saving.serialize_keras_object(layer))
    except TypeError as error:
        raise Broken("the config is not plain JSON", cause=str(error)) from error
    with _known(subject):
        again = type(layer).from_config(settings)
    if again.get_config() != layer.get_config():
        raise Broken(
            "the layer made from the config has another config",
            expected=_differing(layer.get_config(), again.get_config()),
            got=_differing(again.get_config(), layer.get_config()),
        )
    inputs, call = subject.arguments("float32")
    if subject.given is None:
        pair = [
            _from_seed(subject, subject.make),
            _from_seed(subject, type(layer), layer.get_config()),
        ]
        _same_start(*pair)
        for made in pair:
            subject.set_weights(made)
    else:
        layer(inputs, **call), again(inputs, **call)
        again.set_weights(layer.get_weights())
        pair = [layer, again]
    if subject.random:
        return Held(note="outputs not compared: they are random")
    return Held(_same_outputs(subject, *pair))


def _from_seed(subject, make, config=None):
    """A layer, made anew or from a config, and built, after the seed."""
    keras.utils.set_random_seed(subject.seed)
    with _known(subject):
        layer = make() if config is None else make.from_config(config)
    inputs, call = subject.arguments("float32")
    layer(inputs, **call)
    return layer


def _same_start(layer, again):
    """Raise unless the weights start alike: an initializer may be missing from the config."""
    for a, b in zip(layer.weights, again.weights, strict=True):
        if a.shape != b.shape or not np.array_equal(a, b):
            raise Broken(
                f"weight {a.path} starts at other values",
                expected=tuple(a.shape),
                got=tuple(b.shape),
                cause=LOST_ARGUMENT,
            )


def _differing(one, other):
    return {k: v for k, v in one.items() if k not in other or other[k] != v}


def _same_outputs(subject, layer, again):
    """The largest difference of the outputs, and of the losses that a call adds, in training."""
    mode = {} if "training" in subject.call else {"training": True}
    worst = 0.0
    pairs = zip(subject.answer(again, **mode), subject.answer(layer, **mode), strict=True)
    for i, (got, expected) in enumerate(pairs):
        worst = max(worst, compare_float32(f"output {i}", got, expected, LOST_ARGUMENT))
    got, expected = (float(sum(x.losses)) for x in (again, layer))
    if not np.isclose(got, expected):
        raise Broken("sum of losses", expected=expected, got=got, cause=LOST_ARGUMENT)
    return worst


def copies(subject):
    """clone_model, copy.deepcopy and pickle give layers that answer alike."""
    model, worst = subject.original, 0.0
    with _known(subject):
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        for name, copied in (
            ("clone_model", clone),
            ("deepcopy", copy.deepcopy(model)),
            ("pickle", pickle.loads(pickle.dumps(model))),
        ):
            worst = max(worst, _answers_as_the_original(subject, copied, name))
    return Held(worst)


def _answers_as_the_original(subject, model, kind):
    variables = [v.value for v in model.trainable_variables]
    return _compare_all(
        subject, kind, value_and_slopes(model, subject.arrays, variables), subject.original_answer
    )


def _compare_all(subject, kind, got, expected):
    if len(got) != len(expected):
        raise Broken(f"{kind}: number of outputs and weights", expected=len(expected), got=len(got))
    return compare_outputs_and_gradients(f", {kind}", got, expected, len(subject.original.outputs))


def weights_file(subject):
    """A `.weights.h5` file carries the weights into a new layer, bit by bit."""
    source, target = subject.original, subject.model(subject.make())
    path = os.path.join(subject.folder, "x.weights.h5")
    source.save_weights(path)
    target.load_weights(path)
    for a, b in zip(target.weights, source.weights, strict=True):
        if not np.array_equal(a, b):
            raise Broken(f"weight {b.path} does not come back from the file")
    return Held()


def keras_file(subject):
    """A `.keras` file gives the same model, here and in a process that did not build it."""
    with _known(subject):
        again = keras.models.load_model(subject.keras_file)
    worst = _answers_as_the_original(subject, again, "the file")
    classes, reason = importable_classes(subject.original)
    if reason:
        return Held(worst, f"loaded in this process only: {reason}")
    return Held(max(worst, _elsewhere(subject, "keras_file", subject.keras_file, classes)))


def saved_model(subject):
    """An exported SavedModel answers alike, gradients too, in a process without the layer."""
    return Held(_elsewhere(subject, "saved_model", subject.saved_model))


def _elsewhere(subject, kind, path, classes=()):
    try:
        got = ask(kind, path, subject.arrays, classes)
    except (RuntimeError, EOFError) as error:
        raise Broken(f"{kind} in another process: {error}") from error
    return _compare_all(subject, f"{kind} in another process", got, subject.original_answer)


def replicas(subject):
    """Two replicas, each with half of the batch, give the outputs and the gradient of the whole."""
    model = subject.original
    classes, reason = importable_classes(model)
    if reason:
        raise DoesNotApply(reason)
    if subject.batch is None or subject.batch < 2:
        raise DoesNotApply("there is no batch to divide")
    whole = 2 * (subject.batch // 2)
    arrays = [x[:whole] for x in subject.arrays]
    try:
        got = ask("replicas", subject.keras_file, arrays, classes)
    except (RuntimeError, EOFError) as error:
        raise Broken(f"under MirroredStrategy: {error}") from error
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        outputs = tf.nest.flatten(model([tf.convert_to_tensor(x) for x in arrays]))
        floats = [tf.cast(y, "float64") for y in outputs if y.dtype.is_floating]
        value = tf.add_n([tf.reduce_sum(tf.asinh(y)) for y in floats])
    slopes = tape.gradient(value, variables, unconnected_gradients="zero")
    expected = [np.asarray(tf.convert_to_tensor(x)) for x in outputs + slopes]
    if any(y.shape[:1] != (whole,) for y in outputs):
        raise DoesNotApply("the outputs have no batch axis")
    return Held(_compare_all(subject, "two replicas", got, expected))


def _known(subject):
    """A scope in which Keras finds the classes of the layer, registered or not."""
    layer = subject.make()
    return keras.saving.custom_object_scope({c.__name__: c for c in foreign_classes(layer)})


def foreign_classes(layer):
    """The classes of a layer and of what is in it that are not Keras's own."""
    classes = [type(x) for x in layers_inside(layer)]
    return [c for c in classes if not c.__module__.startswith("keras.")]


def importable_classes(model):
    """((module, name) of the classes to import, why they cannot be imported or "")."""
    found = []
    for cls in foreign_classes(model):
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
            return [], f"{cls.__name__} is not at the top of a module that can be imported"
        found.append((cls.__module__, cls.__qualname__))
    return sorted(set(found)), ""
