"""Models and recipes of images: they mean what they say, are saved, served, and run."""

import json
import math
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near
from models import autoencoder, convnet3d, detector, gan, resnet, unet, vae
from scripts import train
from scripts.data.builders.digits.digits_dataset_builder import split
from scripts.data.builders.digits_canvas import digits_canvas_dataset_builder as canvas
from scripts.data.builders.moving_digits import moving_digits_dataset_builder as moving
from scripts.recipes import RECIPES

IMAGES, SMALL = (3, 8, 8, 1), {"filters": (4, 8), "l1": 1e-4, "l2": 1e-3}
MODELS = {  # each made small, and what it is called with
    "resnet": (lambda **k: resnet.resnet(IMAGES[1:], 5, **SMALL, **k), IMAGES),
    "unet": (lambda **k: unet.unet(IMAGES[1:], 4, **SMALL, **k), IMAGES),
    "detector": (lambda **k: detector.detector((16, 12, 3), 4, **SMALL, **k), (3, 16, 12, 3)),
    "detections": (
        lambda **k: detector.detections(
            detector.detector((16, 12, 3), 4, **SMALL, **k), score=0.01
        ),
        (3, 16, 12, 3),
    ),
    "convnet3d": (lambda **k: convnet3d.convnet3d((5, 8, 7, 1), 4, **SMALL, **k), (3, 5, 8, 7, 1)),
    "autoencoder": (lambda **k: autoencoder.autoencoder(IMAGES[1:], **SMALL, **k), IMAGES),
    "vae": (lambda **k: vae.vae(IMAGES[1:], latent=3, **SMALL, **k), IMAGES),
    "gan": (lambda **k: gan.gan(IMAGES[1:], latent=6, **SMALL, **k), (3, 6)),
}


def inputs(shape):
    return np.random.default_rng(0).random(shape, "float32")


def shaken(model):
    """The model with weights that no initializer gives, so that each of them matters."""
    rng = np.random.default_rng(1)
    model.set_weights(
        [
            w + 0.1 * np.abs(rng.standard_normal(w.shape)).astype(w.dtype)
            if np.issubdtype(w.dtype, np.floating)
            else w
            for w in model.get_weights()
        ]
    )
    return model


def flat(answers):
    return [np.asarray(y) for y in tf.nest.flatten(answers)]


LOADING = """
import sys, pathlib, numpy, tensorflow as tf, keras
import custom_layers, models.detector, models.gan, models.vae
for folder in map(pathlib.Path, sys.argv[1:]):
    model = keras.models.load_model(folder / "model.keras")
    y = tf.nest.flatten(model.predict(numpy.load(folder / "x.npy"), verbose=0))
    numpy.savez(folder / "loaded.npz", *y)
"""
SERVING = """
import sys, pathlib, numpy, tensorflow as tf
for folder in map(pathlib.Path, sys.argv[1:]):
    loaded = tf.saved_model.load(folder / "saved_model")
    y = tf.nest.flatten(loaded.serve(numpy.load(folder / "x.npy")))
    numpy.savez(folder / "served.npz", *map(numpy.asarray, y))
assert "custom_layers" not in sys.modules
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Each model saved, exported, and read in two processes of their own."""
    root = tmp_path_factory.mktemp("saved")
    for name, (make, shape) in MODELS.items():
        folder, model, x = root / name, shaken(make()), inputs(shape)
        folder.mkdir()
        np.save(folder / "x.npy", x)
        np.savez(folder / "expected.npz", *flat(model.predict(x, verbose=0)))
        model.save(folder / "model.keras")
        model.export(folder / "saved_model", verbose=False)
    folders = [str(root / name) for name in MODELS]
    for code in (LOADING, SERVING):
        subprocess.run([sys.executable, "-c", code, *folders], check=True)
    return root


@pytest.mark.parametrize("name", MODELS)
def test_saved_models_predict_the_same_elsewhere(saved, name):
    expected = np.load(saved / name / "expected.npz")
    for file in ("loaded.npz", "served.npz"):
        actual = np.load(saved / name / file)
        assert len(actual.files) == len(expected.files) > 0
        for key in expected.files:
            assert_near(file, actual[key], expected[key], 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_keras_layers_answer_the_same(name):
    make, shape = MODELS[name]
    ours, reference = shaken(make()), make(layers=keras.layers)
    names = [[(w.name, tuple(w.shape)) for w in model.weights] for model in (ours, reference)]
    assert names[0] == names[1]
    reference.set_weights(ours.get_weights())
    answers = [flat(model.predict(inputs(shape), verbose=0)) for model in (ours, reference)]
    for mine, theirs in zip(*answers, strict=True):
        assert_near("answer", mine, theirs, 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_kernel_is_penalized(name):
    model = MODELS[name][0]()
    kernels = [w.numpy() for w in model.trainable_weights if w.name == "kernel"]
    expected = sum(1e-4 * np.abs(w).sum() + 1e-3 * np.square(w).sum() for w in kernels)
    assert len(kernels) >= 3
    if name == "vae":
        model(inputs(IMAGES))
        expected += float(model.get_layer("sample").losses[0])
    assert_near("penalty", float(sum(model.losses)), expected, 1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: unet.unet((10, 8, 1), 3),
        lambda: autoencoder.autoencoder((8, 6, 1)),
        lambda: vae.vae((9, 8, 1)),
        lambda: gan.gan((8, 10, 1)),
    ],
)
def test_sizes_that_cannot_be_halved_are_refused(make):
    with pytest.raises(ValueError, match="multiples of 4"):
        make()


def test_unet_sees_far_and_near():
    """A change of one pixel moves answers elsewhere, through the lowest level."""
    model, x = unet.unet((16, 16, 1), 3, filters=(4, 4, 4)), inputs((1, 16, 16, 1))
    changed = x.copy()
    changed[0, 0, 0] += 1
    moved = np.abs(model.predict(changed, verbose=0) - model.predict(x, verbose=0))[0].max(-1)
    assert moved[0, 0] > 1e-4
    assert moved[9, 9] > 0


# Detection


def test_boxes_come_back_from_the_heads():
    boxes = tf.constant([[0.1, 0.2, 0.4, 0.3], [0.5, 0.5, 1.0, 0.9], [0.0, 0.9, 0.2, 1.0]])
    heads, centers = detector.encode(boxes, tf.constant([2, 0, 1]), (4, 6), 3)
    assert centers.numpy().sum() == 3
    cells = [(1, 1), (3, 4), (0, 5)]
    decoded = detector.decode(heads["boxes"][None])[0].numpy()
    for box, label, cell in zip(boxes.numpy(), [2, 0, 1], cells, strict=True):
        assert centers[cell] == 1
        assert heads["classes"][cell].numpy().argmax() == label
        assert_near("box", decoded[cell], box, 1e-6)


def test_of_two_objects_in_one_cell_the_last_is_kept():
    boxes = tf.constant([[0.1, 0.1, 0.2, 0.2], [0.1, 0.1, 0.3, 0.3]])
    heads, centers = detector.encode(boxes, tf.constant([0, 1]), (2, 2), 2)
    assert_near("centers", centers, [[1.0, 0], [0, 0]])
    assert_near("classes", heads["classes"][0, 0], np.float32([0, 1]))
    assert_near("box", detector.decode(heads["boxes"][None])[0, 0, 0], boxes[1], 1e-6)
    none = detector.encode(tf.zeros((0, 4)), tf.zeros((0,), tf.int64), (2, 2), 2)
    assert none[1].numpy().sum() == 0


def test_detections_suppress_what_overlaps_in_one_class():
    heads = {
        "classes": np.zeros((1, 3, 3, 2), "float32"),
        "boxes": np.zeros((1, 3, 3, 4), "float32"),
    }
    heads["boxes"][..., 2:] = math.log(3)  # three cells: neighbors overlap by a half
    heads["classes"][0, 1, 1, 0], heads["classes"][0, 1, 2, 0] = 0.9, 0.8  # one of these remains
    heads["classes"][0, 0, 0, 1] = 0.7  # another class
    heads["classes"][0, 2, 2, 1] = 0.01  # improbable
    found = detector.Detections(score=0.05, overlap=0.4, most=5)(heads)
    assert found["count"].numpy() == [2]
    assert_near("scores", found["scores"][0], np.float32([0.9, 0.7, 0, 0, 0]))
    assert found["labels"][0, :2].numpy().tolist() == [0, 1]
    assert_near("box", found["boxes"][0, 0], np.float32([0, 0, 1, 1]), 1e-6)


# Autoencoders and GANs


def test_sample_draws_in_training_and_adds_the_divergence():
    sample = vae.Sample(weight=0.5, seed=0)
    mean, log_variance = np.float32([[1.0, -2.0]]), np.float32([[0.5, -1.0]])
    x = np.repeat(np.concatenate([mean, log_variance], -1), 20_000, 0)
    assert_near("mean", sample(x, training=False), x[:, :2])
    divergence = 0.5 * np.sum(mean**2 + np.exp(log_variance) - log_variance - 1)
    assert_near("divergence", sample.losses[0], 0.5 * divergence, 1e-5)
    z = sample(x, training=True).numpy()
    assert_near("mean of z", z.mean(0), mean[0], 0.03)
    assert_near("deviation of z", z.std(0), np.exp(log_variance[0] / 2), 0.03)
    assert np.abs(sample(x, training=True) - z).max() > 0.1
    assert vae.Sample.from_config(sample.get_config()).get_config() == sample.get_config()


def test_gan_steps_both_and_tests_alike():
    model, x = gan.gan((8, 8, 1), latent=4, filters=(4,), l2=1e-3), inputs((6, 8, 8, 1))
    model.compile("adam")
    before = model.get_weights()
    history = model.fit(x, epochs=2, verbose=0).history
    assert {"loss", "generator_loss", "discriminator_loss"} == set(history)
    for weight, old in zip(model.weights, before, strict=True):
        if weight.trainable:
            assert np.abs(weight.numpy() - old).max() > 0, weight.path
    first = model.evaluate(x, np.zeros(6), return_dict=True, verbose=0)
    assert first == model.evaluate(x, np.zeros(6), return_dict=True, verbose=0)
    assert_near("sum", first["generator_loss"] + first["discriminator_loss"], first["loss"], 1e-6)


def test_gan_losses_are_the_stated_ones():
    model, x = shaken(gan.gan((8, 8, 1), latent=4, filters=(4,))), inputs((5, 8, 8, 1))
    inventing, judging = model.play(tf.constant(x), training=False)
    z = keras.random.normal((5, 4), seed=0)
    real = model.discriminator.predict(x, verbose=0).astype("float64")
    fake = model.discriminator.predict(model.predict(z, verbose=0), verbose=0).astype("float64")
    assert_near("generator", float(inventing), np.log1p(np.exp(-fake)).mean(), 1e-5)
    expected = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()
    assert_near("discriminator", float(judging), expected, 1e-5)


# Data


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
    from scripts.data.videos import load_videos

    fewer = load_videos("moving_digits", batch_size=4, seed=0, **options)
    assert fewer.shape == (3, 8, 8, 1)
    assert next(fewer.test.as_numpy_iterator())[0].shape == (4, 3, 8, 8, 1)


@pytest.mark.parametrize("recipe", ["canvas-unet", "canvas-detector", "motion-convnet3d"])
def test_wrong_kind_of_data_is_one_line(recipe, data_dir):
    from scripts.data.boxes import load_boxes
    from scripts.data.masks import load_masks
    from scripts.data.videos import load_videos
    from scripts.training.command_line import InputError

    options = {"batch_size": 4, "seed": 0, "data_dir": data_dir}
    wrong = {
        "canvas-unet": lambda: load_masks("moving_digits", ("a",), **options),
        "canvas-detector": lambda: load_boxes("moving_digits", 4, **options),
        "motion-convnet3d": lambda: load_videos("digits_canvas", **options),
    }
    with pytest.raises(InputError, match="data set (moving_digits|digits_canvas)"):
        wrong[recipe]()


# Baselines


# Recipes

PICTURES = {  # what runs alike is run once
    "canvas-unet": "masks.png",
    "canvas-detector": "boxes.png",
    "motion-convnet3d": "confusion.png",
    "digits-vae": "samples.png",
    "digits-gan": "samples/epoch_001.png",
}


@pytest.mark.parametrize("recipe", PICTURES)
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


def test_layers_are_those_of_the_library():
    for name, (make, _) in MODELS.items():
        for layer in make()._flatten_layers(include_self=False):
            if layer.weights and not isinstance(layer, keras.Model):
                assert type(layer).__module__.startswith("custom_layers."), (name, layer)
    assert custom_layers.Conv2DTranspose
