"""with_backward: None tensors, tuples of outputs, options, second order, eager and graph."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import TOLERANCE, assert_near
from custom_layers.gradients import autodiff, compiled, sum_places, wide, with_backward


def power_forward(x, scale, *, exponent):
    y = x**exponent
    return (y if scale is None else scale * y), (x, scale)


def power_backward(dy, cache, *, exponent):
    x, scale = cache
    slope = exponent * x ** (exponent - 1)
    if scale is None:
        return dy * slope, None
    return dy * scale * slope, tf.reduce_sum(dy * x**exponent)


power = with_backward(power_forward, power_backward)
X = tf.constant([1.0, 2.0, 3.0])


def first_and_second(scale):
    with tf.GradientTape() as outer:
        outer.watch(X)
        with tf.GradientTape() as inner:
            inner.watch(X)
            y = power(X, scale, exponent=3.0)
        first = inner.gradient(y, X)
    return first, outer.gradient(first, X)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("scale", [None, 2.0])
def test_first_and_second_order(mode, scale):
    run = first_and_second
    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    scale = None if scale is None else tf.constant(scale)
    first, second = run(scale)
    s = 1.0 if scale is None else 2.0
    np.testing.assert_allclose(first, s * 3 * X**2, rtol=1e-6)
    np.testing.assert_allclose(second, s * 6 * X, rtol=1e-6)


def test_several_outputs():
    split = with_backward(lambda x: ((2 * x, 3 * x), None), lambda dy, cache: 2 * dy[0] + 3 * dy[1])
    with tf.GradientTape() as tape:
        tape.watch(X)
        a, b = split(X)
        y = tf.reduce_sum(a) + 10 * tf.reduce_sum(b)
    np.testing.assert_allclose(tape.gradient(y, X), [32.0] * 3)
    with tf.GradientTape() as tape:  # an output that nobody uses
        tape.watch(X)
        y = tf.reduce_sum(split(X)[1])
    np.testing.assert_allclose(tape.gradient(y, X), [3.0] * 3)


def test_the_backward_is_used_and_autodiff_is_not():
    wrong = with_backward(lambda x: (x * x, None), lambda dy, cache: tf.fill((3,), 77.0))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(X)
        by_hand = wrong(X)
        with autodiff():
            derived = wrong(X)
    assert tape.gradient(by_hand, X)[0] == 77.0
    np.testing.assert_allclose(tape.gradient(derived, X), 2 * X)


def test_name_and_parts():
    assert power.__name__ == "power"
    assert power.forward is power_forward
    assert power.backward is power_backward


def running_sum(x):
    loop = tf.while_loop(
        lambda i, *_: i < 3,
        lambda i, s, y: (i + 1, s + x[i], y.write(i, s + x[i])),
        (0, tf.zeros(()), tf.TensorArray(tf.float32, 3, element_shape=())),
    )
    return loop[2].stack(), None


def test_a_compiled_loop_has_two_derivatives():
    """TensorFlow alone cannot differentiate a compiled loop."""

    def total(x, compile):
        """The squares of the running sums of x."""
        run = compiled(running_sum) if compile else running_sum

        def forward(x):
            sums, nothing = run(x)
            assert nothing is None
            return sums**2, sums

        def backward(dy, sums):
            return run(2 * dy[::-1] * sums[::-1])[0][::-1]

        return with_backward(forward, backward)(x)

    @tf.function
    def run(x, compile):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(tf.sin(total(x, compile)))
            slope = inner.gradient(y, x)
            curve = tf.reduce_sum(slope**2)
        return y, slope, outer.gradient(curve, x)

    for a, b in zip(run(X, True), run(X, False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    functions = run.get_concrete_function(X, True).graph.as_graph_def().library.function
    assert any("_XlaMustCompile" in f.attr for f in functions)

    with tf.GradientTape() as outer:  # a tape around the graph
        outer.watch(X)
        slope = run(X, True)[1]
        value = tf.reduce_sum(slope**2)
    np.testing.assert_allclose(outer.gradient(value, X), run(X, False)[2], rtol=1e-5)


def test_tensors_of_a_compiled_function_that_depend_on_each_other():
    """The second is made of the first: what flows through it must not be counted twice."""
    product = compiled(lambda x, z: (x[0] * z, None))

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, _ = product(x, x**2)
        return tape.gradient(y, x)

    np.testing.assert_allclose(run(X), [2 + 1 + 4 + 9, 4, 6])  # y_i = x_0 x_i², x_0 = 1


def lengthy(x):
    return tf.cumsum(x) * tf.reduce_sum(x), None


def programs(run, *arguments):
    functions = run.get_concrete_function(*arguments).graph.as_graph_def().library.function
    return sum("_XlaMustCompile" in f.attr for f in functions)


def test_only_so_many_lengths_are_compiled(monkeypatch):
    monkeypatch.setattr("custom_layers.gradients.MOST_LENGTHS", 3)
    total = compiled(lengthy)
    found = []
    for length in (1, 2, 3, 4, 5, 2):
        x = tf.range(float(length))
        run = tf.function(lambda x: total(x)[0])
        found.append(programs(run, x))
        np.testing.assert_allclose(run(x), np.cumsum(x) * np.sum(x))
    assert found == [1, 1, 1, 0, 0, 1]
    x = tf.ones((5, 2))  # another size has lengths of its own
    assert programs(tf.function(lambda x: total(x)[0]), x) == 1


def test_nothing_is_compiled_while_each_operation_is_looked_at():
    total = compiled(lambda x: (x * 2, None))
    tf.debugging.enable_check_numerics()
    try:
        run = tf.function(lambda x: total(x)[0])
        assert programs(run, X) == 0
        assert run(X)[0] == 2
        with pytest.raises(tf.errors.InvalidArgumentError, match="Infinity or NaN"):
            run(X * np.inf)
    finally:
        tf.debugging.disable_check_numerics()
    assert programs(tf.function(lambda x: total(x)[0]), X) == 1


def test_ways_that_go_past_the_backward_of_a_compiled_function():
    """Right, or an error that names what there is no derivative for; never zero."""
    total = compiled(running_sum)

    @tf.function
    def vectorized(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.vectorized_map(lambda row: total(row)[0], x)
        return tape.gradient(y, x, tf.constant([[1.0, 2, 3]] * 2))

    assert vectorized(tf.stack([X, X])).numpy().tolist() == [[6, 5, 3]] * 2

    @tf.function
    def forward_mode(x):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = total(x)[0]
        return accumulator.jvp(y)

    with pytest.raises(NotImplementedError, match="no forward mode .*of a loop inside"):
        forward_mode(X)


def test_a_tensor_among_the_options_is_an_error():
    """Its gradient would be None without a word."""
    scaled = with_backward(
        lambda x, *, scale: (x * scale, scale), lambda dy, scale, **options: dy * scale
    )
    with tf.GradientTape() as tape:
        tape.watch(X)
        with pytest.raises(TypeError, match="`scale` is a tensor, whose gradient would be lost"):
            scaled(X, scale=tf.constant(2.0))
        assert scaled(X, scale=2.0)[0] == 2


def test_an_option_may_be_a_list():
    """Which cannot be a key under which the joined function is kept."""
    total = with_backward(
        lambda x, *, axes: (tf.reduce_sum(x, axes), x), lambda dy, x, *, axes: dy * tf.ones_like(x)
    )
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = total(X, axes=[0])
    assert y == 6
    assert (tape.gradient(y, X) == tf.ones(3)).numpy().all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("compiled", [False, True])
def test_sum_places(dtype, compiled):
    """50,000 numbers: a sum in 16 bits of as many ones stalls at 2048 or 256."""
    x = tf.cast(np.random.default_rng(0).uniform(0, 1, (50, 1000, 2)), dtype)
    total = tf.function(sum_places, jit_compile=compiled)(x)
    assert total.dtype == dtype
    assert_near("sum", total, np.asarray(x, "float64").sum((0, 1)), TOLERANCE[dtype])


def test_wide():
    for dtype in ("float16", "bfloat16"):
        assert wide(tf.ones((), dtype)).dtype == tf.float32
    for dtype in ("float32", "float64", "int8"):
        assert wide(tf.ones((), dtype)).dtype == dtype
