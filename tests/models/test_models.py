"""Models of images and rows: probabilities of any shape, blocks as the arguments say."""

import keras
import numpy as np
import pytest

from custom_layers.checks import assert_near
from models.convnet import convnet
from models.mlp import mlp


@pytest.mark.parametrize("make", [convnet, mlp])
@pytest.mark.parametrize("shape", [(8, 8, 1), (17, 5, 3)], ids=str)
def test_outputs_are_probabilities(make, shape):
    x = np.random.default_rng(0).random((3, *shape), "float32")
    y = make(shape, 7).predict(x, verbose=0)
    assert y.shape == (3, 7)
    assert (y >= 0).all()
    assert_near("sum", y.sum(-1), np.ones(3), 1e-5)


@pytest.mark.parametrize("make", [convnet, mlp])
def test_layers_have_names_of_their_own(make):
    ours, theirs = make((8, 8, 1), 5), make((8, 8, 1), 5, layers=keras.layers)
    names = [[layer.name for layer in model.layers[1:]] for model in (ours, theirs)]
    assert names[0] == names[1]


def test_blocks_are_what_the_arguments_say():
    model = convnet((32, 32, 3), 10, filters=(4, 8, 16), units=5)
    shapes = [model.get_layer(f"dropout_{i}").output.shape for i in (1, 2, 3)]
    assert shapes == [(None, 16, 16, 4), (None, 8, 8, 8), (None, 4, 4, 16)]
    kinds = [type(layer).__name__ for layer in model.layers[1:6]]
    assert kinds == ["Conv2D", "ReLU", "MaxPooling2D", "BatchNormalization", "Dropout"]
    assert model.get_layer("hidden").units == 5
    widths = [layer.units for layer in mlp((6,), 3, units=(5, 4)).layers if hasattr(layer, "units")]
    assert widths == [5, 4, 3]
