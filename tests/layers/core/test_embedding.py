"""Embedding: its gradients are its derivatives, and it drops in for keras.layers.Embedding."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.core.embedding import Embedding, lookup
from custom_layers.gradients import with_backward

Twin = keras.layers.Embedding
SHAPES = [(5, 7), (1,), (0, 3), (2, 3, 5), (3, 0)]


def draw(shape, high=6, dtype="int32"):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward(shape):
    layer = Embedding(6, 3, dtype="float64", embeddings_initializer="normal")
    check_backward(layer, draw(shape))


def test_backward_of_repeated_indices():
    layer = Embedding(4, 2, dtype="float64")
    check_backward(layer, np.array([[3, 3, 3], [0, 3, 0]]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_twin(shape):
    for dtype, arguments in (
        ("int32", {}),
        ("int64", {"mask_zero": True, "dtype": "mixed_float16"}),
        ("float32", {"embeddings_regularizer": "l2", "dtype": "mixed_bfloat16"}),
        ("uint8", {"embeddings_initializer": "normal", "dtype": "bfloat16"}),
        ("float64", {"embeddings_constraint": "unit_norm", "activity_regularizer": "l1"}),
    ):
        arguments = {"input_dim": 6, "output_dim": 3, **arguments}
        check_twin(Embedding, Twin, arguments, draw(shape, dtype=dtype))


def test_signature():
    check_signature(Embedding, Twin)


def gradient_of(layer, indices):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer(indices)))
    return tape.gradient(loss, layer.embeddings.value)


@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
def test_gradient_is_sparse(mode):
    """As Keras's: IndexedSlices with one row for each index."""
    indices = tf.constant([[1, 3], [3, 2]])
    layer, twin = Embedding(6, 3), Twin(6, 3)
    layer.build()
    twin.build()
    twin.set_weights(layer.get_weights())
    kinds, gradients = [], []
    for x in (layer, twin):

        def run(indices, x=x):
            gradient = gradient_of(x, indices)
            kinds.append(type(gradient))
            return gradient

        if mode != "eager":
            run = tf.function(run, jit_compile=mode == "compiled")
        gradients.append(run(indices))
    assert kinds == [tf.IndexedSlices] * 2
    for part in ("values", "indices", "dense_shape"):
        assert_near(part, *(getattr(g, part) for g in gradients))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_trains_as_keras(optimizer):
    x, y = draw((16, 4)), np.ones((16, 1), "float32")
    models = []
    for cls in (Embedding, Twin):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((4,)), cls(6, 3), keras.layers.Flatten(), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile(optimizer, "mse")
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        models.append(model)
    for a, b in zip(*(m.get_weights() for m in models), strict=True):
        assert_near("weight", a, b)


@pytest.mark.parametrize("mask_zero", [False, True])
def test_mask(mask_zero):
    layer = Embedding(6, 3, mask_zero=mask_zero)
    x = np.array([[2, 1, 0], [0, 0, 5]])
    mask = getattr(layer(x), "_keras_mask", None)
    assert layer.supports_masking == mask_zero
    if mask_zero:
        assert mask.numpy().tolist() == (x != 0).tolist()
    else:
        assert mask is None
        assert layer.compute_mask(x) is None


def test_sparse_and_ragged():
    layer, twin = Embedding(6, 3), Twin(6, 3)
    layer.build()
    twin.build()
    twin.set_weights(layer.get_weights())
    sparse = tf.SparseTensor([[0, 0], [1, 2]], [2, 1], (2, 3))
    assert_near("sparse", layer(sparse), twin(sparse))
    assert_near("sparse", layer(sparse), layer(np.array([[2, 0, 0], [0, 0, 1]])))
    ragged = tf.ragged.constant([[2, 1], [], [5]])
    assert layer(ragged).shape == twin(ragged).shape
    assert layer(ragged).to_list() == twin(ragged).to_list()
    for kind in ("sparse", "ragged"):
        node = keras.Input((3,), dtype="int32", **{kind: True})
        assert layer(node).shape == (None, 3, 3)
        assert layer(node).ragged == (kind == "ragged")


@pytest.mark.parametrize("index", [6, -1])
def test_out_of_range(index):
    layer = Embedding(6, 3)
    x = tf.constant([[0, index]])
    for call in (layer, tf.function(layer)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=rf"indices\[0,1\] = {index} is not in \[0, 6\)"
        ):
            call(x)


@pytest.mark.parametrize("in_a_model", [False, True])
def test_the_rows_are_cast_and_not_the_table(in_a_model, monkeypatch):
    """The lookup of a 16-bit layer sees the float32 table, which a cast would read as a whole."""
    tables = []

    def looked_up(table, indices):
        tables.append(table.dtype)
        return lookup(table, indices)

    monkeypatch.setattr("custom_layers.core.embedding.lookup", looked_up)
    layer = Embedding(6, 2, dtype="mixed_float16")
    run = layer
    if in_a_model:
        run = keras.Sequential([layer, keras.layers.Dense(2, dtype="mixed_float16")])
    assert run(np.array([[1, 2]])).dtype == tf.float16
    assert tables
    assert set(tables) == {tf.float32}


def test_float_indices_of_a_16_bit_layer():
    """2049 is no float16."""
    layer = Embedding(2050, 2, dtype="mixed_float16")
    assert_near("y", layer(np.array([2049.0], "float32")), layer(np.array([2049])), 0.0)
    assert np.any(np.asarray(layer(np.array([2049])) != layer(np.array([2048]))))


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16", "mixed_float16"])
def test_many_gradients_of_one_row(dtype, mode):
    """50,000 of them: in 16 bits their sum stalls at 256 or 2048."""
    layer = Embedding(3, 2, dtype=dtype)
    layer.build()

    def run(indices):
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.cast(layer(indices), tf.float32))
        return tf.convert_to_tensor(tape.gradient(y, layer.trainable_variables)[0])

    run = run if mode == "eager" else tf.function(run, jit_compile=mode == "xla")
    result = tf.cast(run(tf.ones((5, 10_000), tf.int32)), tf.float64)
    np.testing.assert_allclose(result, [[0, 0], [50_000, 50_000], [0, 0]], rtol=2**-8)


def test_weights_argument():
    table = draw((3, 4)).astype("float32")
    for weights in (table, [table]):
        layer = Embedding(3, 4, weights=weights)
        assert_near("embeddings", layer.embeddings.numpy(), table, 0.0)
        assert "weights" not in layer.get_config()
    with pytest.raises(ValueError, match="shape"):
        Embedding(3, 5, weights=table)


def test_errors():
    for value in (3.7, 4.0, "3", None, True, False, -1, 0):
        with pytest.raises(ValueError, match=f"`input_dim` must be a positive integer.*{value}"):
            Embedding(value, 8)
        with pytest.raises(ValueError, match=f"`output_dim` must be a positive integer.*{value}"):
            Embedding(8, value)
    with pytest.raises(ValueError, match="Embedding of custom_layers .* argument `lora_rank`"):
        Embedding(3, 4, lora_rank=2)
    with pytest.warns(UserWarning, match="`input_length` is deprecated"):
        Embedding(3, 4, input_length=5)


def test_saved_model_can_be_trained_on(tmp_path):
    """The hand-written gradient is in the file: a loaded model can be fine-tuned."""
    model = keras.Sequential([keras.Input((4,), dtype="int32"), Embedding(6, 3)])
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    x = tf.constant(draw((2, 4)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(loaded.serve(x)))
    gradient = tf.convert_to_tensor(tape.gradient(loss, loaded.trainable_variables[0]))
    assert_near("gradient", gradient, tf.convert_to_tensor(gradient_of(model.layers[0], x)))


def test_a_broken_backward_is_seen(monkeypatch):
    def backward(dy, cache):
        slices, _ = lookup.backward(dy, cache)
        return tf.IndexedSlices(slices.values, slices.indices[::-1], slices.dense_shape), None

    monkeypatch.setattr(
        "custom_layers.core.embedding.lookup", with_backward(lookup.forward, backward)
    )
    with pytest.raises(AssertionError, match="gradient of"):
        check_backward(Embedding(6, 3, dtype="float64"), np.array([1, 2, 4]))


REPLICAS = """
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    from custom_layers import Embedding
    from custom_layers.checks import assert_near

    x = np.random.default_rng(0).integers(0, 6, (8, 4))
    y = np.random.default_rng(1).standard_normal((8, 4, 3)).astype("float32")

    def trained():
        model = keras.Sequential([keras.Input((4,)), Embedding(6, 3, weights=np.ones((6, 3)))])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return model.layers[0].embeddings.numpy()

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        together = trained()
    assert_near("embeddings", together, trained())
"""


def test_replicas():
    """Two replicas, in a process of its own: the number of devices is fixed at the start."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REPLICAS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
