"""Weights, state, seeds and training of sound layers."""

import keras
import numpy as np
import pytest

from custom_layers.checks import check_layer

L = keras.layers
X = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
PROMISES = ["weights_in_build", "inference_keeps_state", "determinism", "training_step"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.Dense(2),
        lambda: L.Dropout(0.5),
        lambda: L.Dropout(0.5, seed=1),
        L.BatchNormalization,
        lambda: L.GaussianNoise(0.1),
        lambda: keras.Sequential([L.Dense(2), L.Dropout(0.5)]),
    ],
)
def test_sound_layers_hold_them(make):
    report = check_layer(make, X, promises=PROMISES)
    assert not report.broken, str(report)


def test_a_stateful_layer_may_keep_its_states():
    x = X[:, None]
    report = check_layer(lambda: L.LSTM(2, stateful=True), x, promises=PROMISES)
    assert not report.broken, str(report)
    assert report["inference_keeps_state"].verdict == "does not apply"
