"""RNN around any cell, and RecurrentCell: weights, dropout masks and their life time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near, check_backward, check_signature
from custom_layers.recurrent.rnn import reset_dropout_masks

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 6, 4)).astype("float32")
MASK = RNG.random((5, 6)) < 0.6
MASK[0] = False


def assert_equal_outputs(a, b, tolerance=1e-5):
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        assert_near("output", x, y, tolerance)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("around", [keras.layers.RNN, custom_layers.RNN])
@pytest.mark.parametrize("whose", [keras.layers, custom_layers])
def test_cells_go_into_every_rnn(name, around, whose):
    """Ours in Keras's, Keras's in ours, stacked and single, masked, with dropout, saved."""
    cell = getattr(whose, name + "Cell")
    for make in (
        lambda: cell(3),
        lambda: [cell(3, dropout=0.2, seed=1), cell(2, recurrent_dropout=0.3, seed=2)],
    ):
        layer = around(make(), return_sequences=True, return_state=True)
        layer(X)
        reference = keras.layers.RNN(make(), return_sequences=True, return_state=True)
        reference(X)
        reference.set_weights([RNG.uniform(-0.5, 0.5, w.shape) for w in reference.get_weights()])
        layer.set_weights(reference.get_weights())
        for call in ({}, {"mask": MASK}):
            assert_equal_outputs(layer(X, **call), reference(X, **call))
        said = layer.compute_output_shape(X.shape)
        real = tf.nest.map_structure(lambda y: tuple(y.shape), layer(X))
        assert tf.nest.flatten(said) == tf.nest.flatten(real)
        again = type(layer).from_config(layer.get_config())
        again(X)
        again.set_weights(layer.get_weights())
        assert_equal_outputs(again(X), layer(X))
        trained = tf.function(lambda x, layer=layer: layer(x, training=True))(X)
        assert all(np.isfinite(y).all() for y in tf.nest.flatten(trained))


class Minimal(keras.layers.Layer):
    """A cell of somebody else: one state, no `get_initial_state`, no `training`."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.state_size))

    def call(self, inputs, states):
        y = keras.ops.matmul(inputs, self.kernel) + states[0]
        return -y, [y]


def test_a_cell_of_somebody_else():
    check_signature(custom_layers.RNN, keras.layers.RNN)
    layer = custom_layers.RNN(Minimal(3), return_sequences=True, return_state=True)
    reference = keras.layers.RNN(Minimal(3), return_sequences=True, return_state=True)
    layer(X), reference(X)
    layer.set_weights(reference.get_weights())
    state = RNG.standard_normal((5, 3)).astype("float32")
    for call in ({}, {"mask": MASK}, {"mask": MASK, "initial_state": state}):
        assert_equal_outputs(layer(X, **call), reference(X, **call))
    check_backward(custom_layers.RNN(Minimal(3, dtype="float64"), dtype="float64"), np.float64(X))
    with pytest.raises(ValueError, match="should have a `call` method"):
        custom_layers.RNN(3)
    with pytest.raises(ValueError, match="should have a `state_size` attribute"):
        custom_layers.RNN(keras.layers.Dense(3))


ONES = np.ones((2, 3), "float32")


@pytest.fixture(params=["LSTMCell", "GRUCell", "SimpleRNNCell"])
def cell(request):
    return getattr(custom_layers, request.param)


def test_masks_stay_until_forgotten(cell):
    layer = cell(64, dropout=0.5, recurrent_dropout=0.5, seed=1)
    states = [np.ones((2, 64), "float32")] * layer.state_count
    first = layer(ONES, states, training=True)[0].numpy()
    again = layer(ONES, states, training=True)[0].numpy()
    reset_dropout_masks(layer)
    other = layer(ONES, states, training=True)[0].numpy()
    assert (first == again).all()
    assert (first != other).any()
    assert (layer(ONES, states)[0].numpy() != other).any()


def test_number_of_masks(cell):
    gates = cell.gates
    for implementation, count in ((2, None), (1, gates if gates > 1 else None)):
        layer = cell(2, implementation=implementation)
        assert getattr(layer, "dropout_mask_count", None) == count
    assert cell(2, recurrent_dropout=0.1).implementation == 1


def test_rates_are_clipped(cell):
    layer = cell(2, dropout=1.5, recurrent_dropout=-1)
    assert (layer.dropout, layer.recurrent_dropout) == (1.0, 0.0)


def test_states(cell):
    layer = cell(2, dtype="mixed_float16")
    states = layer.get_initial_state(batch_size=3)
    assert {(tuple(s.shape), s.dtype.name) for s in states} == {((3, 2), "float16")}
    assert len(states) == layer.state_count
    alone = [np.zeros((2, 2), "float32")]
    if len(states) == 1:  # a single state need not be in a list
        y, state = layer(ONES, alone[0])
        assert state is y


def test_no_two_rules_of_dropout(cell):
    """All inputs gone: what remains is the bias."""
    layer = cell(2, dropout=0.999999, seed=1, bias_initializer="zeros")
    states = layer.get_initial_state(2)
    empty = layer(0 * ONES, states, training=True)[0]
    np.testing.assert_allclose(layer(ONES, states, training=True)[0], empty, atol=1e-6)


class ConvCell(keras.layers.Layer):
    """States and outputs with axes for places: a ConvLSTM has no others."""

    state_size = output_size = 3

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(3, 3, padding="same", activation="tanh")

    def build(self, shape):
        self.conv.build((*shape[:-1], shape[-1] + 3))

    def get_initial_state(self, batch_size=None):
        return [tf.zeros((batch_size, 4, 4, 3))]

    def call(self, inputs, states):
        h = self.conv(tf.concat([inputs, states[0]], -1))
        return 2 * h, [h]


@pytest.mark.parametrize("arguments", [{}, {"go_backwards": True}, {"unroll": True}], ids=str)
def test_states_of_any_rank(arguments):
    x = RNG.standard_normal((5, 6, 4, 4, 2)).astype("float32")
    options = {"return_sequences": True, "return_state": True, **arguments}
    layers = [cls(ConvCell(), **options) for cls in (custom_layers.RNN, keras.layers.RNN)]
    for layer in layers:
        layer(x)
    layers[0].set_weights(layers[1].get_weights())
    for call in ({}, {"mask": tf.constant(MASK)}):
        results = []
        for layer in layers:
            with tf.GradientTape() as tape:
                y = layer(x, **call)
                loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in y])
            weights = [w.value for w in layer.trainable_variables]
            results.append((y, tape.gradient(loss, weights)))
        assert_equal_outputs(*results)
    inputs = keras.Input((None, 4, 4, 2)) if not layers[0].unroll else keras.Input((6, 4, 4, 2))
    model = keras.Model(inputs, layers[0](inputs))
    assert [len(shape) for shape in model.output_shape] == [5, 4]
    assert_equal_outputs(model.predict(x, verbose=0), layers[0](x))


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
@pytest.mark.parametrize("whose", [keras.layers, custom_layers])
def test_a_list_of_one_cell(name, whose):
    cell = getattr(whose, name)
    for options in ({}, {"return_state": True}, {"unroll": True}):
        one = custom_layers.RNN([cell(3)], **options)
        alone = custom_layers.RNN(cell(3), **options)
        reference = keras.layers.RNN([cell(3)], **options)
        for layer in (one, alone, reference):
            layer.build(X.shape)
        for layer in (alone, reference):
            layer.set_weights(one.get_weights())
        if not options.get("unroll"):  # Keras's raises, and so it does with a mask
            tf.nest.assert_same_structure(one(X), reference(X))
            assert_equal_outputs(one(X), reference(X))
        for mask in (None, MASK):
            assert_equal_outputs(one(X, mask=mask), alone(X, mask=mask))
        model = keras.Model(inputs := keras.Input((6, 4)), one(inputs))
        assert_equal_outputs(model(X), one(X))


DTYPES = ["float32", "float64", "mixed_float16", "mixed_bfloat16", "bfloat16"]


@pytest.mark.parametrize("of_layer", DTYPES)
@pytest.mark.parametrize("of_cell", DTYPES)
def test_the_cell_computes_in_its_own_dtype(of_cell, of_layer):
    """The layer hands over its input and takes the output in its dtype, and that is all."""
    for name in ("LSTMCell", "GRUCell", "SimpleRNNCell"):
        cell = getattr(custom_layers, name)(3, recurrent_initializer="normal", dtype=of_cell)
        layer = custom_layers.RNN(cell, dtype=of_layer)
        y = layer(X)
        assert y.dtype == layer.compute_dtype
        assert cell.kernel.dtype == cell.variable_dtype
        alone = custom_layers.RNN(cell, dtype=of_cell)
        expected = alone(tf.cast(X, layer.compute_dtype))
        assert_near(name, y, tf.cast(expected, y.dtype), 0.0)
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.cast(layer(X, training=True), "float64"))
        gradients = tape.gradient(y, [w.value for w in layer.trainable_weights])
        assert all(np.any(np.float32(g)) for g in gradients)


def test_masked_steps_of_any_cell_have_no_influence():
    layer = custom_layers.RNN(Minimal(3), return_sequences=True)
    layer(X)
    got = []
    for hidden in (0.0, np.nan):
        x = tf.constant(np.where(MASK[..., None], X, np.float32(hidden)))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, mask=MASK)
        got.append([y, *tape.gradient(y, [x, layer.cell.kernel.value])])
    assert all(np.isfinite(t).all() for t in got[1])
    assert_equal_outputs(*got)


def test_an_interrupted_call_leaves_no_dropout_mask_in_stacked_cells():
    cells = [custom_layers.GRUCell(3, dropout=0.5), custom_layers.GRUCell(3, lambda z: 1 / 0)]
    layer = custom_layers.RNN(cells)
    with pytest.raises(ZeroDivisionError):
        layer(X, training=True)
    cells[1].activation = tf.tanh
    assert layer(X[:2], training=True).shape == (2, 3)
