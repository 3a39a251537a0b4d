"""pickling: a model pickled here is loaded where nobody imported the package."""

import copy
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

import custom_layers as cl

X = np.random.default_rng(0).standard_normal((3, 2)).astype("float32")


def sequential():
    return keras.Sequential([keras.Input((2,)), cl.Dense(3), keras.layers.ReLU()])


def functional():
    """The package hides in a wrapper, and in a regularizer."""
    x = keras.Input((2,))
    y = keras.layers.Reshape((1, 2))(keras.layers.Dense(2, kernel_regularizer=cl.L2(0.1))(x))
    return keras.Model(x, keras.layers.Bidirectional(cl.LSTM(3))(y))


def regularized():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, bias_regularizer=cl.L1())])


def test_a_fresh_process(tmp_path):
    models = [make() for make in (sequential, functional, regularized)]
    (tmp_path / "models.pkl").write_bytes(pickle.dumps([(m, m(X).numpy()) for m in models]))
    code = f"""
import pickle, sys
import numpy as np
pairs = pickle.load(open({str(tmp_path / "models.pkl")!r}, "rb"))
assert "custom_layers" in sys.modules
x = np.random.default_rng(0).standard_normal((3, 2)).astype("float32")
for model, y in pairs:
    np.testing.assert_allclose(model(x), y, rtol=1e-6)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("make", [sequential, functional, regularized])
def test_here(make):
    model = make()
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_allclose(other(X), model(X), rtol=1e-6)
        assert other.layers[0] is not model.layers[0]


def test_models_of_keras_alone_do_not_name_the_package():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    assert b"custom_layers" not in pickle.dumps(model)
