"""over_time: halves of a batch are the batch, and when loops are compiled and halved."""

import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near
from custom_layers.recurrent.over_time import compiles, faster_in_halves, in_halves

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("batch", "states"), [(2, 2), (5, 5), (None, None), (None, 3)])
def test_halves_are_the_whole(batch, states):
    size = batch or 3
    x, h = (tf.constant(RNG.standard_normal(s)) for s in ((4, size, 3), (size, 3)))
    sizes = []

    def function(x, nothing, h):
        assert nothing is None
        sizes.append(x.shape[1])
        return [x * 2 + h, h - x[0]]

    run = tf.function(lambda x, h: in_halves(function, x, None, h), autograph=False)
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


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_a_batch_of_unknown_size_trains_as_one(name, batch):
    """Outputs, states, gradients: of odd batches, of one row, with masks, and dropout."""
    layer = getattr(custom_layers, name)(
        4, return_sequences=True, return_state=True, dropout=0.4, recurrent_dropout=0.3, seed=3
    )
    x = tf.constant(RNG.standard_normal((batch, 6, 3)), tf.float32)
    mask = tf.constant(RNG.random((batch, 6)) < 0.7)
    layer(x)

    def step(x, mask):
        layer.cell.seed_generator.state.assign([3, 7])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, mask=mask, training=True)
            loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in y])
        return [*y, *tape.gradient(loss, [x, *(w.value for w in layer.trainable_variables)])]

    expected = step(x, mask)
    specs = tf.TensorSpec((None, 6, 3)), tf.TensorSpec((None, 6), tf.bool)
    for a, b in zip(tf.function(step, input_signature=specs)(x, mask), expected, strict=True):
        assert_near("output or gradient", a, b, 1e-5)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_states_may_know_the_size_that_the_input_does_not(name):
    layer = getattr(custom_layers, name)(4, stateful=True)
    x = tf.constant(RNG.standard_normal((3, 6, 2)), tf.float32)
    layer(x)
    layer.reset_state()
    run = tf.function(
        lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, 6, 2))]
    )
    first, second = run(x), run(x)
    layer.reset_state()
    assert_near("first", first, layer(x), 1e-5)
    assert_near("second", second, layer(x), 1e-5)


@pytest.mark.parametrize("shape", [(1, 6), (4, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("batch", [4, None])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_a_mask_that_broadcasts(name, batch, shape):
    layer = getattr(custom_layers, name)(4, return_sequences=True)
    x = tf.constant(RNG.standard_normal((4, 6, 2)), tf.float32)
    mask = tf.constant(RNG.random(shape) < 0.5)
    expected = layer(x, mask=tf.broadcast_to(mask, (4, 6)))
    specs = tf.TensorSpec((batch, 6, 2)), tf.TensorSpec(shape, tf.bool)
    for training in (False, True):
        run = tf.function(
            lambda x, mask, t=training: layer(x, mask=mask, training=t), input_signature=specs
        )
        assert_near("output", run(x, mask), expected, 1e-5)
