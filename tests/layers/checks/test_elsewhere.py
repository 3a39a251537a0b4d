"""The second process: it answers, tells errors, and is started again after its death."""

import keras
import numpy as np
import pytest

from custom_layers.checks.elsewhere import ask, start, value_and_slopes

X = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")


def test_it_answers_as_this_one_does(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model([inputs], keras.layers.Dense(2, activation="tanh")(inputs))
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "model", verbose=False)
    expected = value_and_slopes(model, [X], [v.value for v in model.trainable_variables])
    for kind, path in (("keras_file", "model.keras"), ("saved_model", "model")):
        got = ask(kind, tmp_path / path, [X])
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    halves = ask("replicas", tmp_path / "model.keras", [X])
    np.testing.assert_allclose(halves[0], expected[0], rtol=1e-5, atol=1e-6)


def test_an_error_there_is_told_here(tmp_path):
    with pytest.raises(RuntimeError, match="nothing"):
        ask("saved_model", tmp_path / "nothing", [X])


def test_it_is_started_again_after_its_death(tmp_path):
    start().kill()
    with pytest.raises(EOFError, match="SIGKILL"):
        ask("saved_model", tmp_path / "nothing", [X])
    with pytest.raises(RuntimeError, match="nothing"):
        ask("saved_model", tmp_path / "nothing", [X])
