"""What every layer promises: the rows of `every_layer.py`, the promises of the checks."""

import functools

import keras
import pytest

import custom_layers
from custom_layers.checks import ALL
from custom_layers.checks.proof import prove
from custom_layers.checks.shapes import free_axes
from custom_layers.checks.subject import Subject
from tests.promises.every_layer import ROWS

# Rows whose promise means something else, and why.
EXCEPT = {
    **{
        (f"Graph{kind}Pooling", promise): "nodes of several graphs are no batch"
        for kind in ("Sum", "Average", "Max", "Attention")
        for promise in ("batch_of_one", "replicas")
    },
}


@functools.lru_cache(maxsize=1)
def subject(name):
    """A row under proof; its promises come one after the other."""
    twin = getattr(keras.layers, name.partition(" ")[0], None)
    own = ROWS[name].make
    twin = twin if twin and type(own()).__module__.startswith("custom_layers") else None
    return Subject(own, ROWS[name].inputs, {}, twin)


@pytest.mark.parametrize("promise", ALL, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("name", ROWS)
def test_promise(name, promise):
    if (name, promise.__name__) in EXCEPT:
        pytest.skip(EXCEPT[name, promise.__name__])
    finding = prove(promise, subject(name))
    if finding.verdict == "does not apply":
        pytest.skip(finding.note)
    assert finding.verdict == "held", "\n".join(finding.details())


@pytest.mark.parametrize("name", ROWS)
def test_sizes_that_may_be_unknown(name):
    assert free_axes(subject(name)) >= set(ROWS[name].free_axes)


def test_no_layer_is_forgotten():
    layers = {
        value.__name__
        for value in vars(custom_layers).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    assert layers == {name.partition(" ")[0] for name in ROWS}
