"""The way to cuDNN, with its kernel replaced by a few lines of TensorFlow that read its packing."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers as cl

# By name, as `keras.src.backend.tensorflow.rnn` is also a function.
backend = importlib.import_module("keras.src.backend.tensorflow.rnn")
LENGTHS = [5, 1, 3]
X = np.random.default_rng(0).standard_normal((3, 5, 4)).astype("float32")
MASK = np.arange(5) < np.array(LENGTHS)[:, None]


def kernel(calls, *, input, input_h, input_c, params, rnn_mode, sequence_lengths, **rest):
    """What the documentation of cuDNN says: first all W, then all R, then their biases, by gate."""
    assert rest == {"is_training": True, "time_major": False}
    calls.append(rnn_mode)
    h = input_h[:, 0]
    width, units = input.shape[2], h.shape[1]
    gates = {"lstm": 4, "gru": 3}[rnn_mode]
    sizes = [units * width] * gates + [units * units] * gates + [units] * 2 * gates
    parts = tf.split(params, sizes)
    w = [tf.reshape(p, (units, width)) for p in parts[:gates]]
    r = [tf.reshape(p, (units, units)) for p in parts[gates : 2 * gates]]
    bw, br = parts[2 * gates : 3 * gates], parts[3 * gates :]
    c = input_c[:, 0] if rnn_mode == "lstm" else h
    ys = []
    for t in range(input.shape[1]):
        u = [input[:, t] @ tf.transpose(m) + b for m, b in zip(w, bw, strict=True)]
        v = [h @ tf.transpose(m) + b for m, b in zip(r, br, strict=True)]
        if rnn_mode == "lstm":
            i, f, o = (tf.sigmoid(u[k] + v[k]) for k in (0, 1, 3))
            c_new = f * c + i * tf.tanh(u[2] + v[2])
            h_new = o * tf.tanh(c_new)
        else:
            reset, update = (tf.sigmoid(u[k] + v[k]) for k in (0, 1))
            h_new = (1 - update) * tf.tanh(u[2] + reset * v[2]) + update * h
            c_new = h_new
        now = (t < sequence_lengths)[:, None]
        h, c = tf.where(now, h_new, h), tf.where(now, c_new, c)
        ys.append(tf.where(now, h_new, tf.zeros_like(h)))
    return tf.stack(ys, 1), h[:, None], c[:, None], None, None


@pytest.fixture
def calls(monkeypatch):
    """A machine with such a GPU; the list of the modes in which the kernel was called."""
    called = []
    monkeypatch.setattr(backend, "_is_gpu_available", lambda: True)
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", lambda **args: kernel(called, **args))
    return called


def on_cudnn(name, **options):
    """A layer that may use cuDNN, and its twins: ours that may not, and Keras's that may."""
    layers = [
        getattr(where, name)(6, use_cudnn=use, bias_initializer="normal", **options)
        for where, use in ((cl, "auto"), (cl, False), (keras.layers, "auto"))
    ]
    for layer in layers:
        layer.build(X.shape)
        layer.set_weights(layers[0].get_weights())
    return layers


def outputs(layer, x=X, **call):
    """What the layer returns, then its gradients."""
    weights = layer.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(x))
        y = tf.nest.flatten(layer(x, **call))
        loss = sum(tf.reduce_sum(part**2) for part in y)
    return [np.array(t) for t in (*y, *tape.gradient(loss, [x, *(w.value for w in weights)]))]


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_equals_the_loop_and_keras(calls, name, masked, go_backwards, sequences):
    options = {"go_backwards": go_backwards, "return_sequences": sequences, "return_state": True}
    ours, loop, theirs = on_cudnn(name, **options)
    call = {"mask": tf.constant(MASK)} if masked else {}
    got = outputs(ours, **call)
    assert calls == [name.lower()]
    assert_equal(got, outputs(theirs, **call))
    assert calls == [name.lower()] * 2
    # The loop repeats the last output where the mask ends; elsewhere both are equal.
    if not (masked and sequences):
        assert_equal(got, outputs(loop, **call))
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_states_go_in_and_stay(calls, name):
    start = [tf.fill((3, 6), 0.5)] * (2 if name == "LSTM" else 1)
    ours, loop, theirs = on_cudnn(name, stateful=True)
    for call in ({"initial_state": start}, {}):
        got = outputs(ours, **call)
        assert_equal(got, outputs(loop, **call))
        assert_equal(got, outputs(theirs, **call))
    assert len(calls) == 4


def test_dropout_is_the_same_at_all_steps(calls):
    layer = cl.LSTM(6, dropout=0.5, seed=1, return_sequences=True)
    x = np.ones_like(X)
    outputs(layer, x, training=True)
    outputs(layer, x)
    assert calls == ["lstm", "lstm"]
    seen = []
    original = cl.LSTM(6, use_cudnn=False, dropout=0.5, seed=1, return_sequences=True)
    original.build(X.shape)
    original.set_weights(layer.get_weights())
    for one in (layer, original):
        one.cell.seed_generator.state.assign([7, 7])
        seen.append(outputs(one, x, training=True))
    assert_equal(*seen)


@pytest.mark.parametrize(
    "options",
    [
        {"use_cudnn": False},
        {"recurrent_dropout": 0.5},
        {"unroll": True},
        {"use_bias": False},
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"implementation": 1, "dropout": 0.5},
    ],
    ids=str,
)
def test_what_cudnn_cannot_do(calls, options):
    outputs(cl.LSTM(6, **options), training=True)
    assert calls == []
    assert cl.LSTM(6, **options).supports_jit
    if "use_cudnn" not in options:
        with pytest.raises(ValueError, match="use_cudnn=True was specified, but cuDNN is not"):
            cl.LSTM(6, use_cudnn=True, **options)(X)


def test_simple_rnn_and_the_older_gru_have_none(calls):
    outputs(cl.SimpleRNN(6))
    outputs(cl.GRU(6, reset_after=False))
    assert calls == []


def test_under_xla_the_loop_is_ours(calls):
    layer = cl.LSTM(6)
    layer.build(X.shape)
    compiled = tf.function(layer, jit_compile=True)
    compiled(X)
    assert calls == []
    assert not layer.supports_jit  # so `fit` does not compile by itself, and cuDNN is used


def test_where_the_kernel_is_not_there_the_loop_is_ours(monkeypatch):
    def missing(**_):
        raise tf.errors.NotFoundError(None, None, "no kernel for this device")

    monkeypatch.setattr(backend, "_is_gpu_available", lambda: True)
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", missing)
    ours, loop, _ = on_cudnn("LSTM")
    assert_equal(outputs(ours), outputs(loop))
    with pytest.raises(ValueError, match="use_cudnn=True was specified"):
        cl.LSTM(6, use_cudnn=True)(X)


def test_without_a_gpu_nothing_changes():
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("a GPU is here")
    assert cl.LSTM(6).supports_jit
    with pytest.raises(ValueError, match="use_cudnn=True was specified"):
        cl.GRU(6, use_cudnn=True)(X)


def test_a_mask_with_a_hole(calls):
    """As with Keras: the loop takes over in eager mode, a graph finds out too late."""
    mask = np.array(MASK)
    mask[0, 2] = False
    mask = tf.constant(mask)
    ours, loop, _ = on_cudnn("LSTM")
    assert_equal(outputs(ours, mask=mask), outputs(loop, mask=mask))
    with pytest.raises(tf.errors.InvalidArgumentError, match="right-padded"):
        tf.function(ours)(tf.constant(X), mask=mask)
