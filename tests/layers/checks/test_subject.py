"""Subject: what is known of a layer, and how it is made anew."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks.report import DoesNotApply
from custom_layers.checks.subject import Subject, dtype_policy

X = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
L = keras.layers


def notes(make, x=X, **call):
    return " ".join(Subject(make, x, call).notes())


def test_a_random_layer_is_told_so():
    assert "random" in notes(lambda: L.Dropout(0.5))
    assert "random" not in notes(lambda: L.Dense(2))
    assert "random" not in notes(lambda: L.Dropout(0.5), training=False)


def test_state_is_told():
    assert "moving_mean" in notes(L.BatchNormalization)


def test_float32_inside_of_float64_is_told():
    class Inside(L.Layer):
        def call(self, x):
            return tf.cast(tf.tanh(tf.cast(x, "float32")), x.dtype)

    assert "computes in float32 inside of float64" in notes(Inside)
    assert "float32" not in notes(lambda: L.Dense(2, activation="tanh"))


def test_randomness_outside_of_keras_is_held_still():
    class Noise(L.Layer):
        def call(self, x, training=False):
            return x + tf.random.normal((3,), dtype=x.dtype) if training else x

    subject = Subject(Noise, X, {})
    assert subject.random
    assert not subject.still
    function = subject.exact[(("training", True),)]
    assert function.value(function.points) == function.value(function.points)


def test_randomness_that_cannot_be_held_still():
    class Noise(L.Layer):
        def call(self, x):
            return x + np.random.default_rng().standard_normal()

    with pytest.raises(DoesNotApply, match="cannot be fixed"):
        _ = Subject(Noise, X, {}).exact


def test_modes():
    both = ((("training", False),), (("training", True),))
    assert Subject(lambda: L.Dropout(0.5), X, {}).modes == both
    assert Subject(lambda: L.Dense(2), X, {}).modes == both[:1]
    assert Subject(lambda: L.Dropout(0.5), X, {"training": True}).modes == ((),)


def test_layers_have_the_weights_of_the_subject_in_each_policy():
    subject = Subject(lambda: L.Dense(2), X, {})
    for policy in ("float64", "float32", "mixed_float16", "bfloat16"):
        layer = subject.layer(policy)
        assert layer.dtype_policy.name == policy
        for weight, value in zip(layer.weights, subject.weights, strict=True):
            np.testing.assert_allclose(tf.cast(weight.value, "float64"), value, rtol=1e-2)
            assert np.abs(value).min() > 0  # a bias of zeros would hide mistakes


def test_a_given_layer_follows_the_policy_and_keeps_its_weights():
    layer = L.Normalization(dtype="float32")
    layer.adapt(X)
    subject = Subject(layer, X, {})
    assert subject.layer("float64").dtype_policy.name == "float64"
    np.testing.assert_allclose(subject.layer().mean, layer.mean)


def test_a_given_layer_whose_config_is_taken_apart():
    """Keras's RNN.from_config takes the cell out of the config that it gets."""
    given = L.RNN(L.SimpleRNNCell(2, recurrent_initializer="zeros"))
    assert len(Subject(given, X[:, None], {}).weights) == 3


def test_the_policy_in_force_comes_back():
    before = keras.config.dtype_policy()
    with dtype_policy("float64"):
        assert keras.config.dtype_policy().name == "float64"
    assert keras.config.dtype_policy() == before


def test_structures_of_inputs():
    subject = Subject(lambda: L.MultiHeadAttention(2, 3), X[None], {"value": X[None]})
    assert [x.shape for x in subject.arrays] == [(1, 4, 3)] * 2
    assert subject.batch == 1
    assert len(subject.exact[subject.modes[0]].where) == 2


def test_the_noise_of_a_format_is_measured():
    subject = Subject(lambda: L.Dense(2), X, {})
    _, exact, coarse = subject.rounding("bfloat16", subject.modes[0], subject.function().points)
    _, _, fine = subject.rounding("float32", subject.modes[0], subject.function().points)
    for y, a, b in zip(exact, coarse, fine, strict=True):
        assert 1e-3 < a / np.abs(y).max() < 0.2
        assert b < a / 1e3
