"""Models of images: sizes, boxes, what autoencoders and GANs minimize."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from models import autoencoder, detector, gan, unet, vae


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
