"""Graph layers, differentiated in every way that TensorFlow has, all with the same result."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers as cl
from custom_layers.checks import assert_near
from tests.six_nodes import LAYERS, NODES, PADDED_EDGES, randomized, with_values

IDS = np.array([1, 0, -1, 1, 0, 1])
ROWS = {name: (make, None) for name, make in LAYERS.items()}
for pooling in ("Sum", "Average", "Max", "Attention"):
    name = f"Graph{pooling}Pooling"
    ROWS[name] = getattr(cl, name), [NODES, IDS]


def function_of_nodes(name):
    """(y of x, x, what backward says of Σ sin y) in float64."""
    make, inputs = ROWS[name]
    if inputs is None:
        inputs, layer = with_values(name, NODES, PADDED_EDGES), make(dtype="float64")
    else:
        layer = make(3, dtype="float64")
    inputs = [tf.constant(x) for x in inputs]
    randomized(layer, inputs)

    def function(x):
        return layer([x, *inputs[1:]])

    return function, inputs[0]


def gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.sin(function(x)))
    return tape.gradient(loss, x)


def jacobian(pfor):
    def way(function, x):
        with tf.GradientTape(persistent=not pfor) as tape:
            tape.watch(x)
            y = function(x)
        matrix = tape.jacobian(y, x, experimental_use_pfor=pfor)
        return tf.tensordot(tf.cos(y), matrix, 2)

    return way


def forward_mode(function, x, v):
    """<v, dx>."""
    with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
        loss = tf.reduce_sum(tf.sin(function(x)))
    return accumulator.jvp(loss)


def in_while_loop(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.while_loop(
            lambda i, total: i < 1,
            lambda i, total: (i + 1, total + tf.reduce_sum(tf.sin(function(x)))),
            (0, tf.zeros((), x.dtype)),
        )[1]
    return tape.gradient(total, x)


def in_map_fn(function, x):
    return gradient(lambda x: tf.map_fn(function, x[tf.newaxis])[0], x)


def vectorized(function, x):
    return tf.vectorized_map(lambda x: gradient(function, x), tf.stack([x, 2 * x]))[0]


def recomputed(function, x):
    return gradient(tf.recompute_grad(function), x)


def summed(function, x):
    """The gradient as the derivative of a second: d/ds of L(x + s v) by tapes in tapes."""
    with tf.GradientTape() as outer:
        v = tf.zeros_like(x)
        outer.watch(v)
        with tf.GradientTape() as inner:
            s = tf.ones((), x.dtype)
            inner.watch(s)
            loss = tf.reduce_sum(tf.sin(function(x + s * v)))
        slope = inner.gradient(loss, s)  # <v, dx>
    return outer.gradient(slope, v)


def unknown_shapes(compiled):
    def way(function, x):
        spec = [tf.TensorSpec((None, 4), x.dtype)]
        step = tf.function(
            lambda x: gradient(function, x), input_signature=spec, jit_compile=compiled
        )
        return step(x)

    return way


WAYS = {
    "persistent tape in a graph": lambda f, x: tf.function(lambda x: gradient(f, x))(x),
    "jacobian": jacobian(True),
    "jacobian without pfor": jacobian(False),
    "while_loop": tf.function(in_while_loop),
    "map_fn": in_map_fn,
    "vectorized_map": vectorized,
    "recompute_grad": recomputed,
    "second derivative in a graph": lambda f, x: tf.function(lambda x: summed(f, x))(x),
    "unknown shapes": unknown_shapes(False),
    "XLA": unknown_shapes(True),
    "tf.gradients": tf.function(lambda f, x: tf.gradients(tf.reduce_sum(tf.sin(f(x))), x)[0]),
}

FORWARD_WAYS = {
    "forward mode": forward_mode,
    "forward mode in a graph": tf.function(forward_mode),
}


SHORT = {"GraphConv", "GATConv", "SAGEConv max", "EdgeConv", "GraphAttentionPooling"}


@pytest.mark.parametrize(
    "name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in ROWS]
)
def test_every_way_gives_the_gradient(name):
    function, x = function_of_nodes(name)
    expected = gradient(function, x)
    assert np.abs(expected).max() > 0
    for way, differentiate in WAYS.items():
        assert_near(way, differentiate(function, x), expected, 1e-9)
    v = tf.random.stateless_normal(x.shape, (1, 2), dtype=x.dtype)
    for way, differentiate in FORWARD_WAYS.items():
        assert_near(way, differentiate(function, x, v), tf.reduce_sum(v * expected), 1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_check_numerics_of_a_fit(name):
    """No NaN and no infinity is there on the way, not even one that is thrown away."""
    inputs = with_values(name, NODES.astype("float32"), PADDED_EDGES.astype("int32"))
    inputs = [x.astype("float32") if x.dtype == "float64" else x for x in inputs]
    shapes = [keras.Input(batch_shape=(None, *x.shape[1:]), dtype=x.dtype.name) for x in inputs]
    tf.debugging.enable_check_numerics()
    try:
        y = LAYERS[name]()(shapes)
        model = keras.Model(shapes, cl.Dense(2)(y))
        model.compile("sgd", "mse")
        data = tf.data.Dataset.from_tensors((tuple(inputs), np.ones((6, 2), "float32")))
        model.fit(data, shuffle=False, verbose=0)
    finally:
        tf.debugging.disable_check_numerics()


@pytest.mark.parametrize("name", [name for name in ROWS if name not in LAYERS])
def test_check_numerics_of_a_pool(name):
    function, x = function_of_nodes(name)
    tf.debugging.enable_check_numerics()
    try:
        assert np.isfinite(tf.function(lambda x: gradient(function, x))(x)).all()
    finally:
        tf.debugging.disable_check_numerics()
