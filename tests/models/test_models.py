"""Models: with custom_layers they train as with keras.layers, and mean what their arguments say."""

import keras
import numpy as np
import pytest

import custom_layers
from custom_layers.checks import assert_near
from models.convnet import convnet
from models.mlp import mlp
from models.penalty import penalty

MODELS = {"convnet": convnet, "mlp": mlp}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def make(request):
    return request.param


def batches(count, shape=(8, 8, 1), size=16):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.random((size, *shape), "float32"), rng.integers(0, 5, size)


def test_losses_are_those_of_keras(make):
    """From the same weights on the same batches, step by step.

    By SGD: Adam divides by the gradient's size, so an entry of size 1e-8 moves by its rounding.
    """
    ours = make((8, 8, 1), 5, dropout=0.0, l1=1e-4)
    reference = make((8, 8, 1), 5, dropout=0.0, l1=1e-4, layers=keras.layers)
    for mine, theirs in zip(ours.layers[1:], reference.layers[1:], strict=True):
        assert type(mine).__module__.startswith("custom_layers.")
        assert type(theirs).__module__.startswith("keras.")
        assert mine.name == theirs.name
        for weight, twin in zip(mine.weights, theirs.weights, strict=True):
            assert (weight.name, weight.shape) == (twin.name, twin.shape)
    reference.set_weights(ours.get_weights())
    for x, labels in batches(6):
        losses = []
        for model in (ours, reference):
            if not model.compiled:
                optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
                model.compile(optimizer, "sparse_categorical_crossentropy")
            model.reset_metrics()
            losses.append(model.train_on_batch(x, labels))
        assert_near("loss", losses[0], losses[1], 1e-5)
    for mine, theirs in zip(ours.get_weights(), reference.get_weights(), strict=True):
        assert_near("weight", mine, theirs, 1e-5)


@pytest.mark.parametrize("layers", [custom_layers, keras.layers], ids=lambda m: m.__name__)
def test_penalty_is_part_of_the_loss(make, layers):
    model = make((8, 8, 1), 5, dropout=0.0, l1=1e-3, l2=1e-2, layers=layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    kernels = [w.numpy() for w in model.trainable_weights if w.name == "kernel"]
    assert len(kernels) == sum(hasattr(layer, "kernel") for layer in model.layers) >= 3
    added = sum(1e-3 * np.abs(w).sum() + 1e-2 * np.square(w).sum() for w in kernels)
    for x, labels in batches(1):
        entropy = -np.log(model.predict(x, verbose=0)[np.arange(len(x)), labels]).mean()
        assert_near("loss", model.evaluate(x, labels, verbose=0), entropy + added, 1e-5)


def test_without_factors_there_is_no_penalty(make):
    assert penalty(0, 0, custom_layers) is None
    assert make((8, 8, 1), 5, l1=0, l2=0).losses == []


def test_dropout_is_for_training_only(make):
    model = make((8, 8, 1), 5, dropout=0.5)
    for x, _ in batches(1):
        np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))
        assert np.abs(model(x, training=True) - model(x, training=True)).max() > 1e-3
    rates = {layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"}
    assert rates == {0.5}


@pytest.mark.parametrize("shape", [(8, 8, 1), (17, 5, 3)], ids=str)
def test_outputs_are_probabilities(make, shape):
    for x, _ in batches(1, shape, 3):
        y = make(shape, 7).predict(x, verbose=0)
        assert y.shape == (3, 7)
        assert (y >= 0).all()
        assert_near("sum", y.sum(-1), np.ones(3), 1e-5)


def test_blocks_are_what_the_arguments_say():
    model = convnet((32, 32, 3), 10, filters=(4, 8, 16), units=5)
    shapes = [model.get_layer(f"dropout_{i}").output.shape for i in (1, 2, 3)]
    assert shapes == [(None, 16, 16, 4), (None, 8, 8, 8), (None, 4, 4, 16)]
    kinds = [type(layer).__name__ for layer in model.layers[1:6]]
    assert kinds == ["Conv2D", "ReLU", "MaxPooling2D", "BatchNormalization", "Dropout"]
    assert model.get_layer("hidden").units == 5
    widths = [layer.units for layer in mlp((6,), 3, units=(5, 4)).layers if hasattr(layer, "units")]
    assert widths == [5, 4, 3]
