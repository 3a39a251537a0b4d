"""check_layer as a whole: each mistake is named by its promise, no sound layer is accused."""

import keras
import numpy as np
import pytest

from custom_layers.checks import ALL, CannotCheck, check_layer
from tests.layers.checks.mutants import MUTANTS, X
from tests.layers.checks.sound import SOUND

# What Keras's layers of these names break where TensorFlow's kernels are those of oneDNN.
KERNELS = dict.fromkeys(("maxima of equal entries", "convolution and ReLU"), "empty_batch")
NUMERICAL = ALL[: [f.__name__ for f in ALL].index("config")]


@pytest.mark.parametrize("name", MUTANTS)
def test_mistake_is_named_by_its_promise(name):
    make, inputs, promise, words = MUTANTS[name]
    twin = keras.layers.Dense if promise == "twin" else None
    report = check_layer(make, inputs, twin=twin, promises=[promise])
    assert report[promise].verdict == "broken", str(report)
    assert words in " ".join(report[promise].details())
    with pytest.raises(AssertionError, match=promise):
        report.raise_if_broken()


def test_each_promise_names_a_mistake():
    assert {promise for _, _, promise, _ in MUTANTS.values()} == {f.__name__ for f in ALL}


def test_each_promise_says_what_it_is():
    for promise in ALL:
        assert promise.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("layer", "inputs", "promises", "words"),
    [
        (lambda: keras.layers.Dense(-1), X, ALL, "cannot be made"),
        (lambda: 3, X, ALL, "not a keras.layers.Layer"),
        (3, X, ALL, "expected a layer"),
        (lambda: keras.layers.Conv2D(1, 3), X, ALL, "cannot be called with inputs"),
        (lambda: keras.layers.Dense(2), [[1.0, 2.0]], ALL, "inputs must be arrays"),
        (lambda: keras.layers.Dense(2), X, ["speed"], "there is no promise 'speed'"),
    ],
)
def test_an_error_of_use_is_one_line(layer, inputs, promises, words):
    with pytest.raises(CannotCheck, match=words) as caught:
        check_layer(layer, inputs, promises=promises)
    assert "\n" not in str(caught.value)


def test_one_layer_for_all_calls_is_refused():
    layer = keras.layers.Dense(2)
    with pytest.raises(CannotCheck, match="a new layer"):
        check_layer(lambda: layer, X)


def test_a_layer_in_place_of_a_factory():
    report = check_layer(keras.layers.Dense(2, dtype="float64"), X, promises=["gradient", "config"])
    assert not report.broken


def test_a_large_tensor_costs_a_few_evaluations():
    """10^6 entries: some directions, not an evaluation an entry."""
    x = np.zeros((1, 1000), "float32")
    report = check_layer(lambda: keras.layers.Dense(1000), x, promises=["gradient"])
    assert not report.broken


# One of each kind: kinks, float32 inside, randomness, state, layers inside, several tensors.
SHORT = {"ReLU at zeros", "float32 inside", "maxima of equal entries, written out", "dropout"}
SHORT |= {"noise of TensorFlow", "counter", "layers inside", "nested", "integers", "recurrent"}
SHORT |= {"convolution and ReLU", "quantized", "maxima of equal entries"}


@pytest.mark.parametrize(
    "name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in SOUND]
)
def test_a_sound_layer_is_not_accused(name):
    make, inputs = SOUND[name]
    report = check_layer(make, inputs, promises=[p for p in ALL if p.__name__ != KERNELS.get(name)])
    assert not report.broken, str(report)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_layer_is_not_accused_with_any_seed(name, seed):
    """The promises in which numbers of a seed matter."""
    make, inputs = SOUND[name]
    report = check_layer(make, inputs, seed=seed, promises=NUMERICAL)
    assert not report.broken, str(report)
