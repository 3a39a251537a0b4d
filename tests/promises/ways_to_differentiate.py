"""Every way in which TensorFlow may ask for a derivative, for every layer: right, or an error.

    python -m tests.promises.ways_to_differentiate [ROW ...]      writes the table

An entry of the table is `right`, or the error that is raised; `wrong`, which is never there, would
be a gradient that is zero or another one than that of a plain tape.
"""

import contextlib
import csv
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks import assert_near
from tests.promises.every_layer import ROWS
from tests.promises.test_extremes import is_random, tensors

TABLE = pathlib.Path(__file__).with_name("ways_to_differentiate.csv")


class Subject:
    """The layer of a row as a function of one point: its first float input."""

    def __init__(self, name):
        self.make = lambda: ROWS[name].make(dtype="float32")
        self.layer = self.make()
        self.inputs = tf.nest.flatten(tensors(ROWS[name].inputs, "float32"))
        self.layer(self.pack(self.inputs))
        floats = [i for i, x in enumerate(self.inputs) if x.dtype.is_floating]
        self.where = floats[0] if floats else None
        # Where no input has a gradient, the point is a factor of the output.
        self.x = tf.constant(2.0) if self.where is None else self.inputs[self.where]
        y = self(self.x)
        self.dy = tf.random.stateless_normal(y.shape, (1, 2))
        self.right = self.slope()

    def pack(self, flat):
        return flat if len(flat) > 1 else flat[0]

    def __call__(self, x, layer=None):
        flat = list(self.inputs)
        if self.where is not None:
            flat[self.where] = x
        layer = layer or self.layer
        y = tf.nest.flatten(layer(self.pack(flat), training=not is_random(layer)))[0]
        return y if self.where is not None else y * x

    def loss(self, x, layer=None):
        return tf.reduce_sum(self(x, layer) * self.dy)

    def slope(self, x=None, loss=None, **tape):
        x = self.x if x is None else x
        with tf.GradientTape(**tape) as watcher:
            watcher.watch(x)
            y = (loss or self.loss)(x)
        return watcher.gradient(y, x)


def nested(s):
    """d/dx <dL/dx, x>, less what it has beside dL/dx: the outer tape sees the inner gradient."""

    def product(x):
        return tf.reduce_sum(s.slope(x) * x)

    return s.slope(loss=lambda x: product(x) + s.loss(x)) - s.slope(loss=product)


def jacobian(s, pfor):
    with tf.GradientTape(persistent=not pfor) as tape:
        tape.watch(s.x)
        y = s(s.x)
    j = tape.jacobian(y, s.x, experimental_use_pfor=pfor)
    return tf.tensordot(s.dy, j, s.dy.shape.rank)


def forward(s):
    v = tf.random.stateless_normal(s.x.shape, (3, 4))
    with tf.autodiff.ForwardAccumulator(s.x, v) as accumulator:
        loss = s.loss(s.x)
    got = accumulator.jvp(loss)
    return s.right * got / tf.reduce_sum(s.right * v)


def remat(s):
    with keras.RematScope("full"):
        layer = s.make()
        layer(s.pack(s.inputs))
        layer.set_weights(s.layer.get_weights())
        return s.slope(loss=lambda x: s.loss(x, layer))


def in_loop(s):
    def loss(x):
        return (
            tf.while_loop(lambda i, _: i < 2, lambda i, t: (i + 1, t + s.loss(x)), (0, 0.0))[1] / 2
        )

    return s.slope(loss=loss)


def mapped(s, over):
    def loss(x):
        return tf.reduce_sum(over(lambda c: c * s.loss(x), tf.constant([0.25, 0.75])))

    return s.slope(loss=loss)


def vectorized(s):
    """The gradient of each of two stacked inputs, at once."""
    return tf.vectorized_map(s.slope, tf.stack([s.x, s.x]))[1]


def unknown(s):
    shape = [None] * s.x.shape.rank
    if shape:
        shape[-1] = s.x.shape[-1]
    return tf.function(s.slope, input_signature=[tf.TensorSpec(shape)], autograph=False)(s.x)


WAYS = {
    "persistent tape": lambda s: s.slope(persistent=True),
    "nested tapes": nested,
    "jacobian, pfor": lambda s: jacobian(s, True),
    "jacobian, no pfor": lambda s: jacobian(s, False),
    "ForwardAccumulator": forward,
    "ForwardAccumulator in a graph": lambda s: tf.function(lambda: forward(s), autograph=False)(),
    "vectorized_map": vectorized,
    "recompute_grad": lambda s: s.slope(loss=tf.recompute_grad(s.loss)),
    "RematScope": remat,
    "in a while_loop": lambda s: tf.function(lambda: in_loop(s), autograph=False)(),
    "in map_fn": lambda s: mapped(s, tf.map_fn),
    "tf.function": lambda s: tf.function(s.slope, autograph=False)(s.x),
    "tf.function, unknown sizes": unknown,
    "tf.gradients": lambda s: tf.function(lambda x: tf.gradients(s.loss(x), x)[0], autograph=False)(
        s.x
    ),
    "XLA": lambda s: tf.function(s.slope, autograph=False, jit_compile=True)(s.x),
}


def outcome(subject, way):
    """`right`, the name of the error raised, or `wrong` and by how much."""
    start = subject.layer.get_weights()
    try:
        found = WAYS[way](subject)
    except Exception as error:
        return type(error).__name__
    finally:
        subject.layer.set_weights(start)
    if found is None:
        return "wrong: None"
    try:
        assert_near("gradient", np.asarray(found), np.asarray(subject.right), 1e-4)
    except AssertionError as error:
        return f"wrong: {error}"
    return "right"


def rows_of(name):
    subject = Subject(name)
    return {way: outcome(subject, way) for way in WAYS}


def read():
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row.pop("layer"): row for row in csv.DictReader(file)}


def main(names):
    table = read() if TABLE.exists() else {}
    for name in names or ROWS:
        table[name] = rows_of(name)
        print(name, {w: o for w, o in table[name].items() if o != "right"}, flush=True)
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["layer", *WAYS], lineterminator="\n")
            writer.writeheader()
            writer.writerows({"layer": n, **table[n]} for n in ROWS if n in table)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1:])
