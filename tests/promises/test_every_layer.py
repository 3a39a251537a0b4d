"""What every layer promises: the rows of `every_layer.py`, the promises below."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near
from tests.promises.every_layer import ROWS


def pytest_generate_tests(metafunc):
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", ROWS.values(), ids=ROWS.keys())


def test_no_layer_is_forgotten():
    layers = {
        value.__name__
        for value in vars(custom_layers).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    assert layers == {name.partition(" ")[0] for name in ROWS}


def outputs(model, inputs):
    return tf.nest.flatten(model.predict(inputs, verbose=0))


def assert_same(model, other, inputs, tolerance=1e-6):
    for a, b in zip(outputs(model, inputs), outputs(other, inputs), strict=True):
        assert_near("output", a, b, tolerance)


def test_config_makes_the_same_layer(row):
    layer = row.make()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_keras_file(row, tmp_path):
    model = row.model()
    model.save(tmp_path / "model.keras")
    assert_same(keras.models.load_model(tmp_path / "model.keras"), model, row.inputs)


def test_saved_model(row, tmp_path):
    model = row.model()
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    served = loaded.serve(row.inputs)
    for a, b in zip(tf.nest.flatten(served), outputs(model, row.inputs), strict=True):
        assert_near("output", a, b, 1e-6)


def test_clone(row):
    model = row.model()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert_same(clone, model, row.inputs)


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_dtype(row, dtype):
    layer = row.make(dtype=dtype)
    expected = keras.dtype_policies.get(dtype).compute_dtype
    with tf.GradientTape() as tape:
        y = [part for part in tf.nest.flatten(layer(row.inputs)) if part.dtype.is_floating]
        loss = tf.add_n([tf.reduce_sum(tf.cast(part, tf.float32)) for part in y])
    assert {part.dtype.name for part in y} == {expected}
    for w, g in zip(
        layer.trainable_variables,
        tape.gradient(loss, [w.value for w in layer.trainable_variables]),
        strict=True,
    ):
        assert g.dtype == w.dtype
        assert np.isfinite(np.asarray(tf.convert_to_tensor(g), "float32")).all()
    reference = row.make(dtype="float64")
    reference(row.inputs)
    reference.set_weights(
        [
            w.astype("float64") if w.dtype.kind != "u" else w
            for w in map(np.asarray, layer.get_weights())
        ]
    )
    for a, b in zip(
        tf.nest.flatten(layer(row.inputs)), tf.nest.flatten(reference(row.inputs)), strict=True
    ):
        assert_near("output", np.asarray(a, "float64"), b, 5e-2)


def test_unknown_sizes(row):
    known, unknown = row.model(), row.model(unknown=True)
    unknown.set_weights(known.get_weights())
    assert_same(unknown, known, row.inputs)


def test_static_shape_is_the_real_one(row):
    layer = row.make()
    shapes = tf.nest.map_structure(lambda x: tuple(x.shape), row.inputs)
    said = layer.compute_output_shape(shapes)
    real = tf.nest.map_structure(lambda y: tuple(y.shape), layer(row.inputs))
    assert tf.nest.flatten(said) == tf.nest.flatten(real)


def gradients(layer, inputs, compiled, **call):
    @tf.function(jit_compile=compiled)
    def run(inputs):
        points = [x for x in tf.nest.flatten(inputs) if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = [p for p in tf.nest.flatten(layer(inputs, **call)) if p.dtype.is_floating]
            loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in y])
        points += [w.value for w in layer.trainable_variables]
        slopes = tape.gradient(loss, points, unconnected_gradients="zero")
        return y + [tf.convert_to_tensor(g) for g in slopes]

    return run(tf.nest.map_structure(tf.convert_to_tensor, inputs))


def test_xla(row):
    """Compiled by XLA, outputs and gradients are those of the graph."""
    layer = row.make()
    layer(row.inputs)
    graph = gradients(layer, row.inputs, compiled=False)
    for a, b in zip(gradients(layer, row.inputs, compiled=True), graph, strict=True):
        assert_near("output or gradient", a, b, 1e-4)


def test_empty_batch(row):
    empty = tf.nest.map_structure(lambda x: x[:0], row.inputs)
    layer = row.make()
    layer(row.inputs)
    for part in tf.nest.flatten(layer(empty)):
        assert 0 in part.shape
    for value in gradients(layer, empty, compiled=False):
        assert np.isfinite(value).all()


def test_trains(row):
    """One step of `fit` moves every trainable weight."""
    model = row.model()
    model.compile("sgd", lambda y, p: tf.reduce_mean(tf.square(tf.cast(p, "float32") - 1)))
    before = [w.numpy() for w in model.trainable_weights]
    targets = tf.nest.map_structure(np.zeros_like, model.predict(row.inputs, verbose=0))
    if not before:
        pytest.skip("has no weights")
    model.fit(row.inputs, targets, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.abs(weight.numpy() - old).max() > 0, weight.path
