"""recurrence: the loop over time, derivatives of activations, products with dropout masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.recurrent.recurrence import (
    DERIVATIVES,
    activate,
    activate_vjp,
    compiles,
    faster_in_halves,
    halves,
    join_halves,
    previous,
    product,
    product_dkernel,
    product_dx,
    project,
    scan,
    split_before_loop,
    split_in_loop,
    step_of,
    vjp,
    where_mask,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("how", [{}, {"in_place": True}, {"unroll": True}], ids=str)
def test_scan_is_a_running_sum(mode, reverse, how):
    x = tf.constant(RNG.standard_normal((5, 2, 3)))

    def run(x):
        def step(states, x, nothing):
            assert nothing is None
            return (states[0] + x,), (states[0] + x, tf.cast(2 * x, "float32"))

        start, wide = tf.zeros_like(x[0]), tf.TensorSpec((2, 3), "float32")
        return scan(step, (start,), (x, None), (start, wide), reverse, **how)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    (last,), (sums, doubles) = run(x)
    assert_near("sums", sums, tf.cumsum(x, 0, reverse=reverse))
    assert_near("last", last, tf.reduce_sum(x, 0))
    assert_near("doubles", doubles, tf.cast(2 * x, "float32"))


def test_an_unrolled_scan_has_no_loop():
    def run(x):
        step = lambda states, x: ((states[0] + x,), (x,))  # noqa: E731
        return scan(step, (x[0],), (x,), (step_of(x),), unroll=True)

    graph = tf.function(run).get_concrete_function(tf.TensorSpec((4, 2, 1))).graph
    assert not {op.type for op in graph.get_operations()} & {"While", "StatelessWhile"}


def test_scan_of_unknown_length():
    def run(x):
        step = lambda states, x: ((states[0] * x,), (x,))  # noqa: E731
        return scan(step, (tf.ones((2, 1)),), (x,), (step_of(x),))[0][0]

    run = tf.function(run, input_signature=[tf.TensorSpec((None, 2, 1))])
    assert_near("product", run(tf.fill((3, 2, 1), 2.0)), np.full((2, 1), 8.0, "float32"))
    assert_near("no step", run(tf.zeros((0, 2, 1))), np.ones((2, 1), "float32"))


def test_states_under_a_mask():
    new, old, mask = tf.ones((2, 3)), tf.zeros((2, 3)), tf.constant([[True], [False]])
    assert where_mask(None, new, old) is new
    assert where_mask(mask, new, old).numpy().tolist() == [[1] * 3, [0] * 3]
    wide = where_mask(mask, new[..., None, None], old[..., None, None])
    assert wide.numpy().ravel().tolist() == [1] * 3 + [0] * 3
    assert previous(old[0], new).numpy().tolist() == [[0] * 3, [1] * 3]


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("function", DERIVATIVES, ids=lambda f: f.__name__)
def test_derivatives(function, mode):
    """In terms of y they are those of TensorFlow, also of a softmax, which mixes its inputs."""
    z, dy = 2 * RNG.standard_normal((4, 7)), tf.constant(RNG.standard_normal((4, 7)))
    z[:, :2] = -9, 9  # where some are constant
    z = tf.constant(z)
    run = lambda z, dy: vjp(function, function(z), dy)  # noqa: E731
    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = function(z)
    assert_near("dz", run(z, dy), tape.gradient(y, z, dy), 1e-9)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize(
    "functions", [("sigmoid", "tanh"), ("tanh", "tanh", "sigmoid"), ("relu", "sigmoid"), ("elu",)]
)
def test_activations_side_by_side(functions, mode):
    functions = [keras.activations.get(f) for f in functions]
    z, dy = (tf.constant(RNG.standard_normal((4, 3 * len(functions)))) for _ in range(2))

    def run(z, dy):
        y, blocks = activate(functions, z)
        return y, tf.concat(blocks, 1), activate_vjp(functions, y, dy)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    parts = zip(functions, *(tf.split(t, len(functions), 1) for t in (z, dy)), strict=True)
    expected = [(f(z), f(z), vjp(f, f(z), dy)) for f, z, dy in parts]
    for one, others in zip(run(z, dy), zip(*expected, strict=True), strict=True):
        assert_near("one of three", one, tf.concat(others, 1))


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_blocks_of_the_gates(mode):
    x = tf.constant(RNG.standard_normal((5, 2, 6)))

    def run(x):
        parts = split_before_loop(x, 3)
        assert isinstance(parts, list) is (mode == "xla")

        def step(states, x):
            a, b, c = split_in_loop(x, 3)
            return states, (tf.concat([c, a, b], 1),)

        return scan(step, (x[0],), (parts,), (step_of(x),))[1][0]

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    assert_near("blocks", run(x), tf.roll(x, 2, 2))


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


@pytest.mark.parametrize(("batch", "states"), [(2, 2), (5, 5), (None, None), (None, 3)])
def test_halves_are_the_whole(batch, states):
    size = batch or 3
    x, h = (tf.constant(RNG.standard_normal(s)) for s in ((4, size, 3), (size, 3)))
    sizes = []

    def function(x, h):
        results = []
        for x_half, nothing, h_half in halves(x, None, h):
            assert nothing is None
            sizes.append(x_half.shape[1])
            results.append([x_half * 2 + h_half, h_half - x_half[0]])
        return join_halves(results)

    run = tf.function(function, autograph=False)
    specs = [tf.TensorSpec((4, batch, 3), "float64"), tf.TensorSpec((states, 3), "float64")]
    y, last = run.get_concrete_function(*specs)(x, h)
    assert sizes == ([None, None] if states is None else [states - states // 2, states // 2])
    assert_near("y", y, x * 2 + h, 0.0)
    assert_near("last", last, h - x[0], 0.0)


def test_where_loops_are_compiled_and_halved():
    told = []

    def ask(x, training):
        told.append((compiles(x, training), faster_in_halves(x, training)))
        return x

    spec = lambda *shape: tf.TensorSpec(shape)  # noqa: E731
    for shape in ((4, None, 3), (4, 2, 3), (4, 1, 3), (None, 2, 3)):
        tf.function(lambda x: ask(x, True)).get_concrete_function(spec(*shape))
    tf.function(lambda x: ask(x, False)).get_concrete_function(spec(4, 2, 3))
    tf.function(lambda x: ask(x, True), jit_compile=True)(tf.ones((4, 2, 3)))
    ask(tf.ones((4, 2, 3)), True)
    yes, no = (True, True), (False, False)
    assert told == [yes, yes, (True, False), no, no, (True, False), no]
