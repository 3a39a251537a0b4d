"""BatchNormalization: its gradients are its derivatives, and it drops in for Keras's."""

import contextlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import Embedding
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.gradients import autodiff, with_backward
from custom_layers.normalization import batch_norm as module
from custom_layers.normalization.batch_norm import (
    BatchNormalization,
    batch_norm,
    check_clipping,
    correction,
    fused_batch_norm,
)

Twin = keras.layers.BatchNormalization

CASES = [  # input shape, arguments
    ((5, 3), {}),
    ((1, 3), {"scale": False}),
    ((7, 1), {"center": False}),
    ((2, 3, 5), {"epsilon": 1e-6}),
    ((2, 3, 5), {"axis": 1, "scale": False, "center": False}),
    ((3, 2, 5, 2), {"axis": 1, "momentum": 0.5}),
    ((3, 2, 5, 2), {"axis": -2}),
    ((3, 4, 2, 2, 3), {}),
    ((5, 3), {"axis": 0}),
]
MASK = np.array([[True, False, True], [True, False, False]])
RANDOM = {
    "gamma_initializer": "normal",
    "beta_initializer": "normal",
    "moving_mean_initializer": "normal",
    "moving_variance_initializer": keras.initializers.RandomUniform(0.1, 2.0),
}


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("shape", "arguments"), CASES, ids=str)
def test_backward(shape, arguments):
    layer = BatchNormalization(dtype="float64", **RANDOM, **arguments)
    check_backward(layer, draw(shape), training=True)
    check_backward(layer, draw(shape), training=False)


@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_backward_with_mask(axis):
    layer = BatchNormalization(axis=axis, dtype="float64", **RANDOM)
    check_backward(layer, draw((2, 3, 5)), training=True, mask=MASK)
    check_backward(layer, draw((2, 3, 5)), training=True, mask=np.zeros_like(MASK))


@pytest.mark.parametrize(("shape", "arguments"), CASES, ids=str)
def test_twin(shape, arguments):
    x = 2 * draw(shape) + 3
    for i, dtype in enumerate(["float64", "float32", "mixed_float16", "mixed_bfloat16"]):
        options = [
            {"synchronized": True},
            {"gamma_regularizer": "l1", "beta_constraint": "non_neg"},
            {"moving_mean_initializer": "ones", "beta_regularizer": "l2"},
            {"moving_variance_initializer": "zeros", "gamma_constraint": "unit_norm"},
        ][i]
        arguments = {"dtype": dtype, **options, **arguments}
        for training in (True, False):
            check_twin(BatchNormalization, Twin, arguments, x.astype("float32"), training=training)


@pytest.mark.parametrize(
    "clipping", [None, {}, {"rmax": 1.5, "rmin": 0.5, "dmax": 0.3}, {"dmax": 0.0}], ids=str
)
def test_twin_with_renorm(clipping):
    arguments = {"renorm": True, "renorm_clipping": clipping, "renorm_momentum": 0.7}
    for shape, more in (
        ((5, 3), {"dtype": "float64"}),
        ((2, 3, 5), {"axis": 1, "scale": False, "momentum": 0.8}),
        ((2, 3, 5), {"scale": False, "center": False, "dtype": "float64"}),
        ((2, 3, 5), {"dtype": "mixed_bfloat16", "center": False}),
    ):
        x = (draw(shape) + 1).astype("float32")
        check_twin(BatchNormalization, Twin, {**arguments, **more}, x, training=True)


def test_without_limits_the_moving_averages_normalize():
    mean, stddev, past_mean, past_stddev = map(tf.constant, ([1.0], [2.0], [0.5], [4.0]))
    r, d = correction(mean, stddev, past_mean, past_stddev, 1e-3, {})
    x = tf.constant([3.0, -1.0])
    assert_near("x̃", (x - mean) / stddev * r + d, (x - past_mean) / past_stddev)


@pytest.mark.parametrize(
    ("clipping", "r", "d"),
    [
        ({}, 5.0, -4.0),
        ({"rmax": 3.0}, 3.0, -4.0),
        ({"rmin": 6.0, "dmax": 1.0}, 6.0, -1.0),
        ({"rmin": None, "rmax": 0.0, "dmax": 0}, 0.0, 0.0),
    ],
    ids=str,
)
def test_limits_of_renorm(clipping, r, d):
    numbers = map(tf.constant, ([1.0], [10.0], [9.0], [2.0]))
    assert_near("r and d", tf.stack(correction(*numbers, 1e-3, clipping)), [[r], [d]])


@pytest.mark.parametrize("by_hand", [True, False])
def test_the_two_numbers_are_constants_to_the_gradient(by_hand):
    """dx is r γ times that of the plain normalization."""
    x, dy = draw((5, 3)), draw((5, 3))[::-1]
    layer = BatchNormalization(renorm=True, dtype="float64", **RANDOM)
    layer.build(x.shape)
    r = np.sqrt(x.var(0) + 1e-3) / np.asarray(layer.renorm_stddev)
    with tf.GradientTape() as tape, contextlib.nullcontext() if by_hand else autodiff():
        x = tf.constant(x)
        tape.watch(x)
        y = layer(x, training=True)
    dx = tape.gradient(y, x, dy)
    x, dy = x[:, :, None], (r * dy * np.asarray(layer.gamma))[:, :, None]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = batch_norm(x, None, None, None, epsilon=1e-3)[0]
    assert_near("dx", dx, tape.gradient(y, x, dy)[:, :, 0])


def test_a_moving_deviation_of_zero_is_lifted():
    numbers = map(tf.constant, ([0.0], [1.0], [0.0], [0.0]))
    assert_near("r", correction(*numbers, 0.25, {})[0], [2.0])


def test_wrong_limits():
    with pytest.raises(ValueError, match=r"Received invalid keys for `renorm_clipping`.*'r'"):
        check_clipping({"r": 1.0})
    with pytest.raises(ValueError, match="rmax should be greater than rmin.*rmax=0.0, rmin=1.0"):
        check_clipping({"rmax": 0.0, "rmin": 1.0})
    with pytest.raises(ValueError, match="dmax should be non-negative.*dmax=-1"):
        check_clipping({"dmax": -1})
    assert check_clipping(None) == {}


@pytest.mark.parametrize("arguments", [{}, {"renorm": True}, {"synchronized": True}], ids=str)
@pytest.mark.parametrize("mask", [MASK, MASK[:1], MASK.astype("float32")], ids=["", "wide", "32"])
def test_twin_with_mask(mask, arguments):
    layers = BatchNormalization(**arguments), Twin(**arguments)
    x = tf.constant(draw((2, 3, 5)) + 1, "float32")
    results = []
    for layer in layers:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True, mask=mask)
            loss = tf.reduce_sum(tf.sin(y))
        weights = [w.value for w in layer.trainable_variables]
        results.append([y, *tape.gradient(loss, [x, *weights]), *layer.weights])
    for a, b in zip(*results, strict=True):
        assert_near("output, gradient or weight", a, b)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_is_masked_has_no_influence(value, mode):
    """Whatever it holds, neither on the others nor on the weights, if nothing comes back for it."""
    layer = BatchNormalization(**RANDOM)
    layer.build((None, 3, 5))

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True, mask=MASK)
            loss = tf.reduce_sum(tf.sin(tf.boolean_mask(y, MASK) if mode != "xla" else y[:, 0]))
        dx, *dweights = tape.gradient(loss, [x, *(w.value for w in layer.trainable_variables)])
        return dx, tf.where(MASK[..., None], y, 0.0), *dweights

    run = run if mode == "eager" else tf.function(run, jit_compile=mode == "xla")
    x = draw((2, 3, 5), "float32")
    expected = run(tf.constant(x))
    for a, b in zip(run(tf.constant(np.where(MASK[..., None], x, value))), expected, strict=True):
        assert_near("dx, y or weight", a, b, 0.0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("axis", [-1, 2])
def test_ragged(training, axis):
    """The statistics are of the values that are there."""
    x = tf.RaggedTensor.from_row_lengths(draw((5, 3), "float32"), [2, 0, 3])
    ours, theirs = BatchNormalization(axis=axis), Twin(axis=axis)
    y, expected = ours(x, training=training), theirs(x, training=training)
    assert y.row_lengths().numpy().tolist() == [2, 0, 3]
    assert_near("y", y.flat_values, expected.flat_values)
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        assert_near(a.name, a.value, b.value)
    layer = BatchNormalization(axis=1)
    layer.build((3, 2, 3))
    with pytest.raises(ValueError, match="channels must not be ragged.*axis=1"):
        layer.call(x, training=training)


def test_a_ragged_embedding_before_it():
    ids = keras.Input((None,), dtype="int32", ragged=True)
    y = keras.layers.Activation("tanh")(BatchNormalization()(Embedding(5, 2)(ids)))
    y = keras.Model(ids, y)(tf.ragged.constant([[1, 2], [3]]))
    assert y.row_lengths().numpy().tolist() == [2, 1]


def test_signature():
    check_signature(BatchNormalization, Twin)


def differentiate(layer, x, second):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.sin(tf.cast(y, tf.float32)))
        points = [x, *(w.value for w in layer.trainable_variables)]
        first = inner.gradient(loss, points)
        total = tf.add_n([tf.reduce_sum(tf.cast(g, tf.float32) ** 2) for g in first])
    return [y, *first, *(outer.gradient(total, points) if second else [])]


@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-3), ("mixed_float16", 5e-3), ("mixed_bfloat16", 4e-2)]
)
def test_kernel_is_the_formula(dtype, tolerance, mode, monkeypatch):
    """Outputs, first and second derivatives; where XLA compiles there is no kernel."""
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        return fused_batch_norm(*arguments, **options)

    monkeypatch.setattr(module, "fused_batch_norm", counted)
    second = dtype == "float32"  # 16 bits do not hold a second derivative
    x = tf.cast(draw((4, 3, 5)) + 1, dtype.removeprefix("mixed_"))
    layer = BatchNormalization(dtype=dtype, **RANDOM)
    layer.build(x.shape)
    run = differentiate
    if mode != "eager":
        run = tf.function(differentiate, jit_compile=mode == "compiled")
    results = run(layer, x, second)
    assert bool(calls) == (mode != "compiled")
    expected = BatchNormalization(dtype="float64")
    expected.build(x.shape)
    for a, b in zip(expected.weights, layer.weights, strict=True):
        a.assign(RANDOM["moving_variance_initializer"]((5,)) if "moving" in a.name else b)
    for a, b in zip(results, differentiate(expected, tf.cast(x, "float64"), second), strict=True):
        assert_near("output or derivative", tf.cast(a, "float64"), b, tolerance)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("arguments", [{}, {"axis": 1}, {"renorm": True}], ids=str)
def test_graphs_of_unknown_shape(arguments, compiled):
    layer = BatchNormalization(**arguments, **RANDOM)
    layer.build((None, 3, None, 5))
    layer.input_spec = None
    start = layer.get_weights()
    run = tf.function(
        lambda x: layer(x, training=True),
        input_signature=[tf.TensorSpec((None, 3, None, 5), tf.float32)],
        jit_compile=compiled,
    )
    for shape in ((0, 3, 2, 5), (1, 3, 1, 5), (4, 3, 2, 5)):
        x = draw(shape, "float32")
        results = []
        for call in (run, lambda x: layer(x, training=True)):
            layer.set_weights(start)
            results.append([call(x), *layer.get_weights()])
        for a, b in zip(*results, strict=True):
            assert_near("output or weight", a, b)


@pytest.mark.parametrize("arguments", [{}, {"axis": 1}, {"renorm": True}], ids=str)
def test_without_elements_nothing_moves(arguments):
    layer = BatchNormalization(**arguments, **RANDOM)
    layer.build((None, 3, 5))
    before = layer.get_weights()
    assert layer(tf.zeros((0, 3, 5)), training=True).shape == (0, 3, 5)
    if not arguments:
        y = layer(tf.ones((2, 3, 5)), training=True, mask=np.zeros((2, 3), bool))
        assert np.isfinite(y).all()
    for a, b in zip(layer.get_weights(), before, strict=True):
        assert_near("weight", a, b, 0.0)


def test_frozen_is_inference():
    x = draw((5, 3), "float32")
    layer = BatchNormalization(**RANDOM)
    expected = layer(x, training=False)
    layer.trainable = False
    before = layer.get_weights()
    assert_near("output", layer(x, training=True), expected, 0.0)
    for a, b in zip(layer.get_weights(), before, strict=True):
        assert_near("weight", a, b, 0.0)


def test_moving_averages_of_a_sixteen_bit_layer():
    """In bfloat16, 0.99 m + 0.01 x stops far from x: its steps are below half a digit."""
    x = tf.cast(10 + 3 * draw((512, 2)), "bfloat16")
    layer = BatchNormalization(dtype="bfloat16", momentum=0.99)
    layer.build(x.shape)
    run = tf.function(lambda: layer(x, training=True))
    for _ in range(600):
        y = run()
    assert y.dtype == tf.bfloat16
    assert {w.name: w.dtype for w in layer.weights} == {
        "gamma": "bfloat16",
        "beta": "bfloat16",
        "moving_mean": "float32",
        "moving_variance": "float32",
    }
    x = x.numpy().astype("float64")
    assert_near("moving_mean", layer.moving_mean.numpy(), x.mean(0), 5e-3)
    assert_near("moving_variance", layer.moving_variance.numpy(), x.var(0), 5e-3)


@pytest.mark.parametrize("mode", ["graph", "compiled"])
def test_a_large_mean_does_not_drown_the_variance(mode):
    x = draw((256, 4))
    layer = BatchNormalization(momentum=0.0)
    layer.build(x.shape)
    run = tf.function(lambda x: layer(x, training=True), jit_compile=mode == "compiled")
    y = run(tf.constant(x + 1000, "float32"))
    assert_near("output", y, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3), 1e-3)
    assert_near("moving_variance", layer.moving_variance, x.var(0).astype("float32"), 1e-3)


def test_fit_and_reload(tmp_path):
    x = draw((32, 4), "float32") * 3 + 5
    model = keras.Sequential([keras.Input((4,)), BatchNormalization(momentum=0.5)])
    model.compile("sgd", "mse")
    model.fit(x, x, epochs=10, batch_size=32, verbose=0)
    assert_near("moving_mean", model.layers[0].moving_mean.numpy(), x.mean(0), 2e-3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_near("output", loaded(x), model(x), 0.0)


def test_errors():
    for axis in (2, -3):
        with pytest.raises(ValueError, match=f"Axis {axis} is out of bounds for input shape"):
            BatchNormalization(axis=axis)(tf.zeros((2, 3)))
    with pytest.raises(ValueError, match="Axis -1 of the input must have a known size"):
        BatchNormalization()(keras.Input((None,)))
    with pytest.raises(ValueError, match="mask provided should be one dimension less than"):
        BatchNormalization()(tf.zeros((2, 3, 4)), mask=np.ones((2,), bool))
    with pytest.raises(ValueError, match="Received invalid keys"):
        BatchNormalization(renorm=True, renorm_clipping={"random_key": 1.0})
    layer = BatchNormalization()
    layer(tf.zeros((2, 3)))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(tf.zeros((2, 4)))


@pytest.mark.parametrize("part", range(3))
def test_a_broken_backward_is_seen(monkeypatch, part):
    def backward(dy, cache, **options):
        gradients = list(batch_norm.backward(dy, cache, **options))
        gradients[part] *= 1.001
        return gradients

    monkeypatch.setattr(module, "batch_norm", with_backward(batch_norm.forward, backward))
    with pytest.raises(AssertionError, match="gradient of"):
        check_backward(BatchNormalization(dtype="float64"), draw((5, 3)), training=True)


REPLICAS = """
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    from custom_layers import BatchNormalization
    from custom_layers.checks import assert_near
    from custom_layers.normalization.channels import sum_over_replicas

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    sums = strategy.run(lambda: sum_over_replicas(tf.constant(3.0)))  # not their mean
    assert [s.numpy() for s in strategy.experimental_local_results(sums)] == [6, 6]
    x = np.random.default_rng(0).standard_normal((8, 3, 4)).astype("float32") + 1
    x[:4] *= 3
    mask = np.random.default_rng(1).random((8, 3)) < 0.6

    def results(layer, x, mask):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True, mask=mask)
            loss = tf.reduce_sum(tf.sin(y) * x)
        return [y, *tape.gradient(loss, [x, *(w.value for w in layer.trainable_variables)])]

    def rows(array):
        def of(context):
            return tf.constant(array[4 * context.replica_id_in_sync_group :][:4])
        return strategy.experimental_distribute_values_from_function(of)

    for used in (None, mask):
        alone = BatchNormalization(momentum=0.5)
        expected = results(alone, tf.constant(x), used)
        with strategy.scope():
            layer = BatchNormalization(momentum=0.5, synchronized=True)
            layer.build(x.shape)
        arguments = (rows(x),) if used is None else (rows(x), rows(used))
        run = tf.function(lambda x, mask=None: results(layer, x, mask))
        parts = [strategy.experimental_local_results(r) for r in strategy.run(run, arguments)]
        for a, b in zip(parts[:2], expected[:2]):
            assert_near("output and dx", tf.concat(a, 0), b)
        for a, b in zip(parts[2:], expected[2:]):
            assert_near("dgamma and dbeta", a[0] + a[1], b)
        for a, b in zip(layer.weights, alone.weights):
            assert_near(a.name, a.numpy(), b.numpy())

    # Not synchronized: each replica its own statistics, and the mean of them moves the averages.
    with strategy.scope():
        model = keras.Sequential([keras.Input((3, 4)), BatchNormalization(momentum=0.5)])
        model.compile("sgd", "mse")
    model.fit(x, x, batch_size=8, shuffle=False, verbose=0)
    moving = model.layers[0].moving_mean
    copies = strategy.experimental_local_results(moving.value)
    assert len(copies) == 2
    assert_near("replica", copies[0].numpy(), copies[1].numpy(), 0.0)
    halves = x[:4].mean((0, 1)), x[4:].mean((0, 1))
    assert_near("moving_mean", copies[0].numpy(), 0.5 * np.mean(halves, 0))
"""


def test_replicas():
    """Two replicas, in a process of its own: the number of devices is fixed at the start."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REPLICAS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
