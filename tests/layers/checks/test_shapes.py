"""Shapes, unknown sizes, and batches of 0 and 1."""

import keras
import numpy as np

from custom_layers.checks import check_layer

L = keras.layers
X = np.random.default_rng(0).standard_normal((4, 5, 3)).astype("float32")
PROMISES = ["shapes", "unknown_sizes", "batch_of_one", "empty_batch"]


def test_axes_that_may_be_unknown_are_told():
    for make, axes in ((lambda: L.Dense(2), "[0, 1]"), (L.ReLU, "[0, 1, 2]"), (L.Flatten, "[0")):
        found = check_layer(make, X, promises=["unknown_sizes"])["unknown_sizes"]
        assert found.verdict == "held"
        assert axes in found.note


def test_nested_structures():
    class Nested(L.Layer):
        def call(self, x):
            return {"sum": x["a"] + x["b"][0], "parts": [x["a"], x["b"][0]]}

    report = check_layer(Nested, {"a": X, "b": [2 * X]}, promises=PROMISES)
    assert not report.broken, str(report)


def test_a_layer_without_batch_axis():
    class Total(L.Layer):
        def call(self, x):
            return keras.ops.sum(x)

    report = check_layer(Total, X, promises=["batch_of_one", "empty_batch"])
    assert report["batch_of_one"].verdict == "does not apply"
    assert report["empty_batch"].verdict == "held"


def test_stateful_layers_have_a_fixed_batch():
    report = check_layer(lambda: L.GRU(2, stateful=True), X, promises=PROMISES)
    verdicts = [finding.verdict for finding in report.findings]
    assert verdicts == ["held", *["does not apply"] * 3]
