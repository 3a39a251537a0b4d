"""What belongs to a model: the columns of a table, the names of classes."""

import keras
import numpy as np

from models.mlp import mlp
from models.whole import Classes, Columns, of_images, of_rows, with_names

COLUMNS = [
    {"name": "length", "mean": 2.0, "variance": 4.0},
    {"name": "color", "categories": ["blue", "red", "white"]},
]
ROWS = np.array([[4, 0], [np.nan, 2], [0, np.nan], [2, 7]], "float32")


def test_columns_are_scaled_filled_and_spread():
    layer = Columns(COLUMNS)
    expected = [[1, 1, 0, 0], [0, 0, 0, 1], [-1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(layer(ROWS), expected, atol=1e-6)
    assert layer.compute_output_shape((None, 2)) == (None, layer.width) == (None, 4)
    constant = Columns([{"name": "same", "mean": 3.0, "variance": 0.0}])
    np.testing.assert_allclose(constant(np.full((2, 1), 3.0, "float32")), np.zeros((2, 1)))


def test_a_saved_model_has_what_belongs_to_it(tmp_path):
    model = of_rows(mlp((4,), 2, units=(3,)), COLUMNS, ("no", "yes"))
    expected = model.predict(ROWS, verbose=0)
    assert np.isfinite(expected).all()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(ROWS, verbose=0), expected, atol=1e-6)
    assert again.get_layer("features").columns == COLUMNS
    assert again.get_layer("classes").names == ["no", "yes"]


def test_images_in_bytes():
    inner = mlp((4, 4, 1), 2, units=(3,))
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1)).astype("float32")
    whole = of_images(inner, ("a", "b"))
    np.testing.assert_allclose(
        whole.predict(images, verbose=0), inner.predict(images / 255, verbose=0), atol=1e-6
    )


def test_names_change_nothing():
    inner = mlp((4,), 2, units=(3,))
    x = np.ones((2, 4), "float32")
    named = with_names(inner, ("a", "b"))
    np.testing.assert_allclose(named.predict(x, verbose=0), inner.predict(x, verbose=0), atol=1e-6)
    assert Classes(["a", "b"]).compute_output_shape((None, 2)) == (None, 2)
