"""Files of strangers: read without running anything, or refused in one line; no trace is left."""

import dataclasses
import io
import itertools
import json
import marshal
import os
import pathlib
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

import custom_layers
from scripts import evaluate, sample, train
from scripts.data import prepare as prepare_module
from scripts.data.builders.tu import tu_dataset_builder as tu
from scripts.data.prepare import prepare
from scripts.settings import MAY_LACK, Settings
from scripts.training import run_folder, untrusted
from scripts.training.checkpoint import Checkpoint
from scripts.training.command_line import InputError

ROOT = pathlib.Path(__file__).parents[3]
SETTINGS = {
    "epochs": 3, "batch_size": 32, "learning_rate": 1e-3, "l1": 0.0, "l2": 1e-4, "dropout": 0.1,
    "seed": 0, "layers": "custom", "strategy": "none", "tensorboard": False, "data_dir": None,
    "download_dir": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The files in the archive of a small model."""
    x = keras.Input((4,))
    model = keras.Model(x, custom_layers.Dense(2, "softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def run(tmp_path, parts):
    """A run folder as training writes it, in a folder of its own."""
    folder = tmp_path / "inside" / "run"
    folder.mkdir(parents=True)
    write_recipe(folder)
    (folder / "metrics.json").write_text(json.dumps({"test": {"loss": 1.0}}))
    write_model(folder, parts)
    return folder


def write_recipe(folder, recipe="digits-mlp", **settings):
    content = {"recipe": recipe, "settings": {**SETTINGS, **settings}}
    (folder / "recipe.json").write_text(json.dumps(content))


def write_model(folder, parts, compression=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(folder / "model.keras", "w", compression) as archive:
        for name, content in {**parts, **more}.items():
            archive.writestr(name, content)


def tree(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def refused(folder, pattern):
    """Loading the model is refused, by an error of one line at most, and nothing is left behind."""
    before = tree(folder.parent.parent)
    with pytest.raises(InputError, match=pattern):
        run_folder.load_model(folder)
    assert tree(folder.parent.parent) == before


def refused_by(capsys, main, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert end.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    (line,) = lines
    return line


# --- model.keras


def test_a_harmless_model_is_loaded(run):
    assert run_folder.load_model(run).output_shape == (None, 2)
    assert run_folder.read_run(run)[0] == "digits-mlp"


def config_with(parts, layer):
    """The configuration of a model with that layer in the place of its Dense."""
    config = json.loads(parts["config.json"])
    layers = config["config"]["layers"]
    layers[1] = {**layers[1], **layer}
    return {"config.json": json.dumps(config)}


def code_that_leaves(trace):
    return marshal.dumps(compile(f"open({str(trace)!r}, 'w')", "x", "eval")).hex()


@pytest.mark.parametrize(
    ("layer", "asked"),
    [
        ({"module": "os", "class_name": "system", "config": {"command": "touch TRACE"}}, "system"),
        ({"module": "builtins", "class_name": "__lambda__", "config": {"value": "CODE"}}, "lambda"),
        ({"module": "subprocess", "class_name": "Popen", "config": {"args": "TRACE"}}, "Popen"),
        ({"module": "keras.layers", "class_name": "Lambda", "config": {"function": {
            "class_name": "__lambda__", "config": {"value": "CODE"}}}}, "Lambda"),
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "TRACE"}},
         "TFSMLayer"),
        ({"module": "inside.run.payload", "class_name": "Layer", "config": {}}, "payload"),
        ({"module": ["os"], "class_name": "system", "config": {}}, "system"),
        ({"module": "keras", "class_name": "layers.TFSMLayer", "config": {"filepath": "TRACE"}},
         "layers.TFSMLayer"),
        ({"module": "keras", "class_name": "layers.Lambda", "config": {"function": "TRACE"}},
         "layers.Lambda"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_model_runs_no_code(run, parts, layer, asked, monkeypatch):
    trace = run.parent / "trace"
    monkeypatch.chdir(run.parent.parent)
    monkeypatch.syspath_prepend(str(run.parent.parent))
    (run / "payload.py").write_text(f"open({str(trace)!r}, 'w')\nclass Layer: pass\n")
    text = json.dumps(layer).replace("TRACE", str(trace)).replace("CODE", code_that_leaves(trace))
    write_model(run, parts, **config_with(parts, json.loads(text)))
    refused(run, f"not read, for safety: it asks for .*{asked}")
    assert not trace.exists()


def test_what_keras_refuses_is_one_line_too(run, parts):
    """Behind our own look, Keras's: functions that are no layers, files named as vocabularies."""
    secret = run / "secret"
    secret.write_text("word")
    for layer in (
        {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "x"}},
        {"module": "keras", "class_name": "NoSuchLayer", "config": {}},
        {"module": "custom_layers.core.dense", "class_name": "x", "registered_name": "x",
         "config": {}},
        {"module": "keras.layers", "class_name": "TextVectorization", "registered_name": None,
         "config": {"vocabulary": str(secret), "name": "x"}},
    ):  # fmt: skip
        write_model(run, parts, **config_with(parts, layer))
        refused(run, "model.keras cannot be read: ")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "assets/../../x", "a\\..\\..\\x", "~/x"])
def test_a_model_stays_in_its_folder(run, parts, name):
    write_model(run, parts, **{name: b"x"})
    refused(run, "which leads out of it")


def test_a_link_inside_the_archive(run, parts):
    write_model(run, parts)
    with zipfile.ZipFile(run / "model.keras", "a") as archive:
        link = zipfile.ZipInfo("assets")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    refused(run, "holds 'assets', which leads out of it")


def test_bombs(run, parts):
    bomb = b"0" * 50_000_000
    for name in ("model.weights.h5", "config.json", "assets/words.txt"):
        write_model(run, parts, zipfile.ZIP_DEFLATED, **{name: bomb})
        assert (run / "model.keras").stat().st_size < 100_000
        refused(run, "would unpack to more than")
    write_model(run, parts, **{"config.json": b" " * (untrusted.LARGEST_JSON + 1)})
    refused(run, "config.json is larger")
    write_model(run, parts, **{"config.json": b"[" * 200_000})
    refused(run, "cannot be read: maximum recursion")


def weights(write):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write(file)
    return content.getvalue()


def virtual(file):
    layout = h5py.VirtualLayout((3,), "float32")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (3,), "float32")
    file.create_virtual_dataset("x", layout)


def inside_itself(file):
    group = file.create_group("a")
    group["b"] = group


@pytest.mark.parametrize(
    ("write", "pattern"),
    [
        (lambda f: f.__setitem__("x", h5py.ExternalLink("/etc/hostname", "x")), "hold a link, x"),
        (lambda f: f.__setitem__("x", h5py.SoftLink("/y")), "hold a link, x"),
        (lambda f: f.create_dataset("x", (3,), "f", external="/etc/hostname"), "are elsewhere: x"),
        (virtual, "are elsewhere: x"),
        (lambda f: f.create_dataset("x", (2,), h5py.string_dtype()), "are elsewhere: x"),
        (lambda f: f.create_dataset("x", (10**9,), "f", chunks=(10**6,), compression="gzip"),
         "would unpack to more than"),
        (inside_itself, "would unpack to more than"),
    ],
    ids=["external link", "soft link", "external file", "virtual", "texts", "bomb", "circle"],
)  # fmt: skip
def test_weights_are_plain_arrays(run, parts, write, pattern):
    write_model(run, parts, **{"model.weights.h5": weights(write)})
    refused(run, pattern)


def many_layers(parts):
    """A configuration with 3,000 layers one behind the other."""
    config = json.loads(parts["config.json"])
    first, last = config["config"]["layers"]
    text = json.dumps(last).replace(first["name"], "BEFORE").replace(last["name"], "NAME")
    names = [first["name"], *(f"layer_{i}" for i in range(3000))]
    pairs = itertools.pairwise(names)
    more = [json.loads(text.replace("BEFORE", a).replace("NAME", b)) for a, b in pairs]
    config["config"]["layers"] = [first, *more]
    return {"config.json": json.dumps(config)}


def claiming(parts, **changes):
    """A configuration whose Dense layer is other than its weights are."""
    config = json.loads(parts["config.json"])
    layer = config["config"]["layers"][1]
    layer["config"].update(changes)
    layer.pop("build_config", None)
    return {"config.json": json.dumps(config)}


def without_compilation(parts):
    config = json.loads(parts["config.json"])
    config.pop("compile_config", None)
    return {"config.json": json.dumps(config)}


def named_for_a_terminal(parts):
    layer = {
        "module": "os",
        "class_name": "\x1b]0;mine\x07\x1b[2J\nerror: all is well",
        "config": {},
    }
    return config_with(parts, layer)


FOREIGN = {
    "3,000 layers": (many_layers, "has more than 2000 layers"),
    "more than its weights": (
        lambda parts: claiming(parts, units=10**9),
        "a layer has units 1000000000, but the weights are",
    ),
    "not compiled": (without_compilation, "was saved without loss and metrics"),
    "control characters": (
        named_for_a_terminal,
        "it asks for os.\\x1b]0;mine\\x07\\x1b[2J error: all is well",
    ),
}
EVALUATE = """
import pathlib, sys, time
from scripts import evaluate
for run in sys.argv[1:]:
    begun = time.monotonic()
    try:
        evaluate.main([run])
    except SystemExit as end:
        assert end.code == 2
    status = pathlib.Path("/proc/self/status").read_text()
    megabytes = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    assert "tensorflow" not in sys.modules and time.monotonic() - begun < 10 and megabytes < 300
"""


def test_what_is_refused_costs_little(tmp_path, parts):
    """Without TensorFlow: seconds, below 300 MB, and one line without control characters."""
    runs = []
    for name, (change, _) in FOREIGN.items():
        folder = tmp_path / name
        folder.mkdir()
        write_recipe(folder)
        (folder / "metrics.json").write_text(json.dumps({"test": {"loss": 1.0}}))
        write_model(folder, parts, **change(parts))
        runs.append(str(folder))
    command = [sys.executable, "-c", EVALUATE, *runs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    for line, (_, said) in zip(lines, FOREIGN.values(), strict=True):
        assert line.startswith("error: ")
        assert said in line
        assert line.isprintable()


def test_weights_larger_than_the_file_are_not_made(run, parts):
    """Also where each number alone is small: a kernel of 7000 x 7000, say, in 21 kB of weights."""
    write_model(run, parts, **claiming(parts, units=12))
    refused(run, "the weights of layer .* have shape .*12.*, but all weights together are")


def test_a_model_of_other_data(run, parts, capsys):
    """Digits are 8 x 8, in ten classes."""
    x = keras.Input((8, 8, 1))
    for shape, classes, said in (
        ((8, 8, 1), 3, "the model tells 3 classes apart, but the data have 10"),
        ((9, 8, 1), 10, "the model takes [(9, 8, 1)], but the data are [(8, 8, 1)]"),
    ):
        x = keras.Input(shape)
        model = keras.Model(x, custom_layers.Dense(classes)(custom_layers.Flatten()(x)))
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.save(run / "model.keras")
        assert said in refused_by(capsys, evaluate.main, run, "--data-dir", run.parent / "data")


def test_other_files_under_the_name_of_a_model(run, parts):
    for content in (b"", b"no archive", b"PK\x03\x04" + bytes(50), weights(lambda file: None)):
        (run / "model.keras").write_bytes(content)
        refused(run, "model.keras cannot be read")
    write_model(run, {})
    refused(run, "model.keras cannot be read")
    write_model(run, parts, **{"model.weights.h5": b"no weights"})
    refused(run, "model.keras cannot be read")


# --- run folders


@pytest.mark.parametrize("name", ["recipe.json", "metrics.json", "model.keras", "other"])
def test_a_run_has_no_links(run, name, capsys):
    elsewhere = run.parent.parent / "elsewhere"
    (run / name).touch()
    (run / name).rename(elsewhere)
    (run / name).symlink_to(elsewhere)
    error = refused_by(capsys, evaluate.main, run)
    assert f"{run / name} is not a plain file: a run has no links" in error


def test_a_run_has_no_pipes(run, capsys):
    os.mkfifo(run / "vocabulary.json")
    assert "is not a plain file" in refused_by(capsys, sample.main, run)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ("{", "recipe.json cannot be read: Expecting property name"),
        ("[" * 200_000, "recipe.json cannot be read: maximum recursion"),
        ("\xff", "recipe.json cannot be read: 'utf-8' codec"),
        ("[]", "expected the name of a recipe under `recipe`"),
        ({"recipe": ["digits-mlp"], "settings": SETTINGS}, "expected the name of a recipe"),
        ({"recipe": "../digits", "settings": SETTINGS}, "there is no recipe"),
        ({"recipe": "digits-mlp", "settings": 3}, "expected names and values under `settings`"),
        ({"recipe": "digits-mlp", "settings": {}}, "unknown or missing settings: batch_size, data"),
        ({"recipe": "digits-mlp", "settings": {**SETTINGS, "output": "/etc"}},
         "unknown or missing settings: output"),
    ],
)  # fmt: skip
def test_hostile_recipes(run, content, pattern, capsys):
    text = content if isinstance(content, str) else json.dumps(content)
    (run / "recipe.json").write_bytes(text.encode("latin1"))
    assert pattern in refused_by(capsys, evaluate.main, run)


@pytest.mark.parametrize(
    ("name", "value", "pattern"),
    [
        ("epochs", -1, "expected a whole number of at least 1, received '-1'"),
        ("epochs", "3", "expected a whole number of at least 1, received '3'"),
        ("epochs", True, "expected a whole number of at least 1, received 'True'"),
        ("batch_size", "32; rm", "expected a whole number of at least 1"),
        ("learning_rate", float("nan"), "expected a number above 0, received 'nan'"),
        ("dropout", 1, "expected a number in [0, 1)"),
        ("seed", 2**32, "expected a whole number from 0"),
        ("layers", "os", "expected one of ('custom', 'keras'), received 'os'"),
        ("strategy", {}, "expected one of ('none', 'mirrored', 'multiworker')"),
        ("tensorboard", "/etc", "expected one of (False, True), received '/etc'"),
        ("data", "huggingface:evil", "expected a name that --list tells, folder:PATH"),
        ("data", "../x", "expected a name that --list tells"),
        ("data", "mnist:9.9.9", "expected a name"),
        ("data_dir", ["/etc"], "expected a name, received ['/etc']"),
        ("download_dir", "a\0b", "expected a name"),
    ],
)
def test_hostile_settings(run, name, value, pattern, capsys):
    write_recipe(run, **{name: value})
    error = refused_by(capsys, evaluate.main, run)
    assert f"recipe.json: setting {name}: {pattern}" in error


def test_settings_are_those_of_the_command_line():
    """And a run of before they had `data` is still read."""
    own = {field.name for field in dataclasses.fields(Settings)}
    commands = {"recipe", "list", "output", "overwrite", "resume"}
    assert vars(train.parse(["digits-mlp"])).keys() - commands == own == {*MAY_LACK, *SETTINGS}


def test_a_run_makes_no_folder_where_it_says(run, tmp_path, capsys, monkeypatch):
    asked = {}

    def stop(recipe, settings):
        asked.update(dataclasses.asdict(settings))
        raise InputError("enough")

    monkeypatch.setattr(evaluate, "load_data", stop)
    write_recipe(run, data_dir=str(tmp_path / "victim"), download_dir=str(tmp_path))
    assert "enough" in refused_by(capsys, evaluate.main, run)
    assert (asked["data_dir"], asked["download_dir"]) == (None, str(tmp_path))


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"test": 1}', '{"test": {"loss": "1"}}', '{"test": {"loss": {"a": 1}}}'],
)
def test_hostile_metrics(run, content, capsys):
    (run / "metrics.json").write_text(content)
    assert "metrics.json" in refused_by(capsys, evaluate.main, run)


def test_json_of_many_megabytes(run, capsys):
    with (run / "recipe.json").open("wb") as file:
        file.truncate(untrusted.LARGEST_JSON + 1)
    assert "it has more than 32000000 bytes" in refused_by(capsys, evaluate.main, run)


@pytest.mark.parametrize("content", ["{}", "[1, 2]", '["a"]', "{"])
def test_hostile_vocabularies(run, content, capsys):
    (run / "vocabulary.json").write_text(content)
    error = refused_by(capsys, sample.main, run)
    assert "is not the run of a language model" in error or "vocabulary.json" in error


# --- --resume, checkpoints


@pytest.fixture
def unfinished(tmp_path):
    folder = run_folder.unfinished(tmp_path / "run")
    folder.mkdir()
    write_recipe(folder)
    return folder


def test_resume_looks_at_the_run(unfinished, tmp_path, capsys):
    def resume():
        return refused_by(capsys, train.main, "digits-mlp", "--resume", tmp_path / "run")

    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "epoch-00001.npz").touch()
    (unfinished / "checkpoints").symlink_to(precious)
    assert (
        "checkpoints is not a plain file: a run has no links: --overwrite starts again" in resume()
    )
    (unfinished / "checkpoints").unlink()
    for settings in ({"epochs": -5}, {"layers": "os"}, {"output": "/etc"}):
        write_recipe(unfinished, **settings)
        assert "--overwrite starts again" in resume()
    assert (precious / "epoch-00001.npz").exists()


def state(**changes):
    content = {
        "epochs": 1, "history": {"loss": [1.0]}, "seconds": 1.0, "best_weights": 0,
        "best": {"best": 1.0, "best_epoch": 0, "wait": 0},
    }  # fmt: skip
    return json.dumps({**content, **changes})


def write_checkpoint(folder, **arrays):
    folder.mkdir(exist_ok=True)
    with (folder / "epoch-00001.npz").open("wb") as file:
        np.savez(file, **arrays)


class Harm:
    def __reduce__(self):
        return os.mkdir, ("trace",)


def test_hostile_checkpoints_are_passed_over(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints"
    checkpoint = Checkpoint(folder, keras.callbacks.EarlyStopping())
    write_checkpoint(folder, state=state())
    assert checkpoint.newest()[0] == 1
    hostile = [
        {"state": np.array([Harm()], object)},
        {"state": state(), "x": np.array([Harm()], object)},
        {"state": "[]"},
        {"state": "[" * 100_000},
        {"x": np.zeros(3)},
        {"state": state(epochs="1")},
        {"state": state(epochs=10**9)},
        {"state": state(best={"model": 1, "best_epoch": 0, "wait": 0})},
        {"state": state(best_weights="1")},
        {"state": state(history={"loss": ["a"]})},
        {"state": state(history=[1])},
        {"state": state(seconds=None, history={"loss": {}})},
    ]
    for arrays in hostile:
        write_checkpoint(folder, **arrays)
        assert checkpoint.newest() == (0, b""), arrays
        assert "cannot be read" in capsys.readouterr().err
    path = folder / "epoch-00001.npz"
    np.savez_compressed(path, state=state(), bomb=np.zeros(10**7))
    assert checkpoint.newest() == (0, b"")
    assert "would unpack to more than" in capsys.readouterr().err
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % 10**15
    with zipfile.ZipFile(path, "w") as archive:  # an array that says it is very large
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert checkpoint.newest() == (0, b"")
    assert not (tmp_path / "trace").exists()


def test_the_checkpoint_of_another_model(tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoint = Checkpoint(folder, keras.callbacks.EarlyStopping())
    model = keras.Sequential([keras.Input((2,)), custom_layers.Dense(1)])
    model.compile("sgd", "mse")
    for arrays in (
        {},
        {"variable-0": np.zeros((7, 1))},
        {f"variable-{i}": np.zeros(()) for i in range(9)},
        {"variable-0": np.array("text")},
    ):
        write_checkpoint(folder, state=state(), **arrays)
        with pytest.raises(
            InputError, match="(?s)belongs to another model .*--overwrite starts again"
        ):
            checkpoint.restore(model, checkpoint.newest()[1])


# --- archives and builders of data


def test_archives_of_graphs_that_cannot_be_unpacked(tmp_path):
    path = tmp_path / "MUTAG.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("MUTAG/MUTAG_A.txt", "1, 2\n" * 100)
    whole = path.read_bytes()
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[whole.index(b"PK\x01\x02") + 8] |= 1
    unknown = bytearray(whole)
    unknown[8] = unknown[whole.index(b"PK\x01\x02") + 10] = 99
    broken = bytearray(whole)
    broken[50] ^= 0xFF
    for content in (encrypted, unknown, broken, whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not an archive of MUTAG"):
            tu.read_texts(path, "MUTAG")


@pytest.mark.parametrize(
    ("name", "content", "pattern"),
    [
        ("ml-100k/../../x", b"x", "which leads out of it"),
        ("ml-100k/u.data", bytes(1_000_000_001), "would unpack to more than 1000000000 bytes"),
    ],
)
def test_archives_are_looked_at_before_tfds_unpacks_them(tmp_path, name, content, pattern):
    path = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, content)
    manager = prepare_module.download_manager.DownloadManager(
        download_dir=tmp_path / "downloads", extract_dir=tmp_path / "out", dataset_name="movielens"
    )
    checked = prepare_module.downloads_that_begin("movielens", tmp_path)
    with checked, pytest.raises(InputError, match=pattern):
        manager.extract(path)
    assert not list((tmp_path / "out").rglob("*"))


def test_no_builder_comes_from_a_file_beside_the_data(tmp_path, monkeypatch):
    """tfds imports the classes that a features.json names."""
    folder = tmp_path / "evil" / "1.0.0"
    folder.mkdir(parents=True)
    info = {"name": "evil", "version": "1.0.0", "splits": [], "fileFormat": "tfrecord"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    features = {"pythonClassName": "payload_of_evil.Feature", "content": "{}"}
    (folder / "features.json").write_text(json.dumps(features))
    (tmp_path / "payload_of_evil.py").write_text("import os\nos.mkdir('trace')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="data set evil: "):
        prepare("evil", str(tmp_path))
    assert not pathlib.Path("trace").exists()
