"""Eager, graph, XLA and 16 bits."""

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks import check_layer

X = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")


class CallsPython(keras.layers.Layer):
    """XLA has no such operation."""

    def call(self, x):
        zero = tf.numpy_function(np.zeros_like, [x], x.dtype)
        return x + tf.ensure_shape(zero, x.shape)


class KeepsFloat32(keras.layers.Layer):
    """Sums in float32 and returns the dtype of the policy: as it should be."""

    def call(self, x):
        return tf.cast(tf.reduce_sum(tf.cast(x, "float32"), -1), x.dtype)


def test_what_xla_refuses_is_told_and_no_fault():
    found = check_layer(CallsPython, X, promises=["compiled"])["compiled"]
    assert found.verdict == "held"
    assert "XLA refuses" in found.note


def test_float32_inside_of_16_bits_is_no_leak():
    assert not check_layer(KeepsFloat32, X, promises=["precision"]).broken


def test_a_random_layer_is_not_compared_between_graphs():
    report = check_layer(lambda: keras.layers.Dropout(0.5), X, promises=["compiled", "precision"])
    assert not report.broken
