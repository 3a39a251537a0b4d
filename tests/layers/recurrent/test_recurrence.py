"""recurrence: the loop over time, activations from what is kept, products with dropout masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.recurrent.recurrence import (
    SLOPES,
    apart,
    before,
    blocks,
    hold,
    keep,
    keep_blocks,
    product,
    product_dkernel,
    product_dx,
    project,
    pull_back,
    pull_back_blocks,
    scan,
    value,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_scan_is_a_running_sum(mode, reverse, in_place):
    x = tf.constant(RNG.standard_normal((5, 2, 3)))

    def run(x):
        def step(states, x, nothing):
            assert nothing is None
            return (states[0] + x,), (states[0] + x, 2 * x)

        return scan(step, (tf.zeros_like(x[0]),), (x, None), (3, 3), reverse, in_place)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    (last,), (sums, doubles) = run(x)
    assert_near("sums", sums, tf.cumsum(x, 0, reverse=reverse))
    assert_near("last", last, tf.reduce_sum(x, 0))
    assert_near("doubles", doubles, 2 * x)


def test_scan_of_unknown_length():
    def run(x):
        step = lambda states, x: ((states[0] * x,), (x,))  # noqa: E731
        return scan(step, (tf.ones((2, 1)),), (x,), (1,))[0][0]

    run = tf.function(run, input_signature=[tf.TensorSpec((None, 2, 1))])
    assert_near("product", run(tf.fill((3, 2, 1), 2.0)), np.full((2, 1), 8.0, "float32"))
    assert_near("no step", run(tf.zeros((0, 2, 1))), np.ones((2, 1), "float32"))


def test_states_under_a_mask():
    new, old = tf.ones((2, 3)), tf.zeros((2, 3))
    assert hold(None, new, old) is new
    assert hold(tf.constant([[True], [False]]), new, old).numpy().tolist() == [[1] * 3, [0] * 3]
    assert before(old[0], new).numpy().tolist() == [[0] * 3, [1] * 3]


FUNCTIONS = ["tanh", "sigmoid", "relu", "linear", "softmax", "gelu", "hard_sigmoid", tf.sin]


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: getattr(f, "__name__", str(f)))
def test_activations(function, mode):
    """The derivative is that of TensorFlow, also of a softmax, which mixes its inputs."""
    f = keras.activations.get(function)
    z, dy = (tf.constant(RNG.standard_normal((4, 5))) for _ in range(2))

    def run(z, dy):
        kept = keep(f, z)
        return value(f, kept), pull_back(f, kept, dy)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = f(z)
    for a, b in zip(run(z, dy), (y, tape.gradient(y, z, dy)), strict=True):
        assert_near(str(function), a, b, 1e-9)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize(
    "functions", [("sigmoid", "tanh"), ("tanh", "tanh", "sigmoid"), ("relu", "sigmoid"), ("gelu",)]
)
def test_activations_side_by_side(functions, mode):
    functions = [keras.activations.get(f) for f in functions]
    z, dy = (tf.constant(RNG.standard_normal((4, 3 * len(functions)))) for _ in range(2))

    def run(z, dy):
        kept, values = keep_blocks(functions, z)
        return tf.concat(values, 1), kept, pull_back_blocks(functions, kept, dy)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    parts = zip(functions, *(tf.split(t, len(functions), 1) for t in (z, dy)), strict=True)
    expected = [(f(z), keep(f, z), pull_back(f, keep(f, z), dy)) for f, z, dy in parts]
    for one, others in zip(run(z, dy), zip(*expected, strict=True), strict=True):
        assert_near("one of three", one, tf.concat(others, 1))


def test_known_slopes():
    assert keras.activations.tanh in SLOPES
    assert keep(tf.sin, 3.0) == 3.0


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_blocks_of_the_gates(mode):
    x = tf.constant(RNG.standard_normal((5, 2, 6)))

    def run(x):
        parts = apart(x, 3)
        assert len(parts) == (3 if mode == "xla" else 1)

        def step(states, x):
            a, b, c = blocks(x, 3)
            return states, (tf.concat([c, a, b], 1),)

        return scan(step, (x[0],), (parts,), (6,))[1][0]

    y = tf.function(run, jit_compile=mode == "xla")(x)
    assert_near("blocks", y, tf.roll(x, 2, 2))


@pytest.mark.parametrize("gates", [None, 1, 3])
@pytest.mark.parametrize("shape", [(2, 4), (5, 2, 4), (0, 2, 4)], ids=str)
def test_products(shape, gates):
    x, kernel = tf.constant(RNG.standard_normal(shape)), RNG.standard_normal((4, 6))
    drop = None if gates is None else tf.constant(RNG.standard_normal((gates, 2, 4)))
    kernel = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = product(x, kernel, drop)
    da = tf.constant(RNG.standard_normal(y.shape))
    dx, dkernel = tape.gradient(y, [x, kernel], da)
    assert_near("dx", product_dx(da, tf.transpose(kernel), drop), dx)
    assert_near("dkernel", product_dkernel(da, x, drop), dkernel)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gates", [None, 3])
def test_project(bias, gates):
    shapes = [(5, 2, 4), (4, 6), (6,)]
    drop = None if gates is None else RNG.random((gates, 2, 4))
    inputs = [RNG.standard_normal(shape) for shape in shapes[: 2 + bias]]
    check_backward(lambda t: project(*t, *[None] * (not bias), drop), inputs)
