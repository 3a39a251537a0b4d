"""Recipes of images and videos: their data mean what they say, and they run."""

import json
import pathlib

import keras
import numpy as np
import pytest

from custom_layers.checks import assert_near
from models import detector
from scripts import train
from scripts.data.boxes import load_boxes
from scripts.data.builders.digits.digits_dataset_builder import split
from scripts.data.builders.digits_canvas import digits_canvas_dataset_builder as canvas
from scripts.data.builders.moving_digits import moving_digits_dataset_builder as moving
from scripts.data.masks import load_masks
from scripts.data.videos import load_videos
from scripts.recipes import RECIPES
from scripts.training.command_line import InputError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """The generated data sets, small."""
    counts = {"train": 48, "validation": 16, "test": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "COUNTS", counts)
        patch.setattr(moving, "COUNTS", counts)
        folder = tmp_path_factory.mktemp("data")
        for name in ("canvas-unet", "motion-convnet3d"):
            load(name, folder)
        yield folder


def load(recipe, data_dir):
    return RECIPES[recipe].data(batch_size=8, seed=0, data_dir=data_dir, download_dir=None)


def test_boxes_are_those_of_the_mask(data_dir):
    boxes, masks = load("canvas-detector", data_dir), load("canvas-unet", data_dir)
    assert masks.shape == boxes.shape == (48, 48, 1)
    assert masks.classes == ("background", *map(str, range(10)))
    assert (boxes.grid, boxes.classes) == ((12, 12), tuple(map(str, range(10))))
    pairs = zip(masks.test.unbatch().as_numpy_iterator(), boxes.truth["test"], strict=True)
    for (image, mask), (corners, labels) in pairs:
        assert image.dtype == np.float32
        assert 0 <= image.min() < image.max() <= 1
        left = mask.copy()
        for box, label in zip(np.round(corners * 48).astype(int), labels, strict=True):
            top, start, bottom, end = box
            inside = mask[top:bottom, start:end] == label + 1
            assert inside.any(0)[[0, -1]].all()
            assert inside.any(1)[[0, -1]].all()
            left[top:bottom, start:end][inside] = 0
        assert not left.any()  # every pixel that is no background lies in its digit's box


def test_heads_are_those_of_the_boxes(data_dir):
    data = load("canvas-detector", data_dir)
    batches = data.test.unbatch().as_numpy_iterator()
    for (_, heads, weights), (boxes, labels) in zip(batches, data.truth["test"], strict=True):
        expected, centers = detector.encode(boxes, labels, data.grid, 10)
        assert_near("classes", heads["classes"], expected["classes"])
        assert_near("boxes", heads["boxes"], expected["boxes"])
        assert_near("weights", weights["boxes"], centers)
        assert (weights["classes"] == 1).all()


def test_generated_data_are_the_same_each_time():
    parts = split(np.arange(1797) % 10)
    assert not set(parts["train"]) & set(parts["test"])
    images = np.random.RandomState(0).randint(0, 17, (20, 8, 8))
    one, two = (canvas.scatter(images, np.arange(20) % 10, np.random.RandomState(5)) for _ in "ab")
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("motion", moving.MOTIONS)
def test_digits_move_as_labeled(motion):
    digit = np.ones((8, 8))
    video = moving.move(digit, motion, np.random.RandomState(3)) > 127
    steps = {
        speed: np.roll(video[:-1], speed * np.array(moving.MOTIONS[motion]), (1, 2))
        for speed in (1, 2)
    }
    assert any((moved == video[1:]).all() for moved in steps.values())


def test_videos(data_dir):
    data = load("motion-convnet3d", data_dir)
    assert (data.shape, data.classes) == ((8, 16, 16, 1), ("left", "right", "up", "down"))
    videos, labels = next(data.train.as_numpy_iterator())
    assert (videos.shape, videos.dtype) == ((8, 8, 16, 16, 1), np.float32)
    assert labels.shape == (8,)
    options = {"frames": 3, "size": (8, 8), "data_dir": data_dir, "download_dir": None}
    fewer = load_videos("moving_digits", batch_size=4, seed=0, **options)
    assert fewer.shape == (3, 8, 8, 1)
    assert next(fewer.test.as_numpy_iterator())[0].shape == (4, 3, 8, 8, 1)


@pytest.mark.parametrize("recipe", ["canvas-unet", "canvas-detector", "motion-convnet3d"])
def test_wrong_kind_of_data_is_one_line(recipe, data_dir):
    options = {"batch_size": 4, "seed": 0, "data_dir": data_dir}
    wrong = {
        "canvas-unet": lambda: load_masks("moving_digits", ("a",), **options),
        "canvas-detector": lambda: load_boxes("moving_digits", 4, **options),
        "motion-convnet3d": lambda: load_videos("digits_canvas", **options),
    }
    with pytest.raises(InputError, match="data set (moving_digits|digits_canvas)"):
        wrong[recipe]()


PICTURES = {  # what runs alike is run once
    "canvas-unet": "masks.png",
    "canvas-detector": "boxes.png",
    "motion-convnet3d": "confusion.png",
    "digits-vae": "samples.png",
    "digits-gan": "samples/epoch_001.png",
}


SHORT = ("canvas-unet",)


@pytest.mark.parametrize(
    "recipe", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in PICTURES]
)
def test_recipe_runs(recipe, data_dir, tmp_path, capsys):
    train.main(
        [recipe, "--epochs", "1", "--data-dir", str(data_dir), "--output", str(tmp_path / "run")]
    )
    run = pathlib.Path(tmp_path / "run")
    assert (run / PICTURES[recipe]).stat().st_size > 1000
    metrics = json.loads((run / "metrics.json").read_text())
    figure = RECIPES[recipe].figure
    for part in ("test", "baseline"):
        assert np.isfinite(metrics[part][figure])
    assert metrics["baseline"]["name"] == RECIPES[recipe].rival
    assert RECIPES[recipe].rival in capsys.readouterr().out
    history = (run / "history.csv").read_text()
    assert f"val_{figure}" in history
    assert keras.models.load_model(run / "model.keras").count_params() == metrics["parameters"]


def test_figures_say_which_way_is_better():
    assert RECIPES["digits-gan"].beats(1.0, 2.0)
    assert RECIPES["digits-vae"].beats(0.1, 0.2)
    assert RECIPES["canvas-unet"].beats(0.2, 0.1)
