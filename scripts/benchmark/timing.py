"""Timing two things in turn, and the bytes that a layer keeps between forward and backward."""

import time

import numpy as np
import tensorflow as tf


def functions(layer, x, mode):
    """The forward and the training step of a layer, as functions of nothing.

    x: a tensor, or a list of them. The step has the gradients of those that are floats too.
    """
    layer(x)
    weights = [w.value for w in layer.trainable_variables]
    points = [t for t in tf.nest.flatten(x) if t.dtype.is_floating]

    def forward():
        return layer(x, training=False)

    def step():
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = layer(x, training=True)
        return tape.gradient(y, points + weights)

    if mode == "eager":
        return forward, step
    return tuple(tf.function(f, jit_compile=mode == "xla") for f in (forward, step))


def seconds(function):
    """How long a call takes until its result can be read."""
    start = time.perf_counter()
    leaf = tf.nest.flatten(function())[-1]
    leaf = leaf.values if hasattr(leaf, "values") else leaf
    if tf.is_tensor(leaf):
        tf.reshape(leaf, (-1,))[:1].numpy()  # a device may still be at work
    return time.perf_counter() - start


def compare(ours, other, pairs, warm_up=3):
    """Times of two timers, called in turn: [(ours, other), ...]. The first calls warm up."""
    for _ in range(warm_up):
        ours(), other()
    times = []
    for i in range(pairs):  # who goes first alternates too
        if i % 2:
            a = ours()
            b = other()
        else:
            b = other()
            a = ours()
        times.append((a, b))
    return times


def median(values):
    return quantile(values, 0.5)


def quantile(values, q):
    return float(np.quantile(values, q))


def kept_bytes(layer, x):
    """Bytes that the forward hands to the backward in graph mode, and the output.

    The input and the weights are not counted, nor is a buffer twice. TensorFlow has no public way
    to ask this; `forward_backward` is where a `tf.function` splits itself for a tape.
    """
    function = tf.function(lambda x: layer(x, training=True)).get_concrete_function(x)
    forward, _ = function._delayed_rewrite_functions.forward_backward()
    outside = [x] + [tf.convert_to_tensor(w.value) for w in layer.variables]
    seen = {_address(t) for t in outside}
    total = 0
    for tensor in tf.nest.flatten(forward.call_flat(x, *function.captured_inputs)):
        if tensor.dtype == tf.variant:  # a list of tensors, one for each time step
            total += len(tf.io.serialize_tensor(tensor).numpy())
        elif tensor.dtype != tf.resource and _address(tensor) not in seen:
            seen.add(_address(tensor))
            total += tensor.dtype.size * int(tf.size(tensor))
    return total


def _address(tensor):
    if tensor.dtype in (tf.resource, tf.variant, tf.string):
        return id(tensor)
    return np.from_dlpack(tensor).__array_interface__["data"][0]
