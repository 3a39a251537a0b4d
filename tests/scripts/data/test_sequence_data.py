"""Data of texts, series, signals and tables: what each pipeline gives, and the rivals it is for."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from scripts.data.characters import encode, load_characters, windows
from scripts.data.pairs import load_pairs
from scripts.data.series import load_series
from scripts.data.signals import load_signals
from scripts.data.tables import load_table, numbers
from scripts.data.texts import load_texts, names
from scripts.training.command_line import InputError

SETTINGS = {"batch_size": 64, "seed": 0}
DOWNLOADED = pathlib.Path(os.environ.get("CUSTOM_LAYERS_DATA", "/nowhere"))
needs_downloads = pytest.mark.skipif(
    "CUSTOM_LAYERS_DATA" not in os.environ, reason="CUSTOM_LAYERS_DATA is not set"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prepared data, for all tests of this file."""
    return tmp_path_factory.mktemp("data")


def arrays(part):
    """All of a pipeline, as one array for each thing it gives."""
    batches = list(part.as_numpy_iterator())
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


# --- texts


@pytest.fixture(scope="module")
def docstrings(folder):
    return load_texts("docstrings", data_dir=folder, length=16, vocabulary=500, **SETTINGS)


@pytest.mark.long
def test_docstrings(docstrings):
    seen = [
        set(arrays(part)[0]) for part in (docstrings.train, docstrings.validation, docstrings.test)
    ]
    assert min(map(len, seen)) > 300
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]
    labels = arrays(docstrings.test)[1]
    assert len(docstrings.classes) == 9
    assert set(labels) == set(range(9))
    assert np.bincount(labels).max() < 0.25 * len(labels)  # no class is the answer


def test_vectorizer_knows_the_training_part_only(docstrings):
    known = docstrings.vectorizer.get_vocabulary()
    assert len(known) == 500
    assert known[:3] == ["", "[UNK]", "the"]
    ids = docstrings.vectorizer(tf.constant(["", "the " * 40, "xyzzy the"]))
    assert ids.shape == (3, 16)
    np.testing.assert_array_equal(ids[0], 0)
    np.testing.assert_array_equal(ids[1], 2)
    np.testing.assert_array_equal(ids[2, :3], [1, 2, 0])


def test_part_of_a_docstring_is_fixed_by_its_text():
    from scripts.data.builders.docstrings.docstrings_dataset_builder import part

    found = [part(text) for text in "abcdef"]
    assert found == ["train", "validation", "test", "test", "validation", "test"]


def test_only_texts_with_one_class(folder):
    with pytest.raises(InputError, match="tones does not consist of texts with one class each"):
        load_texts("tones", data_dir=folder, **SETTINGS)


def test_classes_that_are_numbers_have_their_names_beside_them():
    examples = [{"label": i, "kind": f"kind {i}".encode()} for i in (3, 0, 1, 3)]
    assert names(examples, "label", "kind") == ["kind 0", "kind 1", "2", "kind 3"]


@needs_downloads
def test_trec(folder):
    downloads = DOWNLOADED / "tfds" / "downloads"
    data = load_texts(
        "trec", data_dir=folder, download_dir=downloads, keys=("text", "label-coarse"), **SETTINGS
    )
    counts = [len(arrays(part)[1]) for part in (data.train, data.validation, data.test)]
    assert counts == [4907, 545, 500]
    assert len(data.classes) == 6


# --- characters


def test_characters(folder):
    data = load_characters("stdlib_source", data_dir=folder, length=20, **SETTINGS)
    assert data.characters == "".join(sorted(data.characters))
    assert "\n" in data.characters
    x, y = next(data.train.as_numpy_iterator())
    assert x.shape == y.shape == (64, 20)
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    text = "".join(data.characters[i - 1] for i in arrays(data.test.take(1))[0][0])
    assert text == "'''A multi-producer, "[:20]
    again = load_characters("stdlib_source", data_dir=folder, length=20, **SETTINGS)
    np.testing.assert_array_equal(next(again.train.as_numpy_iterator())[0], x)
    two = [batch[0][0] for batch in data.train.take(1).repeat(2).as_numpy_iterator()]
    assert (two[0] != two[1]).any()  # another order, other edges


def test_unknown_characters_are_0():
    np.testing.assert_array_equal(encode("abéc", "abc"), [1, 2, 0, 3])


def test_windows_leave_a_rest():
    x, y = windows(np.arange(12), 5)
    np.testing.assert_array_equal(x, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    np.testing.assert_array_equal(y, x + 1)


# --- pairs


def test_words_of_numbers():
    from scripts.data.builders.numbers.numbers_dataset_builder import split, words

    assert words(0) == "zero"
    assert words(13) == "thirteen"
    assert words(80) == "eighty"
    assert words(642_005) == "six hundred forty-two thousand five"
    assert words(900_100) == "nine hundred thousand one hundred"
    parts = [set(part.tolist()) for part in split().values()]
    assert [len(part) for part in parts] == [16_000, 2000, 2000]
    assert len(set.union(*parts)) == 20_000


def test_pairs(folder):
    data = load_pairs(
        "numbers",
        languages=("digits", "words"),
        symbols=("character", "word"),
        data_dir=folder,
        **SETTINGS,
    )
    assert sorted(data.source) == sorted(["", "[UNK]", *"0123456789"])
    assert {"zero", "thousand", "forty-two"} <= set(data.target)
    from scripts.data.builders.numbers.numbers_dataset_builder import words

    (source, before), after = next(data.test.as_numpy_iterator())
    assert (before[:, 0] == data.start).all()
    for digits, given, wanted in zip(source, before, after, strict=True):
        number = int("".join(data.source[i] for i in digits))
        ids = wanted[wanted > 0]
        assert ids[-1] == data.end
        assert " ".join(data.target[i] for i in ids[:-1]) == words(number)
        np.testing.assert_array_equal(given[1 : len(ids)], ids[:-1])
        assert (given[len(ids) :] == 0).all()
    assert data.length >= after.shape[1]


# --- series


def test_mackey_glass():
    from scripts.data.builders.mackey_glass.mackey_glass_dataset_builder import mackey_glass

    x = mackey_glass(400)
    assert len(x) == 400
    assert 0.2 < x.min() < 0.6
    assert 1.1 < x.max() < 1.4
    start = x - x.mean()
    rhythm = [float((start[:-lag] * start[lag:]).mean()) for lag in range(30, 70)]
    assert 40 <= 30 + int(np.argmax(rhythm)) <= 60


def test_series_parts_follow_each_other(folder):
    data = load_series(
        "mackey_glass", history=30, horizon=5, season=50, data_dir=folder, **SETTINGS
    )
    assert len(data.values) == 5000
    assert data.begins[0] == 4000
    assert data.begins[-1] == 4995
    x, y = arrays(data.test)
    np.testing.assert_array_equal(x[0], data.values[3970:4000])
    np.testing.assert_array_equal(y[-1], data.values[4995:])
    x, y = arrays(data.validation)
    np.testing.assert_array_equal(y[0], data.values[3500:3505])
    np.testing.assert_array_equal(y[-1], data.values[3995:4000])
    assert arrays(data.train)[0].shape == (3500 - 50 - 4, 30)
    assert data.mean == pytest.approx(data.values[:3500].mean(), rel=1e-5)


def test_a_series_too_short(folder):
    with pytest.raises(InputError, match="5000 values, too few"):
        load_series("mackey_glass", history=3498, horizon=5, season=1, data_dir=folder, **SETTINGS)


@needs_downloads
def test_temperatures(folder):
    data = load_series(
        "daily_min_temperatures", history=60, horizon=7, season=365, data_dir=folder,
        download_dir=DOWNLOADED / "raw" / "series", **SETTINGS,
    )  # fmt: skip
    assert len(data.values) == 3650
    assert data.values[:2].tolist() == pytest.approx([20.7, 17.9])


# --- signals


def test_tones(folder):
    data = load_signals("tones", length=4100, data_dir=folder, **SETTINGS)
    x, labels = arrays(data.test)
    assert x.shape == (300, 4100)
    assert (x[:, :100] == 0).all()  # in front
    assert 0.1 <= np.abs(x).max() <= 1
    assert np.bincount(labels).tolist() == [50] * 6
    assert data.rate == 8000
    assert data.train.cardinality() == 15
    short = load_signals("tones", length=100, data_dir=folder, **SETTINGS)
    np.testing.assert_array_equal(arrays(short.test)[0], x[:, 100:200])


def test_turned_signals_keep_their_shape():
    from scripts.data.signals import turned

    x = np.random.default_rng(0).standard_normal((4, 7, 3)).astype("float32")
    y = turned(x, 1.0, 0).numpy()
    strength = np.sqrt(np.square(y).sum((1, 2)) / np.square(x).sum((1, 2)))[:, None, None]
    assert (strength >= 0.8).all()
    assert (strength <= 1.2).all()
    assert len(np.unique(strength)) == 4
    gram = np.einsum("bti,bui->btu", x, x)  # lengths and angles between moments
    np.testing.assert_allclose(np.einsum("bti,bui->btu", y, y), strength**2 * gram, atol=1e-4)
    assert np.abs(y / strength - x).max() > 0.3
    assert turned(x[:0], 1.0, 0).shape == (0, 7, 3)


@pytest.mark.long
@needs_downloads
def test_gestures_are_of_people_apart(folder):
    from scripts.recipes.series_and_tables import SMARTWATCH

    pytest.importorskip("pandas")
    data = load_signals(
        "smartwatch_gestures", data_dir=folder, download_dir=DOWNLOADED / "tfds" / "downloads",
        **SMARTWATCH, **SETTINGS,
    )  # fmt: skip
    parts = [arrays(part)[0] for part in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == 3251
    assert data.shape == parts[0].shape[1:] == (51, 3)
    seen = [{signal.tobytes() for signal in part} for part in parts]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]


# --- tables


def test_columns_of_features():
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel(names=["x", "y"])
    assert {k: v.tolist() for k, v in numbers("a", label, [1, 0]).items()} == {
        "a x": [0, 1],
        "a y": [1, 0],
    }
    assert numbers("a", None, [3, 4])["a"].tolist() == [3, 4]
    assert list(numbers("a", None, [[3, 4], [5, 6]])) == ["a 0", "a 1"]
    assert numbers("a", None, [b"text"]) == {}


@pytest.mark.parametrize(
    ("name", "columns", "rows"), [("wine", 13, 178), ("breast_cancer", 30, 569)]
)
def test_tables_of_scikit_learn(folder, name, columns, rows):
    import sklearn.datasets

    data = load_table(name, data_dir=folder, **SETTINGS)
    parts = [arrays(part) for part in (data.train, data.validation, data.test)]
    x, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert x.shape == (rows, columns)
    theirs = getattr(sklearn.datasets, f"load_{name}")()
    order, their_order = np.lexsort(x.T), np.lexsort(theirs.data.astype("float32").T)
    np.testing.assert_array_equal(x[order], theirs.data[their_order].astype("float32"))
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(theirs.target))
    known, _ = arrays(data.train)
    np.testing.assert_allclose(data.moments[0], known.mean(0), rtol=1e-4)


@needs_downloads
def test_penguins(folder):
    downloads = DOWNLOADED / "tfds" / "downloads"
    data = load_table("penguins/simple", data_dir=folder, download_dir=downloads, **SETTINGS)
    x, _ = arrays(data.train)
    assert data.columns[:4] == (
        "body_mass_g",
        "culmen_depth_mm",
        "culmen_length_mm",
        "flipper_length_mm",
    )
    assert len(data.columns) == 4 + 3 + 3
    assert not any("species" in column for column in data.columns)
    assert np.isfinite(x).all()
    assert data.classes == ("Adelie", "Chinstrap", "Gentoo")
