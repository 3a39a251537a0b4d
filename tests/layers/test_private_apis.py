"""What is expected of the private parts of Keras and TensorFlow that the library uses."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import private_apis


def test_could_possibly_record():
    assert not private_apis.could_possibly_record()
    with tf.GradientTape() as tape:
        assert private_apis.could_possibly_record()
        with tape.stop_recording():
            assert not private_apis.could_possibly_record()
    x = tf.ones(())
    with tf.autodiff.ForwardAccumulator(x, x):
        assert private_apis.could_possibly_record()
    assert not private_apis.could_possibly_record()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_by_xla(jit_compile):
    answers = []

    @tf.function(jit_compile=jit_compile)
    def function(x):
        answers.append(private_apis.compiled_by_xla())
        return x

    assert not private_apis.compiled_by_xla()
    function(tf.ones(()))
    assert answers == [jit_compile]


def test_being_exported(tmp_path):
    answers = []

    class Asks(keras.layers.Layer):
        def call(self, x):
            answers.append((tf.executing_eagerly(), private_apis.being_exported()))
            return x

    x = keras.Input((2,))
    model = keras.Model(x, Asks()(x))
    answers.clear()
    model(np.ones((1, 2)))
    tf.function(model)(tf.ones((1, 2)))
    model.predict(np.ones((1, 2)), verbose=0)
    assert set(answers) == {(True, False), (False, False)}
    for write in (
        lambda path: model.export(path, verbose=False),
        lambda path: tf.saved_model.save(model, path),
    ):
        answers.clear()
        write(tmp_path / "model")
        assert set(answers) == {(False, True)}


def test_takes_training():
    class Cell(keras.layers.Layer):
        def call(self, x):
            return x

    assert private_apis.takes_training(keras.layers.Dropout(0.5))
    assert not private_apis.takes_training(Cell())
    assert not private_apis.takes_training(lambda x: x)  # a cell need not be a layer


def test_keep_logits():
    """Of a probability of 0 in float32, the loss still has its logarithm."""
    logits = tf.constant([[0.0, 200.0]])
    y = tf.nn.softmax(logits)
    private_apis.keep_logits(y, logits)
    loss = keras.losses.sparse_categorical_crossentropy(np.array([0]), y)
    np.testing.assert_allclose(loss, [200.0])


def test_keras_mask():
    """What is set on an input reaches the layer, and what the layer passes on is read."""
    x, mask = tf.ones((1, 2)), tf.constant([[True, False]])
    private_apis.set_keras_mask(x, mask)
    assert private_apis.get_keras_mask(keras.layers.ReLU()(x)) is mask
    private_apis.set_keras_mask(x, None)
    assert private_apis.get_keras_mask(keras.layers.ReLU()(x)) is None


def test_layers_inside():
    dense = keras.layers.Dense(1)
    deep = keras.Sequential([keras.Sequential([dense])])
    assert dense in private_apis.layers_inside(deep)
    assert private_apis.layers_inside(deep)[0] is deep
    assert private_apis.layers_inside(dense) == [dense]
    assert private_apis.parts_of(deep) == deep.layers
    assert private_apis.parts_of(dense) == []


def test_graphs_inside():
    inner = tf.function(lambda x: tf.sin(x), autograph=False)
    graph = tf.function(lambda x: inner(x)).get_concrete_function(tf.ones(())).graph
    (inside,) = private_apis.graphs_inside(graph)
    assert "Sin" in {operation.type for operation in inside.get_operations()}


def test_dot_not_track_scope():
    layer = keras.layers.Layer()
    with private_apis.DotNotTrackScope():
        layer.apart = keras.Variable(0.0)
    layer.own = keras.Variable(0.0)
    assert [v is layer.own for v in layer.variables] == [True]


def test_dropout_rnn_cell():
    """A cell with `dropout` and `seed_generator` gets masks that stay until they are reset."""

    class Cell(keras.layers.Layer, private_apis.DropoutRNNCell):
        dropout = recurrent_dropout = 0.5

        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(0)

    cell, x = Cell(), tf.ones((2, 50))
    mask, recurrent = cell.get_dropout_mask(x), cell.get_recurrent_dropout_mask(x)
    assert set(np.unique(mask)) == {0, 2}
    assert (mask == cell.get_dropout_mask(x)).numpy().all()
    assert not (mask == recurrent).numpy().all()
    cell.reset_dropout_mask()
    cell.reset_recurrent_dropout_mask()
    assert not (mask == cell.get_dropout_mask(x)).numpy().all()
    assert not (recurrent == cell.get_recurrent_dropout_mask(x)).numpy().all()
    cell.dropout_mask_count = 3
    cell.reset_dropout_mask()
    assert len(cell.get_dropout_mask(x)) == 3


def test_cudnn():
    """Positions and names of the arguments as `cudnn.py` hands them over; no GPU is needed."""
    arguments = {
        private_apis.cudnn_lstm: "inputs initial_state_h initial_state_c mask kernel "
        "recurrent_kernel bias activation recurrent_activation return_sequences go_backwards",
        private_apis.cudnn_gru: "inputs initial_state mask kernel recurrent_kernel bias activation "
        "recurrent_activation return_sequences go_backwards",
        private_apis.cudnn_ok: "activation recurrent_activation unroll use_bias",
    }
    for function, names in arguments.items():
        assert list(inspect.signature(function).parameters)[: len(names.split())] == names.split()
    assert "reset_after" in inspect.signature(private_apis.cudnn_gru).parameters
    assert "reset_after" in inspect.signature(private_apis.cudnn_ok).parameters


def test_autocast_scope():
    layer = keras.layers.Dense(1, dtype="mixed_bfloat16")
    layer.build((None, 1))
    assert layer.kernel.value.dtype == tf.float32
    with private_apis.AutocastScope("bfloat16"):
        assert layer.kernel.value.dtype == tf.bfloat16
        with private_apis.AutocastScope("float32"):
            assert layer.kernel.value.dtype == tf.float32


def test_functional():
    x = keras.Input((2,))
    assert type(keras.Model(x, x)) is private_apis.Functional


def test_stop_recording():
    x = tf.ones(())
    with tf.GradientTape() as tape:
        tape.watch(x)
        with private_apis.stop_recording():
            y = 2 * x
    assert tape.gradient(y, x) is None


def test_inspects_operations():
    assert not private_apis.inspects_operations()
    tf.debugging.enable_check_numerics()
    try:
        assert private_apis.inspects_operations()
        assert tf.function(lambda: tf.constant(private_apis.inspects_operations()))()
    finally:
        tf.debugging.disable_check_numerics()
    assert not private_apis.inspects_operations()


def test_has_tangents():
    x, y = tf.ones(()), tf.ones(())
    assert not private_apis.has_tangents([x, y])
    with tf.autodiff.ForwardAccumulator(x, x):
        assert private_apis.has_tangents([y, 2 * x])
        assert not private_apis.has_tangents([y])
    assert not private_apis.has_tangents([x])
