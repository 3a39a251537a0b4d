"""Masks: which layers they concern, and that sound ones pass."""

import keras
import numpy as np
import pytest

from custom_layers.checks import check_layer

L = keras.layers
X = np.random.default_rng(0).standard_normal((4, 5, 3)).astype("float32")


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.LSTM(2),
        lambda: L.GRU(2, return_sequences=True),
        lambda: L.Dense(2),
        L.GlobalAveragePooling1D,
        L.BatchNormalization,
        lambda: L.TimeDistributed(L.Dense(2)),
    ],
)
def test_sound_layers_hold_it(make):
    assert check_layer(make, X, promises=["masks"])["masks"].verdict == "held"


@pytest.mark.parametrize(
    ("make", "x", "why"),
    [
        (lambda: L.Conv1D(2, 2), X, "does not support masks"),
        (lambda: L.Dense(2), X[:, 0], "no inputs of shape"),
    ],
)
def test_where_it_does_not_apply(make, x, why):
    found = check_layer(make, x, promises=["masks"])["masks"]
    assert found.verdict == "does not apply"
    assert why in found.note


def test_a_mask_of_the_call():
    mask = np.array([[True, True, False, False, True]] * 4)
    assert (
        check_layer(lambda: L.LSTM(2), X, promises=["masks"], mask=mask)["masks"].verdict == "held"
    )
