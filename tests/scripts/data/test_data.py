"""Data: digits is fixed and complete, one pipeline reads any set, no network is said at once."""

import functools
import http.server
import os
import pathlib
import threading
import time

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from scripts.data import prepare as prepare_module
from scripts.data.builders.digits.digits_dataset_builder import split
from scripts.data.images import load_images
from scripts.data.prepare import MissingData, parts, prepare, reachable
from scripts.training.command_line import InputError

SHARED = os.environ.get("CUSTOM_LAYERS_DATA")
needs_shared = pytest.mark.skipif(SHARED is None, reason="CUSTOM_LAYERS_DATA is not set")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def load(folder):
    return functools.partial(load_images, batch_size=64, seed=0, data_dir=folder)


def arrays(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_split_of_digits_is_fixed():
    target = load_digits().target
    indices = split(target)
    assert sorted(i for part in indices.values() for i in part) == list(range(1797))
    assert {name: len(part) for name, part in indices.items()} == {
        "train": 1259,
        "validation": 179,
        "test": 359,
    }
    first = [[0, 1, 2, 4], [5, 16, 22, 26], [3, 7, 13, 19]]
    assert [part[:4] for part in indices.values()] == first
    for part in indices.values():
        shares = np.bincount(target[part]) / len(part)
        assert np.abs(shares - 0.1).max() < 0.006


def test_digits_are_those_of_scikit_learn(load):
    data, source = load("digits"), load_digits()
    assert (data.name, data.shape, data.classes) == ("digits", (8, 8, 1), tuple("0123456789"))
    for name, indices in split(source.target).items():
        images, labels = arrays(getattr(data, name))
        assert images.dtype == "float32"
        assert 0 == images.min() < images.max() == 1
        levels = np.rint(images.reshape(-1, 64) * 16).astype(int)
        found = sorted(zip(map(tuple, levels), labels, strict=True))
        levels, labels = source.data[indices].astype(int), source.target[indices]
        assert found == sorted(zip(map(tuple, levels), labels, strict=True))


def test_order_follows_the_seed(load):
    first, again, other = (load("digits", seed=seed) for seed in (0, 0, 1))
    labels = [arrays(data.train)[1] for data in (first, again, other, again)]
    assert (labels[0] == labels[1]).all()
    assert (labels[0] != labels[2]).any()
    assert (labels[1] != labels[3]).any(), "the second epoch has the order of the first"
    for part in ("validation", "test"):
        np.testing.assert_array_equal(*(arrays(getattr(d, part))[0] for d in (first, other)))


def test_batches(load):
    sizes = [len(x) for x, _ in load("digits", batch_size=100).train]
    assert sizes == [100] * 12 + [59]


def test_what_is_missing_is_cut_off_the_training_split():
    assert parts(["train", "validation", "test"]) == ("train", "validation", "test")
    assert parts(["test", "train"]) == ("train[:90%]", "train[90%:]", "test")
    assert parts(["train", "validation"]) == ("train[:90%]", "validation", "train[90%:]")
    assert parts(["train"]) == ("train[:80%]", "train[80%:90%]", "train[90%:]")


class Squares(tfds.core.GeneratorBasedBuilder):
    """Gray images of several sizes, in one split."""

    name = "squares"
    VERSION = tfds.core.Version("1.0.0")
    supervised_keys = ("image", "label")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 1)),
            "label": tfds.features.ClassLabel(names=["dark", "bright"]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=self.supervised_keys,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(50):
            image = np.full((3 + i % 5, 4, 1), 50 + 150 * (i % 2), "uint8")
            yield i, {"image": image, "label": i % 2}


class Unlabeled(Squares):
    name = "unlabeled"
    supervised_keys = None


def test_images_of_several_sizes_in_one_split(load):
    with pytest.raises(InputError, match="squares has images of different sizes"):
        load("squares")
    data = load("squares", size=(6, 5))
    assert (data.shape, data.classes) == ((6, 5, 1), ("dark", "bright"))
    for name, count in (("train", 40), ("validation", 5), ("test", 5)):
        images, labels = arrays(getattr(data, name))
        assert images.shape == (count, 6, 5, 1)
        np.testing.assert_allclose(images[:, 0, 0, 0] * 255, 50 + 150 * labels, rtol=1e-6)


def test_only_images_with_one_class(load):
    with pytest.raises(
        InputError, match="unlabeled does not consist of images with one class each"
    ):
        load("unlabeled")


def test_unknown_names(folder):
    with pytest.raises(InputError, match="data set no_such_set"):
        prepare("no_such_set", folder)
    with pytest.raises(InputError, match="there is no folder"):
        prepare("mnist", folder, download_dir=folder + "/nowhere")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="data set digits: .*file"):
        prepare("digits", str(tmp_path / "file"))


def test_without_a_network_the_error_comes_at_once(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(prepare_module, "reachable", asked.append)
    start = time.perf_counter()
    with pytest.raises(MissingData, match=r"data set mnist: https://.* cannot be reached, and .*"):
        prepare("mnist", folder)
    assert len(asked) == 1
    assert time.perf_counter() - start < 10


def test_reachable(monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/here" else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert reachable(f"{address}/here")
        assert not reachable(f"{address}/gone")
        server.shutdown()
    assert not reachable(f"{address}/here")


def test_a_host_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(prepare_module, "SECONDS", 0.2)

    def get(*arguments, **options):
        time.sleep(1)
        raise requests.Timeout

    monkeypatch.setattr(requests, "get", get)
    start = time.perf_counter()
    assert not reachable("http://silent.invalid")
    assert time.perf_counter() - start < 0.9


@needs_shared
def test_files_in_the_download_folder_need_no_network(load, monkeypatch):
    monkeypatch.setattr(prepare_module, "reachable", lambda url: False)
    downloads = pathlib.Path(SHARED) / "tfds" / "downloads"
    before = sorted(downloads.rglob("*"))
    data = load("cmaterdb/bangla", download_dir=str(downloads))
    assert sorted(downloads.rglob("*")) == before
    assert data.shape == (32, 32, 3)
    counts = {"train": 4500, "validation": 500, "test": 1000}
    for name, count in counts.items():
        images, labels = arrays(getattr(data, name))
        assert images.shape == (count, 32, 32, 3)
        assert set(labels) == set(range(10))
