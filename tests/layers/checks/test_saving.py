"""Configs, files, copies and exports of sound layers; which classes another process can import."""

import keras
import numpy as np
import pytest

from custom_layers.checks import check_layer
from custom_layers.checks.saving import importable_classes
from tests.layers.checks.mutants import Affine, X

PROMISES = ["config", "copies", "weights_file", "keras_file", "saved_model", "replicas"]


@pytest.mark.parametrize(
    "make", [lambda: Affine(2, scale=3.0), lambda: keras.layers.Dense(2, kernel_regularizer="l2")]
)
def test_sound_layers_hold_them(make):
    report = check_layer(make, X, promises=PROMISES)
    assert {finding.verdict for finding in report.findings} == {"held"}, str(report)


def test_a_class_inside_of_a_function_is_loaded_here_alone():
    class Inside(Affine):
        pass

    report = check_layer(Inside, X, promises=["keras_file", "replicas", "saved_model"])
    assert "this process only" in report["keras_file"].note
    assert report["replicas"].verdict == "does not apply"
    assert report["saved_model"].verdict == "held"


def test_classes_to_import():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Affine(2)(keras.layers.Dense(3)(inputs)))
    assert importable_classes(model) == ([("tests.layers.checks.mutants", "Affine")], "")


def test_an_argument_of_a_given_layer_that_its_config_lost():
    class Lost(Affine):
        def get_config(self):
            return {**super().get_config(), "scale": 1.0}

    found = check_layer(Lost(2, scale=2.0), np.abs(X), promises=["config"])["config"]
    assert found.cause == "an argument is missing from get_config"
