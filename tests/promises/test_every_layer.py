"""What every layer promises: one row a layer, the promises below.

A new layer earns all of these tests by adding its row.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


def edges(batch, count, nodes):
    """Edges (batch, count, 2), the last row of each graph padding."""
    rows = RNG.integers(0, nodes, (batch, count, 2), dtype="int32")
    rows[:, -1] = -1
    return rows


def flat_graphs():
    """Four nodes in three of four graphs: [nodes, graph_ids, per_graph]."""
    return [normal(4, 5), np.array([0, 2, 3, 2], "int32"), normal(4, 1)]


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer, with arguments and inputs that show it.

    make: builds the layer, given `dtype`.
    inputs: an array or a list of arrays, batch first.
    free_axes: axes, beside the batch, whose size may be unknown.
    """

    make: Callable
    inputs: object
    free_axes: tuple[int, ...] = ()

    def nodes(self, unknown=False):
        def node(x):
            free = self.free_axes if unknown else ()
            shape = [None if i in free else size for i, size in enumerate(x.shape)]
            return keras.Input(shape[1:], dtype=x.dtype.name)

        return tf.nest.map_structure(node, self.inputs)

    def model(self, unknown=False, **arguments):
        nodes = self.nodes(unknown)
        return keras.Model(nodes, self.make(**arguments)(nodes))


ROWS = {
    "Dense": Row(lambda **k: custom_layers.Dense(3, activation="tanh", **k), normal(4, 5)),
    # Keras's orthogonal initializer has no bfloat16.
    "LSTM": Row(
        lambda **k: custom_layers.LSTM(3, recurrent_initializer="normal", **k),
        normal(4, 5, 2),
        (1,),
    ),
    "GRU": Row(
        lambda **k: custom_layers.GRU(3, recurrent_initializer="normal", **k), normal(4, 5, 2), (1,)
    ),
    "SimpleRNN": Row(
        lambda **k: custom_layers.SimpleRNN(3, recurrent_initializer="normal", **k),
        normal(4, 5, 2),
        (1,),
    ),
    "GRU as in Cho et al.": Row(
        lambda **k: custom_layers.GRU(
            3, recurrent_initializer="normal", reset_after=False, return_sequences=True, **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "LSTM with states": Row(
        lambda **k: custom_layers.LSTM(
            3, recurrent_initializer="normal", return_sequences=True, return_state=True, **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "LSTMCell": Row(  # a cell lives in a loop
        lambda **k: keras.layers.RNN(
            custom_layers.LSTMCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "GRUCell": Row(  # a cell lives in a loop
        lambda **k: keras.layers.RNN(
            custom_layers.GRUCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "SimpleRNNCell": Row(  # a cell lives in a loop
        lambda **k: keras.layers.RNN(
            custom_layers.SimpleRNNCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "RNN": Row(
        lambda **k: custom_layers.RNN(
            keras.layers.GRUCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "Embedding": Row(
        lambda **k: custom_layers.Embedding(6, 3, mask_zero=True, **k),
        np.arange(12, dtype="int32").reshape(4, 3) % 6,
        free_axes=(1,),
    ),
    "BatchNormalization": Row(
        lambda **k: custom_layers.BatchNormalization(**k), normal(4, 3, 5), free_axes=(1,)
    ),
    "BatchNormalization channels first": Row(
        lambda **k: custom_layers.BatchNormalization(axis=1, renorm=True, **k), normal(4, 3, 5)
    ),
    "LayerNormalization": Row(
        lambda **k: custom_layers.LayerNormalization(**k), normal(4, 3, 5), free_axes=(1,)
    ),
    "LayerNormalization over time": Row(
        lambda **k: custom_layers.LayerNormalization(axis=1, **k), normal(4, 3, 5)
    ),
    "Dropout": Row(lambda **k: custom_layers.Dropout(0.5, **k), normal(4, 5), (1,)),
    "SpatialDropout1D": Row(
        lambda **k: custom_layers.SpatialDropout1D(0.5, **k), normal(4, 5, 3), (1,)
    ),
    "SpatialDropout2D": Row(
        lambda **k: custom_layers.SpatialDropout2D(0.5, **k), normal(4, 5, 2, 3), (1, 2)
    ),
    "SpatialDropout3D": Row(
        lambda **k: custom_layers.SpatialDropout3D(0.5, **k), normal(2, 3, 2, 3, 4), (1, 2, 3)
    ),
    "Activation": Row(lambda **k: custom_layers.Activation("gelu", **k), normal(4, 5), (1,)),
    "ReLU": Row(lambda **k: custom_layers.ReLU(1.0, 0.1, 0.2, **k), normal(4, 5), (1,)),
    "LeakyReLU": Row(lambda **k: custom_layers.LeakyReLU(**k), normal(4, 5), (1,)),
    "Softmax": Row(lambda **k: custom_layers.Softmax(**k), normal(4, 5), (1,)),
    "Flatten": Row(lambda **k: custom_layers.Flatten(**k), normal(4, 3, 2), (1, 2)),
    "ActivityRegularization": Row(
        lambda **k: custom_layers.ActivityRegularization(0.1, 0.2, **k), normal(4, 5), (1,)
    ),
    "Conv1D": Row(
        lambda **k: custom_layers.Conv1D(3, 2, padding="causal", dilation_rate=2, **k),
        normal(4, 5, 2),
        (1,),
    ),
    "Conv2D": Row(
        lambda **k: custom_layers.Conv2D(4, 3, 2, "same", activation="relu", **k),
        normal(4, 5, 6, 3),
        (1, 2),
    ),
    "Conv2D in groups, channels first": Row(
        lambda **k: custom_layers.Conv2D(4, 2, groups=2, data_format="channels_first", **k),
        normal(4, 2, 5, 6),
        (2, 3),
    ),
    "Conv3D": Row(
        lambda **k: custom_layers.Conv3D(3, 2, data_format="channels_first", **k),
        normal(4, 2, 3, 4, 3),
        (2, 3, 4),
    ),
    "Conv1DTranspose": Row(
        lambda **k: custom_layers.Conv1DTranspose(3, 2, 3, "same", output_padding=1, **k),
        normal(4, 5, 2),
        (1,),
    ),
    "Conv2DTranspose": Row(
        lambda **k: custom_layers.Conv2DTranspose(3, 3, dilation_rate=(1, 2), **k),
        normal(4, 3, 4, 2),
        (1, 2),
    ),
    "Conv3DTranspose": Row(
        lambda **k: custom_layers.Conv3DTranspose(3, 2, 2, data_format="channels_first", **k),
        normal(4, 2, 3, 2, 3),
        (2, 3, 4),
    ),
    "MaxPooling1D": Row(
        lambda **k: custom_layers.MaxPooling1D(3, 2, "same", **k), normal(4, 5, 2), (1,)
    ),
    "MaxPooling2D": Row(lambda **k: custom_layers.MaxPooling2D(**k), normal(4, 5, 4, 3), (1, 2)),
    "MaxPooling3D": Row(
        lambda **k: custom_layers.MaxPooling3D(data_format="channels_first", **k),
        normal(4, 2, 3, 2, 4),
        (2, 3, 4),
    ),
    "AveragePooling1D": Row(
        lambda **k: custom_layers.AveragePooling1D(2, data_format="channels_first", **k),
        normal(4, 2, 5),
        (2,),
    ),
    "AveragePooling2D": Row(
        lambda **k: custom_layers.AveragePooling2D(3, 2, "same", **k), normal(4, 5, 4, 3), (1, 2)
    ),
    "AveragePooling3D": Row(
        lambda **k: custom_layers.AveragePooling3D(2, 1, **k), normal(4, 2, 3, 4, 2), (1, 2, 3)
    ),
    "GlobalMaxPooling1D": Row(
        lambda **k: custom_layers.GlobalMaxPooling1D(**k), normal(4, 5, 3), (1,)
    ),
    "GlobalMaxPooling2D": Row(
        lambda **k: custom_layers.GlobalMaxPooling2D("channels_first", **k),
        normal(4, 3, 5, 2),
        (2, 3),
    ),
    "GlobalMaxPooling3D": Row(
        lambda **k: custom_layers.GlobalMaxPooling3D(keepdims=True, **k),
        normal(4, 2, 3, 2, 3),
        (1, 2, 3),
    ),
    "GlobalAveragePooling1D": Row(
        lambda **k: custom_layers.GlobalAveragePooling1D(**k), normal(4, 5, 3), (1,)
    ),
    "GlobalAveragePooling2D": Row(
        lambda **k: custom_layers.GlobalAveragePooling2D(**k), normal(4, 5, 2, 3), (1, 2)
    ),
    "GlobalAveragePooling3D": Row(
        lambda **k: custom_layers.GlobalAveragePooling3D("channels_first", True, **k),
        normal(4, 3, 2, 3, 2),
        (2, 3, 4),
    ),
    "GlobalSumPooling1D": Row(
        lambda **k: custom_layers.GlobalSumPooling1D(**k), normal(4, 5, 3), (1,)
    ),
    "GraphConv": Row(
        lambda **k: custom_layers.GraphConv(3, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)
    ),
    "GraphConv with weights": Row(
        lambda **k: custom_layers.GraphConv(7, "tanh", normalize="row", **k),
        [normal(4, 6, 5), edges(4, 7, 6), np.abs(normal(4, 7))],
        (1,),
    ),
    "GATConv": Row(
        lambda **k: custom_layers.GATConv(3, heads=2, dropout=0.5, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "GATv2Conv": Row(
        lambda **k: custom_layers.GATv2Conv(3, heads=2, concat=False, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "SAGEConv": Row(
        lambda **k: custom_layers.SAGEConv(3, normalize=True, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "SAGEConv max": Row(
        lambda **k: custom_layers.SAGEConv(3, aggregate="max", **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "GINConv": Row(
        lambda **k: custom_layers.GINConv(custom_layers.Dense(3, **k), train_epsilon=True, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "EdgeConv": Row(
        lambda **k: custom_layers.EdgeConv(custom_layers.Dense(3, **k), **k),
        [normal(4, 6, 5), edges(4, 7, 6), normal(4, 7, 2)],
        (1,),
    ),
    "RGCNConv": Row(
        lambda **k: custom_layers.RGCNConv(3, num_relations=2, num_bases=3, **k),
        [normal(4, 6, 5), edges(4, 7, 6), RNG.integers(0, 2, (4, 7), dtype="int32")],
        (1,),
    ),
    "ChebConv": Row(
        lambda **k: custom_layers.ChebConv(3, K=3, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)
    ),
    "SGConv": Row(
        lambda **k: custom_layers.SGConv(3, K=2, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)
    ),
    "APPNP": Row(lambda **k: custom_layers.APPNP(3, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)),
    "EmbeddingBag": Row(
        lambda **k: custom_layers.EmbeddingBag(6, 3, **k),
        [RNG.integers(-1, 6, (4, 5), dtype="int32"), normal(4, 5)],
        (1,),
    ),
    "GraphSumPooling": Row(lambda **k: custom_layers.GraphSumPooling(**k), flat_graphs()),
    "GraphAveragePooling": Row(lambda **k: custom_layers.GraphAveragePooling(**k), flat_graphs()),
    "GraphMaxPooling": Row(lambda **k: custom_layers.GraphMaxPooling(**k), flat_graphs()),
    "GraphAttentionPooling": Row(
        lambda **k: custom_layers.GraphAttentionPooling(**k), flat_graphs()
    ),
}


def pytest_generate_tests(metafunc):
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", ROWS.values(), ids=ROWS.keys())


def test_no_layer_is_forgotten():
    layers = {
        name
        for name, value in vars(custom_layers).items()
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
