"""What exported models cost: operations of each layer beside Keras's, and how they are counted."""

import collections

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import custom_layers
from scripts import export_table
from scripts.benchmark.models import Family
from scripts.export import costs, formats

SHAPES = {"image": (8, 8, 3), "steps": (6, 4), "row": (5,)}
LAYERS = {  # input: {name of the branch: the layers that follow each other there}
    "image": {
        "conv": lambda of: [of.Conv2D(4, 3, padding="same", activation="relu")],
        "strided": lambda of: [of.Conv2D(4, 1, strides=2)],
        "transposed": lambda of: [of.Conv2DTranspose(4, 3, strides=2, padding="same")],
        "folded": lambda of: [of.Conv2D(4, 3, use_bias=False), of.BatchNormalization(), of.ReLU()],
        "normed": lambda of: [of.BatchNormalization()],
        "first": lambda of: [of.BatchNormalization(axis=1)],
        "largest": lambda of: [of.MaxPooling2D(), of.GlobalMaxPooling2D()],
        "mean": lambda of: [of.AveragePooling2D(2), of.GlobalAveragePooling2D(), of.Dense(3)],
        "flat": lambda of: [of.Flatten(), of.Dropout(0.5), of.Dense(3, activation="softmax")],
        "layered": lambda of: [of.LayerNormalization(axis=[1, 2, 3])],
        "clipped": lambda of: [of.ReLU(6.0), of.LeakyReLU(), of.SpatialDropout2D(0.5)],
    },
    "steps": {
        "causal": lambda of: [of.Conv1D(4, 3, padding="causal", dilation_rate=2)],
        "pooled": lambda of: [of.MaxPooling1D(), of.AveragePooling1D(3), of.GlobalMaxPooling1D()],
        "average": lambda of: [of.LayerNormalization(), of.GlobalAveragePooling1D()],
        "dense": lambda of: [of.Dense(3, activation="relu"), of.Softmax()],
    },
    "row": {"net": lambda of: [of.Dense(3), of.BatchNormalization(), of.ReLU()]},
}


def branches(of):
    """One model of all branches, whose layers are named after them, with weights of no layer."""
    inputs = {name: keras.Input(shape, 2, name=name) for name, shape in SHAPES.items()}
    outputs = []
    for name, x in inputs.items():
        for branch, layers in LAYERS[name].items():
            y = x
            for layer in layers(of):
                layer.name = f"{branch}_{layer.name}"
                y = layer(y)
            outputs.append(y)
    model = keras.Model(inputs, outputs)
    for i, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(i).uniform(0.5, 1, weight.shape))
    return model


def test_no_layer_has_more_operations_than_keras_exported(tmp_path):
    """In all formats: of each kind of operation or, where the formula is another one, in all."""
    counts = collections.defaultdict(list)
    for of in (keras.layers, custom_layers):
        model = branches(of)
        folder = tmp_path / of.__name__
        folder.mkdir()
        formats.onnx(model, folder / "model.onnx")
        nodes = formats.nodes(onnx.load(folder / "model.onnx").graph)
        counts["ONNX"].append(collections.Counter(node.op_type for node in nodes))
        formats.litert(model, folder / "model.tflite")
        counts["LiteRT"].append(costs.of_litert((folder / "model.tflite").read_bytes()).operations)
        loaded = tf.saved_model.load(folder / "to_convert")
        graph = loaded.signatures["serving_default"].graph.as_graph_def()
        counts["SavedModel"].append(costs.operations(graph))
    theirs, ours = counts.pop("ONNX")
    new = {"Sub", "Add", "Mul", "Neg"}  # of LayerNormalization, which Keras writes in another way
    assert {kind: n for kind, n in (ours - theirs).items() if kind not in new} == {}
    assert ours.total() <= theirs.total(), (ours - theirs, theirs - ours)
    for format, (theirs, ours) in counts.items():
        assert ours <= theirs, format


def test_what_is_counted():
    @tf.function
    def inner(x):
        tf.exp(x)  # which nobody reads
        return tf.cond(x > 0, lambda: x + 1, lambda: x * 2 - 1)

    graph = tf.function(lambda x: tf.identity(inner(tf.sin(x)))).get_concrete_function(
        tf.TensorSpec(())
    )
    # Sin, Greater, If, AddV2, Mul, Sub
    assert costs.operations(graph.graph.as_graph_def()) == 6


@pytest.mark.parametrize("format", costs.FORMATS)
def test_a_row(format):
    def build(layers):
        x = keras.Input((3,), name="x")
        return keras.Model(x, layers.Dense(2)(x))

    row = costs.compare(Family("dense", 4, build, ((3,),)), format, pairs=2)
    assert list(row) == costs.COLUMNS
    assert row["keras_operations"] == row["ours_operations"] > 0
    assert row["keras_bytes"] > 100 < row["ours_bytes"]
    assert row["ratio"] == pytest.approx(row["keras_ms"] / row["ours_ms"], rel=1)


def test_a_format_that_lacks_an_operation_has_no_numbers():
    def build(layers):
        x = keras.Input((), dtype="string", name="x")
        return keras.Model(x, keras.layers.TextVectorization(vocabulary=["a"])(x))

    class Texts(Family):
        def arrays(self, model, batch):
            return np.array(["a b"] * batch, dtype=object), None

    row = costs.compare(Texts("texts", 4, build, ((),)), "LiteRT", pairs=1)
    assert row == dict.fromkeys(costs.COLUMNS, "") | {"model": "texts", "format": "LiteRT"}


def test_the_table(monkeypatch, capsys):
    asked = []

    def compare(family, format, pairs):
        asked.append((family.name, format, pairs))
        return dict.fromkeys(costs.COLUMNS, "") | {"model": family.name, "format": format}

    monkeypatch.setattr(costs, "compare", compare)
    monkeypatch.setattr("os.sched_setaffinity", lambda pid, processors: None)
    export_table.main(["--only", "mlp", "unet", "--formats", "ONNX", "LiteRT", "--pairs", "3"])
    names = [(name, format, 3) for name in ("mlp", "unet") for format in ("ONNX", "LiteRT")]
    assert asked == names
    head, rule, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("| model | format | keras_ms |")
    assert rule == "|---" * len(costs.COLUMNS) + "|"
    assert [tuple(line.split(" | ")[:2]) for line in lines] == [
        (f"| {name}", format) for name, format, _ in names
    ]
