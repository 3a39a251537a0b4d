"""Every model, from `.keras` and from the SavedModel, answers the same in a process of its own."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from custom_layers.checks import assert_near
from models.convnet import convnet
from models.mlp import mlp
from tests.models import test_graph_models, test_image_models, test_sequence_models

ROOT = pathlib.Path(__file__).parents[2]
ELSEWHERE = {name.split()[0] for name in [*test_image_models.MODELS, *test_sequence_models.MODELS]}
RNG = np.random.default_rng(0)
IMAGES, ROWS = (RNG.random(shape, "float32") for shape in ((3, 8, 8, 1), (3, 4)))
MOMENTS = np.arange(4.0), np.arange(1.0, 5.0)
MODELS = {
    "convnet": (lambda: convnet((8, 8, 1), 5, filters=(4, 8)), lambda: IMAGES),
    "mlp": (lambda: mlp((8, 8, 1), 5, units=(6,)), lambda: IMAGES),
    "mlp of a table": (lambda: mlp((4,), 5, units=(6,), moments=MOMENTS), lambda: ROWS),
    **{
        name
        if name.split()[0] in ("graph_classifier", "recommender")
        else f"node_classifier {name}": (
            build,
            lambda batch=batch: batch()[0],
        )
        for name, (build, batch) in test_graph_models.MODELS.items()
    },
}
READING = """
import pathlib, sys
import numpy as np

def read(folder):
    x = dict(np.load(folder / "x.npz"))
    if "x" in x:
        return x["x"]
    return [x[str(i)] for i in range(len(x))] if "0" in x else x
"""
LOADING = """
import keras
import custom_layers
for folder in map(pathlib.Path, sys.argv[1:]):
    model = keras.models.load_model(folder / "model.keras")
    np.save(folder / "loaded.npy", model.predict_on_batch(read(folder)))
"""
SERVING = """
import tensorflow as tf
for folder in map(pathlib.Path, sys.argv[1:]):
    loaded = tf.saved_model.load(folder / "saved_model")
    np.save(folder / "served.npy", loaded.serve(read(folder)))
assert "custom_layers" not in sys.modules
"""


def named(x):
    """What a model is called with, as arrays that have names."""
    if isinstance(x, dict):
        return {name: np.asarray(part) for name, part in x.items()}
    if isinstance(x, list):
        return {str(i): part for i, part in enumerate(x)}
    return {"x": x}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("saved")
    for name, (build, batch) in MODELS.items():
        folder, model, x = root / name, build(), batch()
        folder.mkdir()
        np.savez(folder / "x.npz", **named(x))
        np.save(folder / "expected.npy", model.predict_on_batch(x))
        model.save(folder / "model.keras")
        model.export(folder / "saved_model", verbose=False)
    for code in (LOADING, SERVING):
        program = [sys.executable, "-c", READING + code, *(str(root / name) for name in MODELS)]
        done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
    return root


@pytest.mark.parametrize("name", MODELS)
def test_saved_models_answer_in_another_process(saved, name):
    expected = np.load(saved / name / "expected.npy")
    assert expected.std() > 0
    for file in ("loaded.npy", "served.npy"):
        assert_near(file, np.load(saved / name / file), expected, 1e-5)


def test_no_model_is_left_out():
    files = {path.stem for path in (ROOT / "models").glob("*.py")} - {"__init__", "penalty"}
    assert files <= ELSEWHERE | {name.split()[0] for name in MODELS}
