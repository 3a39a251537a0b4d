"""Keras's own tests pass with our classes, and would not pass with wrong ones.

The fast part runs modules of a few seconds, together in one process. The whole, module by module
and beside Keras's own classes, is `make keras-suite` (or `-m long` here).
"""

import subprocess
import sys

import keras
import pytest

from custom_layers.convert import twins
from tests.promises.keras_suite import plugin, run
from tests.promises.keras_suite.swap import Swap

FAST = ["flatten", "relu", "leaky_relu", "softmax", "activation", "dropout", "simple_rnn"]
FAST += ["activity_regularization", "spatial_dropout", "layer_normalization", "max_pooling"]


def modules(names):
    return [m for m in run.MODULES if m.rpartition(".")[2].removesuffix("_test") in names]


def failures(report):
    return {
        name: message for name, (outcome, message) in report["tests"].items() if outcome == "failed"
    }


@pytest.fixture(scope="module")
def fast():
    return run.run(modules(FAST), ["custom_layers"])


def test_fast_modules(fast):
    assert not failures(fast)
    assert len(fast["tests"]) > 80


def test_ours_were_built_and_not_those_of_keras(fast):
    for name in ("Flatten", "ReLU", "LeakyReLU", "Softmax", "Activation", "Dropout"):
        ours, theirs = fast["built"][name]
        assert ours > 0, name
        assert theirs == 0, name


def test_keras_classes_are_counted_where_nothing_is_swapped():
    """The count above must not be zero because nothing is ever counted."""
    swap = object.__new__(Swap)
    swap.built = {keras.layers.GaussianNoise: 0}
    swap._count(keras.layers.GaussianNoise)
    keras.layers.GaussianNoise(0.1)
    type("Derived", (keras.layers.GaussianNoise,), {})(0.1)  # does not count
    assert swap.built[keras.layers.GaussianNoise] == 1


@pytest.mark.parametrize(
    ("name", "module", "test"),
    [
        ("Flatten", "flatten", "FlattenTest::test_flatten_dense"),
        ("ReLU", "relu", "ReLUTest::test_threshold_relu_correctness"),
        pytest.param("Dense", "dense", "DenseTest::test_dense_correctness", marks=pytest.mark.long),
        pytest.param("LSTM", "lstm", "LSTMTest::test_correctness", marks=pytest.mark.long),
    ],
)
def test_broken_layers_turn_it_red(name, module, test):
    report = run.run(modules([module]), ["custom_layers", f"keras_suite.broken:{name}"])
    assert any(name.startswith(f"{module}_test::{test}") for name in failures(report))


@pytest.mark.long
@pytest.mark.parametrize("module", run.MODULES)
def test_each_module(module):
    theirs, ours, left_out, failed, built = run.compare(module, ["custom_layers"])
    assert not failed
    assert theirs == ours + left_out
    assert theirs > 0
    assert built


def test_no_twin_is_a_disguised_layer_of_keras():
    for theirs, ours in twins().items():
        assert not issubclass(ours, theirs), ours


def test_the_table_of_tests_left_out():
    table = list(plugin.left_out())
    assert len({pattern for _, pattern, _ in table}) == len(table)
    for name, pattern, reason in table:
        assert hasattr(keras.layers, name) or hasattr(keras.regularizers, name)
        assert pattern.count("::") == 2, pattern
        assert "*" not in pattern.partition("::test_")[0], f"{pattern} leaves out whole classes"
        assert reason


def test_modules_may_be_named_in_part():
    script = [sys.executable, run.__file__, "no_such_test"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no module is called ['no_such_test']" in done.stderr
