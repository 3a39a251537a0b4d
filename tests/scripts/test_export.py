"""What is exported answers alike where this package is not, learns alike, is whole or not there."""

import logging
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near
from custom_layers.convolutional import conv
from custom_layers.core import dense
from custom_layers.gradients import with_backward
from custom_layers.graph import gat_conv
from custom_layers.recurrent import lstm
from scripts.export import __main__ as export
from scripts.export import consumer, formats
from scripts.export.tiny_models import TINY
from scripts.studies import exports
from scripts.training import command_line, record, run_folder

ROOT = pathlib.Path(__file__).parents[2]
ONE_OF_EACH = [  # the others are long
    "convnet",
    "detections",
    "text_convnet",
    "seq2seq",
    "node_classifier GATConv",
]
NOT_IN_ONNX = {
    "text_convnet": "no LookupTableFindV2, StaticRegexReplace, StringSplitV2",
    "text_rnn": "no LookupTableFindV2, StaticRegexReplace, StringSplitV2",
    "transformer": "no LookupTableFindV2, StaticRegexReplace, StringSplitV2",
    "sequence_classifier of sounds": "no Imag, RFFT, Real",
}
STRINGS = "StaticRegexReplace, StringLower, StringSplitV2"
NOT_IN_LITERT = {
    "detections": "no CombinedNonMaxSuppression",
    "text_convnet": f"no RaggedTensorToTensor, {STRINGS}",
    "text_rnn": f"no {STRINGS}, TensorListReserve",
    "transformer": f"no RaggedTensorToTensor, {STRINGS}",
}


def all_models(*few):
    """All of TINY, those that are not among the few as long tests."""
    return [n if n in few else pytest.param(n, marks=pytest.mark.long) for n in TINY]


def assert_cell(name, kind, cell):
    lacking = {"onnx": NOT_IN_ONNX, "litert": NOT_IN_LITERT}.get(kind, {})
    if name in lacking:
        assert cell == lacking[name]
    else:
        error, _, note = cell.partition(" ")
        assert float(error) < 1e-4
        recurrent = name.startswith(("seq2seq", "language", "sequence")) or "GRU" in name
        assert note == ("(one at a time)" if kind == "litert" and recurrent else "")


def test_others_answer_alike_without_this_package(tmp_path, monkeypatch, capsys):
    """And the table says so: one test, as workers share no fixture."""
    cells = exports.measure(ONE_OF_EACH, list(exports.COLUMNS))
    for (name, kind), cell in cells.items():
        assert_cell(name, kind, cell)
    monkeypatch.setattr(exports, "measure", lambda names, kinds: cells)
    exports.main(["--only", "convnet", "detections", "--csv", str(tmp_path / "table.csv")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| model | SavedModel, `tf.saved_model.load` |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| convnet", "| detections"]
    rows, _ = record.read_csv(tmp_path / "table.csv")
    assert rows[1]["LiteRT, ai-edge-litert"] == "no CombinedNonMaxSuppression"


@pytest.mark.long
def test_others_answer_alike_for_every_model():
    cells = exports.measure(list(TINY), list(exports.COLUMNS))
    assert len(cells) == len(TINY) * len(exports.COLUMNS)
    for (name, kind), cell in cells.items():
        assert_cell(name, kind, cell)


def test_the_consumer_cannot_import_the_project():
    for name in ("custom_layers", "custom_layers.core.dense", "models.convnet", "scripts"):
        with pytest.raises(ImportError, match="the exported model is not self-contained"):
            consumer.Blocker().find_spec(name)
    assert consumer.Blocker().find_spec("numpy") is None


def test_differences_are_seen():
    y = {"output_0": np.array([1.0, -4.0], "float32")}
    assert exports.difference({"output_0": y["output_0"]}, y) == 0
    assert exports.difference({"output_0": y["output_0"] + np.float32(2)}, y) == 0.5
    assert exports.difference({"output_1": y["output_0"]}, y) == np.inf
    assert exports.difference({"output_0": y["output_0"][:1]}, y) == np.inf
    nan = {"output_0": y["output_0"] * np.array([1, np.nan], "float32")}
    assert exports.difference(nan, y) == np.inf


def compiled_functions(folder):
    """The functions of a SavedModel, and the operations in them, that want XLA."""
    from tensorflow.core.protobuf import saved_model_pb2

    read = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    library = read.meta_graphs[0].graph_def.library.function
    assert len(library) > 0
    marked = [f.signature.name for f in library if f.attr["_XlaMustCompile"].b]
    marked += [n.name for f in library for n in f.node_def if n.attr["_XlaMustCompile"].b]
    return marked + [name for name in formats.operations(folder) if name.startswith("Xla")]


@pytest.mark.parametrize("name", all_models("convnet", "language_model LSTM", "seq2seq"))
def test_no_exported_function_wants_xla(name, tmp_path):
    formats.write(TINY[name].build(), tmp_path / "model")
    assert compiled_functions(tmp_path / "model") == []


def test_nor_after_training_compiled_by_xla(tmp_path):
    model = keras.Sequential([keras.Input((5, 3)), custom_layers.LSTM(4), custom_layers.Dense(2)])
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(np.ones((4, 5, 3), "float32"), np.ones((4, 2), "float32"), verbose=0)
    formats.write(model, tmp_path / "model")
    assert compiled_functions(tmp_path / "model") == []


def test_xla_would_be_seen(tmp_path):
    module = tf.Module()
    module.serve = tf.function(
        tf.function(lambda x: x * 2, jit_compile=True), input_signature=[tf.TensorSpec((None,))]
    )
    tf.saved_model.save(module, tmp_path / "model")
    assert compiled_functions(tmp_path / "model")


@pytest.mark.parametrize("name", all_models(*ONE_OF_EACH))
def test_weights_alone(name, tmp_path):
    """`.weights.h5`, into a model that had others."""
    model, other, x = TINY[name].build(), TINY[name].build(), TINY[name].inputs(4)
    for weight in other.weights:
        if weight.dtype == "float32":
            weight.assign(weight + 1)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    wanted, found = (exports.expected(m, x) for m in (model, other))
    assert wanted.keys() == found.keys()
    for key, y in wanted.items():
        np.testing.assert_array_equal(found[key], y)


@pytest.mark.parametrize("name", all_models("seq2seq"))
def test_saved_by_tensorflow_itself(name, tmp_path):
    """`tf.saved_model.save` instead of Keras's export; TensorFlow names the inputs by itself."""
    model, x = formats.served(TINY[name].build()), TINY[name].inputs(4)
    tf.saved_model.save(model, tmp_path / "model")
    arrays = exports.named(model, x).values()
    inputs = {f"inputs_{i}" if i else "inputs": part for i, part in enumerate(arrays)}
    [answer] = exports.answers("saved_model", [(tmp_path / "model", inputs)])
    assert exports.difference(answer, exports.expected(model, x)) < 1e-5


# Fine-tuning what was exported.


def ring(count):
    return np.array([[(i, (i + 1) % 5) for i in range(5)]] * count, "int32")


FAMILIES = {  # layers; whose attribute one of their functions is; what the model is called with
    "Dense": (
        lambda: [custom_layers.Dense(4, "tanh")],
        (dense, "affine"),
        lambda rng: rng.standard_normal((6, 3), "float32"),
    ),
    "Conv2D": (
        lambda: [custom_layers.Conv2D(4, 3, activation="relu"), custom_layers.Flatten()],
        (conv, "conv"),
        lambda rng: rng.standard_normal((6, 4, 5, 2), "float32"),
    ),
    "LSTM": (
        lambda: [custom_layers.LSTM(4)],
        (lstm.LSTMCell, "loop"),
        lambda rng: rng.standard_normal((6, 5, 3), "float32"),
    ),
    "GATConv": (
        lambda: [custom_layers.GATConv(4, heads=2), custom_layers.GlobalSumPooling1D()],
        (gat_conv, "gat_scores"),
        lambda rng: [rng.standard_normal((6, 5, 3), "float32"), ring(6)],
    ),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    make, function, inputs = FAMILIES[request.param]
    x = inputs(np.random.default_rng(0))

    def build():
        keras.utils.set_random_seed(3)
        nodes = tf.nest.map_structure(lambda a: keras.Input(a.shape[1:], dtype=a.dtype.name), x)
        first, *rest = [*make(), custom_layers.Dense(2)]
        y = first(nodes)
        for layer in rest:
            y = layer(y)
        return keras.Model(nodes, y)

    return build, function, tf.nest.map_structure(tf.constant, x)


def loaded(model, folder):
    formats.write(model, folder)
    return tf.saved_model.load(folder)


def gradients(call, variables, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(call(x) - 1.0))
    return tape.gradient(loss, variables)


def test_fine_tuned_alike(family, tmp_path):
    build, _, x = family
    model = build()
    other = loaded(model, tmp_path / "model")
    mine, theirs = [w.value for w in model.trainable_variables], other.trainable_variables
    assert len(mine) == len(theirs) >= 4
    before = [w.numpy() for w in mine]
    for _ in range(5):
        for call, variables in ((model, mine), (other.serve, theirs)):
            for w, g in zip(variables, gradients(call, variables, x), strict=True):
                w.assign_sub(0.1 * g)
    assert [w.shape for w in mine] == [w.shape for w in theirs]
    for w, v, old in zip(mine, theirs, before, strict=True):
        assert_near("weight", v, w, 1e-6)
        assert np.abs(w.numpy() - old).max() > 1e-4


def test_the_exported_backward_is_ours(family, tmp_path, monkeypatch):
    """A planted wrong backward comes back out of the file: it is not TensorFlow's own gradient."""
    build, (module, name), x = family
    right = getattr(module, name)

    def wrong(dy, cache, **options):
        slopes = right.backward(dy, cache, **options)
        slopes = slopes if isinstance(slopes, (tuple, list)) else (slopes,)
        return [None if g is None else 3 * g for g in slopes]

    model = build()
    correct = gradients(model, [w.value for w in model.trainable_variables], x)
    monkeypatch.setattr(module, name, staticmethod(with_backward(right.forward, wrong)))
    other = loaded(build(), tmp_path / "model")
    monkeypatch.undo()
    planted = gradients(other.serve, other.trainable_variables, x)
    differences = [np.abs(a - b).max() for a, b in zip(correct, planted, strict=True)]
    assert max(differences) > 1e-4


# The command.


@pytest.fixture(scope="module")
def tiny_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name in ("convnet", "detections", "language_model LSTM", "gan"):
        folder = root / name.split(" ")[0]
        folder.mkdir()
        TINY[name].build().save(folder / "model.keras")
    return root


@pytest.fixture
def untrained(tiny_runs, monkeypatch):
    """Folders with the models of runs, and nothing else of a run."""
    monkeypatch.setattr(run_folder, "read_run", lambda folder: {})
    return tiny_runs


@pytest.mark.parametrize(
    ("name", "format"), [("convnet", format) for format in formats.FORMATS] + [("gan", "onnx")]
)
def test_export_of_a_run(untrained, name, format, tmp_path, capfd):
    path = tmp_path / "new" / "model"
    export.main([str(untrained / name), "--format", format, "--output", str(path)])
    out, _ = capfd.readouterr()
    assert out.startswith(f"{path}: input")
    assert os.listdir(path.parent) == ["model"]
    model = run_folder.load_model(untrained / name)
    x = TINY[name].inputs(4)
    [answer] = exports.answers(format, [(path, exports.named(model, x))])
    assert exports.difference(answer, exports.expected(model, x)) < 1e-5


def refused(capfd, *arguments):
    """The one line that the command says."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit:
        export.main([str(argument) for argument in arguments])
    assert exit.value.code == 2
    out, error = capfd.readouterr()
    assert out == ""
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert error.splitlines()[-1:] == lines, error
    return lines[0]


def test_what_a_format_cannot_do_is_said_before_anything_is_written(untrained, tmp_path, capfd):
    error = refused(
        capfd, untrained / "detections", "--format", "litert", "--output", tmp_path / "x"
    )
    assert error == "error: LiteRT has no CombinedNonMaxSuppression, which this model needs"
    lm = untrained / "language_model"
    error = refused(capfd, lm, "--format", "litert", "--output", tmp_path / "x")
    assert "LiteRT has no TensorListReserve for a batch of any size" in error
    assert "--batch-size 1" in error
    assert os.listdir(tmp_path) == []
    export.main(
        [str(lm), "--format", "litert", "--batch-size", "2", "--output", str(tmp_path / "x")]
    )
    model, x = run_folder.load_model(lm), TINY["language_model LSTM"].inputs(2)
    [answer] = exports.answers("litert", [(tmp_path / "x", exports.named(model, x))])
    assert exports.difference(answer, exports.expected(model, x)) < 1e-5


def test_a_failure_leaves_what_was_there(untrained, tmp_path, capfd, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for format in formats.FORMATS:
        error = refused(capfd, untrained / "gan", "--format", format, "--output", tmp_path / "file")
        assert "exists: --output names a new folder or file" in error
        error = refused(
            capfd, untrained / "gan", "--format", format, "--output", tmp_path / "file" / "x"
        )
        assert f"cannot write to {tmp_path / 'file' / 'x'}: Not a directory" in error
    model = TINY["mlp"].build()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    formats.write(model, tmp_path / "model")
    before = sorted(p.name for p in (tmp_path / "model").rglob("*"))
    for place, name in ((pathlib.Path, "replace"), (model, "export")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full)
            with pytest.raises(OSError, match="No space left on device"):
                formats.write(model, tmp_path / "model")
    assert before == sorted(p.name for p in (tmp_path / "model").rglob("*"))
    assert sorted(os.listdir(tmp_path)) == ["file", "model"]


def test_a_package_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(command_line.InputError, match="onnx is not installed: pip install"):
        formats.write(TINY["mlp"].build(), tmp_path / "x", "onnx")
    assert os.listdir(tmp_path) == []


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, {root!r})
import keras
from scripts.export import formats

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

moment, path = sys.argv[1:]
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
if moment == "while writing":
    write = keras.Model.export
    def half(self, folder, **options):
        write(self, folder, **options)
        (pathlib.Path(folder) / "saved_model.pb").write_bytes(b"half")
        killed()
    keras.Model.export = half
elif moment == "before the old one goes":
    pathlib.Path.rename = killed
else:
    pathlib.Path.replace = killed
formats.write(model, path)
"""


def assert_serves(path, x, model):
    loaded = tf.saved_model.load(path)
    assert_near("served", loaded.serve(x), model(x), 1e-6)


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        pytest.param("while writing", False, marks=pytest.mark.long),
        ("while writing", True),
        pytest.param("before the old one goes", True, marks=pytest.mark.long),
        ("between", True),
    ],
)
def test_killed_it_leaves_no_half_model(moment, there, tmp_path):
    path = tmp_path / "model"
    model = TINY["mlp"].build()
    x = TINY["mlp"].inputs(3)
    if there:
        formats.write(model, path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(root=str(ROOT)), moment, path],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert len(os.listdir(tmp_path)) > there  # what was begun
    assert path.exists() == (there and moment != "between")
    if path.exists():
        assert_serves(path, x, model)
    if there and moment == "between":  # a failure now must not lose the old one
        model.export = None
        with pytest.raises(TypeError):
            formats.write(model, path)
        assert_serves(path, x, model)
        model = TINY["mlp"].build()
    formats.write(model, path)
    assert os.listdir(tmp_path) == ["model"]
    assert_serves(path, x, model)


def test_what_is_exported_is_no_loop_of_cudnn(tmp_path, monkeypatch):
    """As if there were a GPU: cuDNN's kernels could not be served without one."""
    layer = custom_layers.LSTM(4)
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.Bidirectional(layer)])
    x = np.ones((2, 5, 3), "float32")
    y = model(x)
    used = []
    monkeypatch.setattr(custom_layers.LSTM, "_fits_cudnn", lambda layer: used.append(layer))
    model(x)
    assert used
    used.clear()
    for format in formats.FORMATS:
        if format != "litert":
            formats.write(model, tmp_path / format, format)
    assert used == []
    assert layer.use_cudnn == "auto"
    assert_near("output", model(x), y, 0.0)


def test_the_terminal_is_given_back(tmp_path, capfd):
    with pytest.raises(command_line.InputError):
        formats.write(TINY["detections"].build(), tmp_path / "x", "litert")
    capfd.readouterr()
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
    assert logging.root.manager.disable == logging.NOTSET
