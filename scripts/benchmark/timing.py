"""What is compared, how two sides are timed in turn, and what a layer keeps for its backward."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing to measure: a layer, a model or many lengths, at one size.

    name, size: as the table has them.
    timers: `(data, layers, mode) -> {pass: timer}`, with the layers of a namespace such as
        `keras.layers`. A timer returns the seconds that one call of the pass takes.
    data: `() -> {name: array}`, the inputs of both sides.
    small: whether `--sizes small` includes it.
    floor: makes a function whose time no step can fall below: the bare matrix products, or one pass
        over the bytes that a step must read and write.
    kept: `(data, layers) -> bytes` kept between forward and backward.
    least: seconds that a timed call should last. If above 0, the timers take a number of steps, and
        return the seconds of one.
    pairs, warm_up: how often both sides are timed, and called before.
    """

    name: str
    size: str
    timers: Callable
    data: Callable = dict
    small: bool = True
    floor: Callable | None = None
    kept: Callable | None = None
    least: float = 0.0
    pairs: int = 31
    warm_up: int = 3

    def times(self, ours, other, pairs=None):
        """Seconds of two timers called in turn: [(ours, other), ...]."""
        if self.least:
            steps = steps_that_last(self.least, (ours, other))
            ours, other = (functools.partial(timer, steps) for timer in (ours, other))
        return compare(ours, other, pairs or self.pairs, self.warm_up)


def steps_that_last(least, timers, most=50):
    """How many steps the slower side makes in `least` seconds; `most` is the upper limit."""
    for timer in timers:
        timer(2)
    return min(math.ceil(least / max(timer(2) for timer in timers)), most)


def compare(ours, other, pairs, warm_up=3):
    """Seconds of two timers called in turn: [(ours, other), ...]. The first calls warm up."""
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


def passes(layer, x, mode):
    """The forward and the training step of a layer, as functions without arguments.

    x: a tensor or a list of tensors. The step returns the gradients of the floating ones and of the
    weights.
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

    functions = {"forward": forward, "step": step}
    if mode == "eager":
        return functions
    return {name: tf.function(f, jit_compile=mode == "xla") for name, f in functions.items()}


def timers(functions):
    """{pass: timer} of {pass: function without arguments}."""
    return {name: functools.partial(seconds, function) for name, function in functions.items()}


def seconds(function):
    """How long a call takes until its result can be read."""
    start = time.perf_counter()
    leaf = tf.nest.flatten(function())[-1]
    leaf = leaf.values if hasattr(leaf, "values") else leaf
    if tf.is_tensor(leaf):
        tf.reshape(leaf, (-1,))[:1].numpy()  # a device may still be at work
    return time.perf_counter() - start


def alone(function, calls=10, warm_up=3):
    """The median of the seconds of a function that has no rival."""
    return median([seconds(function) for _ in range(warm_up + calls)][warm_up:])


def median(values):
    return quantile(values, 0.5)


def quantile(values, q):
    return float(np.quantile(values, q))


def kept_bytes(layer, x):
    """Bytes that the forward hands to the backward in graph mode, and those of the output.

    The input and the weights are not counted, and no buffer is counted twice. TensorFlow has no
    public way to ask; `forward_backward` is where a `tf.function` splits itself for a tape.
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
