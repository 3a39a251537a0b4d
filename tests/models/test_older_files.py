"""Files written by earlier versions load and answer as they did then.

`files/before_the_folders.keras` was saved on 2026-11-25, when every layer still stood in
a file directly in `custom_layers/`; the `.npz` holds inputs and what that version answered.
"""

import pathlib

import keras
import numpy as np

import custom_layers  # noqa: F401

FILES = pathlib.Path(__file__).parent / "files"


def test_a_model_from_before_the_folders():
    model = keras.models.load_model(FILES / "before_the_folders.keras")
    ours = {type(layer).__name__ for layer in model.layers if hasattr(layer, "NOT_HERE")}
    assert len(ours) == 27, sorted(ours)
    arrays = dict(np.load(FILES / "before_the_folders.npz"))
    expected = arrays.pop("output")
    np.testing.assert_allclose(model.predict(arrays, verbose=0), expected, rtol=1e-5, atol=1e-5)
