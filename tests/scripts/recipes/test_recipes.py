"""Recipes: the table of them, their data sets, and models that take what each data set gives."""

import dataclasses
import functools
import json
import pathlib
import re
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.testing import mocking

import custom_layers
from scripts import evaluate, train
from scripts.recipes import RECIPES, listing
from scripts.training.command_line import InputError

ROOT = pathlib.Path(__file__).parents[3]
SETTINGS = {"batch_size": 2, "seed": 0, "data_dir": None, "download_dir": None}
OWN = ("daily_min_temperatures", "planetoid", "tu", "ogbg_molpcba", "movielens")


# --- the table


@pytest.mark.parametrize("width", [60, 80, 100, 160, 300])
def test_the_table_fits_and_breaks_no_name(width):
    table = listing.table(width)
    lines, foot = (part.splitlines() for part in table.split("\n\n"))
    assert max(map(len, lines + foot)) <= width
    assert table.isascii()
    first = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert first == ["recipe", *RECIPES]
    words, told = set(re.split(r"[\s,]+", table)), " ".join(foot)
    assert "* is used unless --data names another one; + needs no network" in told
    for column, wanted in {
        "data sets": {f"{recipe.data.name}*{'+' * recipe.offline}" for recipe in RECIPES.values()},
        "layers on show": {layer for recipe in RECIPES.values() for layer in recipe.shows},
        "figure of merit": {recipe.figure for recipe in RECIPES.values()},
    }.items():
        assert wanted <= words or column in told
    assert ("data sets" in told) == (width < 76)
    if width == 300:  # nothing is wrapped or left out
        assert told.endswith("its settings")
        assert len(lines) == 1 + len(RECIPES)
        for line, recipe in zip(lines[1:], RECIPES.values(), strict=True):
            for word in (recipe.task, recipe.rival, recipe.figure, *recipe.shows):
                assert word in line
            for name in recipe.data.offline | recipe.data.tfds:
                assert name in line


def test_columns_of_the_table():
    head, *rows = listing.table(300).splitlines()
    starts = [head.index(word) for word in listing.HEAD]
    (row,) = (row for row in rows if row.startswith("mackey-glass-convnet"))
    cells = [row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    assert cells == [
        "mackey-glass-convnet",
        "forecasting",
        "mackey_glass*+, daily_min_temperatures",
        "Conv1D, Dense",
        "mae, below seasonal naive or naive",
    ]


def test_the_table_is_as_wide_as_the_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "90")
    train.main(["--list"])
    assert capsys.readouterr().out == listing.table(90) + "\n"
    train.main(["gestures", "--list"])
    assert capsys.readouterr().out == listing.describe("gestures", 90) + "\n"


@pytest.mark.parametrize("columns", ["10", "80", "200"])
def test_a_reader_may_leave(columns):
    program = f"COLUMNS={columns} {sys.executable} -m scripts.train --list | head -n 1"
    done = subprocess.run(program, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "recipe"
    assert done.stderr == ""


@pytest.mark.parametrize("name", RECIPES)
def test_one_recipe_in_full(name):
    text = listing.describe(name, 100)
    assert max(map(len, text.splitlines())) <= 100
    words = " ".join(text.split())
    recipe = RECIPES[name]
    assert recipe.about.split(",")[0] in words
    assert f"epochs {recipe.epochs}," in words


# --- data sets


def test_each_recipe_knows_its_data_set():
    for recipe in RECIPES.values():
        data = recipe.data
        assert data.name in data.offline | data.tfds
        assert not data.offline.keys() & data.tfds.keys()
        assert recipe.offline == (data.name in data.offline)
        assert recipe.short is None or recipe.short < recipe.epochs


@pytest.fixture
def asked(monkeypatch):
    """A recipe whose loader tells what it is asked for."""
    data = dataclasses.replace(
        RECIPES["tones"].data, load=lambda name, **options: (name, options), offline={"tones": {}}
    )
    return dataclasses.replace(RECIPES["tones"], data=data)


def test_another_data_set_comes_with_what_is_known_of_it(asked):
    assert asked.data(seed=1) == ("tones", {"seed": 1})
    assert asked.data("spoken_digit", seed=1) == ("spoken_digit", {"length": 8000, "seed": 1})
    assert asked.data("no_such_set", seed=1) == ("no_such_set", {"seed": 1})


def test_of_an_unknown_data_set_must_be_known_what_is_needed(capsys, tmp_path):
    with pytest.raises(InputError, match="data set gtzan: this recipe reads tones, spoken_digit"):
        RECIPES["tones"].data("gtzan", **SETTINGS)
    with pytest.raises(SystemExit, match="2"):
        train.main(["tones", "--data", "gtzan", "--output", str(tmp_path / "run")])
    assert "data set gtzan: this recipe reads tones" in capsys.readouterr().err


def test_a_run_on_another_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train.main(["wine-mlp", "--data", "breast_cancer", "--epochs", "1", "--data-dir", "data"])
    run = tmp_path / "runs" / "wine-mlp" / "breast-cancer-0"
    assert "runs/wine-mlp/breast-cancer-0: test accuracy" in capsys.readouterr().out
    assert json.loads((run / "recipe.json").read_text())["settings"]["data"] == "breast_cancer"
    assert keras.models.load_model(run / "model.keras").input_shape == (None, 30)
    recorded = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    evaluate.main([str(run)])
    assert f"test accuracy {recorded:.6f} " in capsys.readouterr().out


# --- data of tfds, in shape


class AnySplit(dict):
    """Splits that tfds would know once the data are prepared."""

    def __init__(self, *names):
        self.any = types.SimpleNamespace(num_examples=24, num_bytes=1, num_shards=1)
        super().__init__(dict.fromkeys(names, self.any))

    def __missing__(self, name):  # such as train[:90%]
        return self.any


SHORT = ("digits-convnet", "canvas-unet", "canvas-detector", "docstrings-convnet", "wine-mlp")
SHORT += ("gestures", "digits-to-words", "digits-vae")


def cases():
    """Each recipe on its own tfds data set, or on the first that it also takes."""
    for name, recipe in RECIPES.items():
        other = recipe.data.name if not recipe.offline else next(iter(recipe.data.tfds), None)
        if other is not None and other.partition("/")[0] not in OWN:
            marks = [] if name in SHORT else [pytest.mark.long]
            yield pytest.param(recipe, other, id=f"{name}-{other.replace('/', '-')}", marks=marks)


def layers_of(model):
    for layer in model._flatten_layers(include_self=False):
        yield type(layer).__name__
        yield type(getattr(layer, "forward_layer", layer)).__name__


@pytest.mark.parametrize(("recipe", "name"), list(cases()))
def test_models_take_what_tfds_gives(recipe, name, monkeypatch, tmp_path):
    splits = AnySplit("train", "validation", "test")
    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", property(lambda info: splits))
    # What belongs together, such as boxes and their labels, must be equally long.
    fake = functools.partial(mocking.RandomFakeGenerator, constant_dynamic_shape=True)
    monkeypatch.setattr(mocking, "RandomFakeGenerator", fake)
    with tfds.testing.mock_data(num_examples=24, max_value=10):
        data = recipe.data(name, **SETTINGS | {"data_dir": str(tmp_path)})
        batches = [next(iter(part)) for part in (data.train, data.validation, data.test)]
    model = recipe.model(data, dropout=0.5, l1=0.0, l2=0.0, layers=custom_layers)
    assert set(recipe.shows) <= set(layers_of(model))
    for x, truth, *_ in batches:
        answer = getattr(model, "discriminator", model)(x)  # a GAN takes no images but to judge
        for part in tf.nest.flatten(answer):
            assert len(part) == len(tf.nest.flatten(x)[0]) > 0
            assert np.isfinite(part).all()
        if isinstance(recipe.loss, str):
            assert np.isfinite(keras.losses.get(recipe.loss)(truth, answer)).all()
