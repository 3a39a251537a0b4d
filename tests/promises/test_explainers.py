"""Explainers: what they say of a model does not depend on whose layers it has."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from custom_layers.convert import to_custom, to_keras

layers = keras.layers
X = np.random.default_rng(0).standard_normal((3, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 6, 2))
    y = layers.MaxPooling2D()(layers.Conv2D(4, 3, activation="relu", padding="same")(x))
    y = layers.LayerNormalization()(layers.LSTM(5)(layers.Reshape((9, 4))(y)))
    theirs = keras.Model(x, layers.Dense(2, activation="softmax")(layers.ReLU()(y)))
    return theirs, to_custom(theirs), to_keras(to_custom(theirs))


def saliency(model, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)[:, 0]
    return tape.gradient(y, x)


def integrated_gradients(model, x, baseline=0.0):
    points = [saliency(model, baseline + (i + 0.5) / 8 * (x - baseline)) for i in range(8)]
    return (x - baseline) * tf.add_n(points) / 8


def expected_gradients(model, x):
    """SHAP's GradientExplainer, with a fixed choice of its random numbers."""
    background = X[::-1]
    return integrated_gradients(model, x, background)


@pytest.mark.parametrize("explain", [saliency, integrated_gradients, expected_gradients])
def test_the_same_explanation(models, explain):
    theirs, ours, back = models
    expected = explain(theirs, X)
    assert np.abs(expected).max() > 1e-3
    assert_near("ours", explain(ours, X), expected, 1e-5)
    assert_near("back", explain(back, X), expected, 1e-5)


def test_what_replaces_the_gradient_of_operations_sees_keras_layers(models):
    """A hand-written gradient passes it by, so that `to_keras` comes first."""

    @tf.RegisterGradient("Fivefold")
    def fivefold(op, dy):
        return 5 * dy

    def run(model):
        @tf.function
        def graph(x):
            with tf.compat.v1.get_default_graph().gradient_override_map({"Relu": "Fivefold"}):
                y = tf.reduce_sum(model(x))
            return tf.gradients(y, x)[0]

        return graph(tf.constant([[1.0, -1.0]]))

    theirs = keras.Sequential([keras.Input((2,)), layers.ReLU()])
    assert run(theirs).numpy().tolist() == [[5, 5]]
    assert run(to_custom(theirs)).numpy().tolist() == [[1, 0]]
    assert run(to_keras(to_custom(theirs))).numpy().tolist() == [[5, 5]]
