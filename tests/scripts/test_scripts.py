"""Scripts: a run is whole, repeatable and served anywhere; a mistake is one line and status 2."""

import contextlib
import csv
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types
import venv
import zipfile

import keras
import numpy as np
import pytest
from matplotlib.image import imread

import custom_layers
from custom_layers.checks import assert_near
from scripts import evaluate, train
from scripts.data import prepare as prepare_module
from scripts.data.images import load_images
from scripts.export import __main__ as export
from scripts.recipes import RECIPES
from scripts.tasks import plots
from scripts.training import run_folder

ROOT = pathlib.Path(__file__).parents[2]
SHARED = os.environ.get("CUSTOM_LAYERS_DATA")
IMAGES = ["digits-convnet", "digits-mlp", "mnist-convnet", "fashion-mnist-convnet"]
IMAGES += ["cifar10-convnet", "bangla-convnet"]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="session")
def fit(tmp_path_factory, data_dir):
    """Run scripts.train; return its folder and what it printed."""

    def run(recipe, *arguments):
        folder = tmp_path_factory.mktemp("runs") / "run"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            train.main([recipe, "--output", str(folder), "--data-dir", data_dir, *arguments])
        return folder, printed.getvalue()

    return run


@pytest.fixture(scope="session")
def trained(fit):
    return fit("digits-convnet", "--epochs", "3", "--seed", "5")


@pytest.fixture(scope="session")
def run(trained):
    return trained[0]


@pytest.fixture(scope="session")
def digits(data_dir):
    return load_images("digits", batch_size=32, seed=0, data_dir=data_dir)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def history(run):
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_is_whole(trained):
    run, printed = trained
    files = {path.name for path in run.iterdir()}
    assert files >= {
        "recipe.json",
        "history.csv",
        "curves.png",
        "confusion.png",
        "metrics.json",
        "model.keras",
        "saved_model",
    }
    metrics, recipe = read(run / "metrics.json"), read(run / "recipe.json")
    assert {"accuracy", "loss"} == metrics["test"].keys() == metrics["validation"].keys()
    assert metrics["test"]["accuracy"] > 0.6
    assert metrics["baseline"]["accuracy"] == pytest.approx(0.9136, abs=1e-4)
    assert metrics["seconds"] > 0
    last = printed.splitlines()[-1]
    assert last.startswith(f"{run}: test accuracy {metrics['test']['accuracy']:.4f}")
    assert recipe["recipe"] == "digits-convnet"
    settings = {"epochs": 3, "seed": 5, "batch_size": 32, "l2": 1e-4, "layers": "custom"}
    assert settings.items() <= recipe["settings"].items()
    assert recipe["versions"]["custom_layers"] == custom_layers.__version__
    assert recipe["versions"]["keras"] == keras.__version__
    assert recipe["device"]


def test_history_and_the_weights_that_are_kept(run, digits):
    rows, metrics, model = history(run), read(run / "metrics.json"), run_folder.load_model(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    losses = [float(row["val_loss"]) for row in rows]
    assert metrics["best_epoch"] == 1 + int(np.argmin(losses))
    assert metrics["validation"]["loss"] == pytest.approx(min(losses), rel=1e-4)
    assert metrics["parameters"] == model.count_params()
    assert model.evaluate(digits.validation, verbose=0)[0] == pytest.approx(min(losses), rel=1e-4)


def test_pictures_are_pictures(run):
    for name in ("curves.png", "confusion.png"):
        assert imread(run / name)[..., :3].std() > 0.05


def test_the_same_seed_gives_the_same_history(run, fit):
    """The first run also prepared the data."""
    again, _ = fit("digits-convnet", "--epochs", "3", "--seed", "5")
    assert (again / "history.csv").read_bytes() == (run / "history.csv").read_bytes()


@pytest.mark.long
def test_another_seed_gives_another_history(fit):
    histories = [history(fit("digits-mlp", "--epochs", "1", "--seed", s)[0]) for s in "12"]
    assert histories[0] != histories[1]


@pytest.mark.long
def test_l1_shrinks_the_weights(fit):
    sums = []
    for l1 in ("0", "1e-3"):
        arguments = ("--epochs", "4", "--dropout", "0", "--l2", "0", "--l1", l1)
        model = run_folder.load_model(fit("digits-mlp", *arguments)[0])
        kernels = [w for w in model.trainable_weights if w.name == "kernel"]
        sums.append(sum(np.abs(w.numpy()).sum() for w in kernels))
    assert sums[1] < 0.8 * sums[0]
    assert_near("penalty", sum(model.losses), np.float32(1e-3 * sums[1]), 1e-5)


def test_settings_reach_the_model(fit):
    arguments = ("--epochs", "1", "--dropout", "0.5", "--l1", "0.01", "--l2", "0.02")
    run, _ = fit("digits-mlp", *arguments, "--layers", "keras", "--batch-size", "1259")
    model = run_folder.load_model(run)
    assert model.get_layer("dropout_1").rate == 0.5
    assert type(model.get_layer("dropout_1")) is keras.layers.Dropout
    regularizer = model.get_layer("hidden_1").kernel_regularizer
    assert [regularizer.l1, regularizer.l2] == pytest.approx([0.01, 0.02])
    assert int(model.optimizer.iterations) == 1, "one batch holds all of the training part"


def python(code, *arguments):
    """Run code in a fresh process, away from the checkout."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_saved_model_is_served_without_this_package(run, digits, tmp_path):
    images = np.concatenate([x for x, _ in digits.test.as_numpy_iterator()])
    np.save(tmp_path / "images.npy", images)
    code = """if True:
        import sys
        sys.modules["custom_layers"] = None  # importing it fails
        import numpy as np, tensorflow as tf
        loaded = tf.saved_model.load(sys.argv[1])
        np.save(sys.argv[3], loaded.serve(np.load(sys.argv[2])))
        """
    python(code, run / "saved_model", tmp_path / "images.npy", tmp_path / "served.npy")
    expected = run_folder.load_model(run).predict(images, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "served.npy"), expected, atol=1e-5)


def test_keras_file_is_loaded_in_a_fresh_process(run, digits, tmp_path):
    images = next(digits.test.as_numpy_iterator())[0]
    np.save(tmp_path / "images.npy", images)
    code = """if True:
        import sys
        import keras, numpy as np
        import custom_layers
        model = keras.models.load_model(sys.argv[1], safe_mode=True)
        kinds = {type(layer).__module__.partition(".")[0] for layer in model.layers[1:]}
        assert kinds == {"custom_layers"}, kinds
        np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
        """
    python(code, run / "model.keras", tmp_path / "images.npy", tmp_path / "y.npy")
    expected = run_folder.load_model(run).predict(images, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-6)


def test_evaluate_measures_what_training_wrote(run, capsys):
    evaluate.main([str(run)])
    metrics = read(run / "metrics.json")["test"]
    for name, line in zip(metrics, capsys.readouterr().out.splitlines(), strict=True):
        kind, key, value, _, recorded = line.rstrip(")").split()
        assert (kind, key) == ("test", name)
        assert float(value) == pytest.approx(metrics[name], abs=1e-5) == float(recorded)


def test_export_writes_the_model_again(run, tmp_path, capsys):
    export.main([str(run), "--output", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'out'}: input (None, 8, 8, 1)")
    assert (tmp_path / "out" / "saved_model.pb").exists()
    with pytest.raises(SystemExit, match="2"):
        export.main([str(run), "--output", str(tmp_path / "out")])
    assert "exists" in capsys.readouterr().err


def refused(capsys, main, *arguments):
    """The one line on stderr of a command that ends with status 2."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert end.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:]
    return errors[0]


def test_mistakes_need_no_tensorflow():
    """One line, at once: not even a log line of TensorFlow."""
    command = [sys.executable, "-m", "scripts.train", "mnist-convent"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: there is no recipe mnist-convent: did you mean mnist-convnet or "
        + done.stderr.partition("mnist-convnet or ")[2]
    )
    assert done.stderr.count("\n") == 1


def test_without_data_the_error_names_recipes_that_have_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare_module, "reachable", lambda url: False)
    arguments = ["mnist-convnet", "--output", tmp_path / "run", "--data-dir", tmp_path / "tfds"]
    error = refused(capsys, train.main, *arguments)
    assert "data set mnist: https://" in error
    assert "Without a network: digits-convnet, digits-mlp" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("script", [evaluate, export], ids=lambda m: m.__name__)
def test_a_folder_that_is_no_run(script, tmp_path, capsys):
    (tmp_path / "recipe.json").write_text("[]")
    for folder in (tmp_path, tmp_path / "nowhere"):
        error = refused(capsys, script.main, folder)
        assert f"{folder} is not a run: expected a folder that" in error


def test_a_model_that_cannot_be_read(run, tmp_path, capsys):
    for name in ("recipe.json", "metrics.json"):
        shutil.copy(run / name, tmp_path)
    content = (run / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(content[: len(content) // 2])
    error = refused(capsys, export.main, tmp_path)
    assert f"{tmp_path}/model.keras cannot be read" in error


def test_a_run_is_not_replaced_unasked(run, fit, tmp_path, capsys):
    arguments = ["digits-mlp", "--output", run]
    error = refused(capsys, train.main, *arguments)
    assert f"{run} exists: --overwrite replaces it, --output names another folder" in error
    (tmp_path / "precious").touch()
    error = refused(capsys, train.main, "digits-mlp", "--output", tmp_path, "--overwrite")
    assert "is not a run, so --overwrite does not replace it" in error
    assert (tmp_path / "precious").exists()


def test_overwrite(fit, data_dir, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.json").touch()
    (folder / "old").touch()
    arguments = ["digits-mlp", "--epochs", "1", "--output", str(folder), "--data-dir", data_dir]
    train.main([*arguments, "--overwrite"])
    assert not (folder / "old").exists()
    assert (folder / "model.keras").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failed_run_is_no_run(data_dir, tmp_path, monkeypatch, capsys):
    arguments = ["digits-mlp", "--epochs", "1", "--data-dir", data_dir]
    arguments += ["--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(plots, "curves", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.main(arguments)
    assert not (tmp_path / "run").exists()
    error = refused(capsys, train.main, *arguments, "--overwrite", "--learning-rate", "1e38")
    assert "no longer finite in epoch 1: lower --learning-rate" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", IMAGES)
def test_each_recipe_has_its_model(name):
    """Without its data, which may be far away."""
    recipe = RECIPES[name]
    shape = {"mnist": (28, 28, 1), "fashion": (28, 28, 1), "digits": (8, 8, 1)}
    data = types.SimpleNamespace(
        shape=shape.get(name.partition("-")[0], (32, 32, 3)), classes=list("0123456789")
    )
    model = recipe.model(data, dropout=0.5, l1=0.0, l2=0.0, layers=custom_layers)
    assert model.input_shape == (None, *data.shape)
    assert model.output_shape == (None, 10)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources without a network."""
    source = tmp_path_factory.mktemp("source")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    for folder in ("custom_layers", "models", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source]
    done = subprocess.run([*command, source], capture_output=True, text=True, cwd=source)
    assert done.returncode == 0, done.stderr
    (path,) = source.glob("*.whl")
    return path


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    info = f"custom_layers-{custom_layers.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"custom_layers", info}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "custom_layers").rglob("*.py")}
    sources.add("custom_layers/py.typed")
    assert {name for name in names if name.startswith("custom_layers/")} == sources
    assert f"{info}/licenses/LICENSE" in names


@pytest.mark.long  # asks the package index for TensorFlow
def test_the_wheel_in_an_empty_environment(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel]
    subprocess.run(install, check=True)
    code = """if True:
        import importlib.util
        import numpy as np
        import keras, custom_layers
        assert importlib.util.find_spec("models") is None
        assert importlib.util.find_spec("scripts") is None
        model = keras.Sequential([custom_layers.Dense(2)])
        assert model.predict(np.ones((3, 4)), verbose=0).shape == (3, 2)
        print(custom_layers.__file__)
        """
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "venv"))


@pytest.mark.long
@pytest.mark.skipif(SHARED is None, reason="CUSTOM_LAYERS_DATA is not set")
def test_bangla(fit):
    run, _ = fit("bangla-convnet", "--download-dir", f"{SHARED}/tfds/downloads")
    assert read(run / "metrics.json")["test"]["accuracy"] >= 0.96
