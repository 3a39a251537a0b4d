"""Global pooling: derivatives, ties, masks, and Keras's twins."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.gradients import with_backward
from custom_layers.pooling import global_pooling

RNG = np.random.default_rng(0)
SHAPES = {1: (3, 5, 2), 2: (2, 3, 5, 2), 3: (2, 3, 1, 5, 2)}
NAMES = [f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)]
MASK = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
MASKED = ["GlobalMaxPooling1D", "GlobalAveragePooling1D", "GlobalSumPooling1D"]
REDUCE = {
    "GlobalMaxPooling1D": np.max,
    "GlobalAveragePooling1D": np.mean,
    "GlobalSumPooling1D": np.sum,
}


def both_formats(x):
    return {"channels_last": x, "channels_first": np.moveaxis(x, -1, 1)}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", [*NAMES, "GlobalSumPooling1D"])
def test_backward(name, keepdims, data_format):
    layer = getattr(custom_layers, name)(data_format, keepdims, dtype="float64")
    x = RNG.standard_normal(SHAPES[layer.rank])
    check_backward(layer, both_formats(x)[data_format])
    check_backward(layer, both_formats(x[:0])[data_format])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_twin(name, keepdims, data_format):
    layer, twin = getattr(custom_layers, name), getattr(keras.layers, name)
    x = both_formats(RNG.integers(0, 3, SHAPES[layer.rank]).astype("float32"))[data_format]
    for dtype in ("float32", "mixed_bfloat16", "float16"):
        arguments = {"data_format": data_format, "keepdims": keepdims, "dtype": dtype}
        check_twin(layer, twin, arguments, x)


@pytest.mark.parametrize("name", NAMES)
def test_signature(name):
    check_signature(getattr(custom_layers, name), getattr(keras.layers, name))


def test_the_average_with_a_mask_is_that_of_keras():
    x = RNG.standard_normal((3, 5, 2)).astype("float32")
    for data_format, inputs in both_formats(x).items():
        arguments = {"data_format": data_format}
        pair = custom_layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling1D
        check_twin(*pair, arguments, inputs, mask=tf.constant(MASK))
    nothing = custom_layers.GlobalAveragePooling1D()(x, mask=tf.zeros((3, 5), tf.bool))
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_only_unmasked_steps_take_part(name, data_format):
    x = RNG.standard_normal((3, 5, 2))
    layer = getattr(custom_layers, name)(data_format, dtype="float64")
    y = layer(both_formats(x)[data_format], mask=tf.constant(MASK))
    for row in range(3):
        assert_near(f"row {row}", y[row], REDUCE[name](x[row, MASK[row]], 0))
    check_backward(layer, both_formats(x)[data_format], mask=tf.constant(MASK))


@pytest.mark.parametrize("name", MASKED)
def test_what_masked_steps_hold_does_not_matter(name):
    layer = getattr(custom_layers, name)()
    x = RNG.standard_normal((3, 5, 2)).astype("float32")
    expected = layer(x, mask=MASK)
    for junk in (1e30, np.nan, np.inf):
        spoiled = tf.constant(np.where(MASK[..., None], x, junk).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(spoiled)
            y = layer(spoiled, mask=MASK)
        assert_near("output", y, expected)
        slope = tape.gradient(y, spoiled).numpy()
        assert np.isfinite(slope).all()
        assert (slope[~MASK] == 0).all()


@pytest.mark.parametrize("name", ["GlobalMaxPooling1D", "GlobalSumPooling1D"])
def test_a_sequence_of_masked_steps_gives_zero(name):
    layer = getattr(custom_layers, name)(dtype="float64")
    x = RNG.standard_normal((3, 5, 2)) - 10
    mask = MASK & np.array([[True], [False], [True]])
    assert (layer(x, mask=mask)[1].numpy() == 0).all()
    check_backward(layer, x, mask=tf.constant(mask))


@pytest.mark.parametrize("name", MASKED)
def test_the_mask_of_an_embedding_arrives_and_ends(name):
    inputs = keras.Input((4,), dtype="int32")
    y = keras.layers.Embedding(5, 3, mask_zero=True)(inputs)
    pooled = getattr(custom_layers, name)()(y)
    assert getattr(pooled, "_keras_mask", None) is None
    model = keras.Model(inputs, [y, pooled])
    table, pooled = model.predict(np.array([[3, 1, 0, 0], [2, 0, 4, 1]]), verbose=0)
    assert_near("row 0", pooled[0], REDUCE[name](table[0, :2], 0))
    assert_near("row 1", pooled[1], REDUCE[name](table[1, [0, 2, 3]], 0))


@pytest.mark.parametrize("compiled", [False, True])
def test_ties_share_the_gradient(compiled):
    x = tf.constant([[[1.0], [3.0], [3.0], [2.0]]])
    layer = custom_layers.GlobalMaxPooling1D()

    @tf.function(jit_compile=compiled)
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return tape.gradient(y, x)

    assert slope(x)[0, :, 0].numpy().tolist() == [0, 0.5, 0.5, 0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_sums_do_not_stall(dtype, masked, compiled):
    x = tf.cast(RNG.uniform(0, 1, (2, 5000, 3)), dtype)
    mask = tf.ones((2, 5000), tf.bool) if masked else None
    for name in MASKED[1:]:
        layer = getattr(custom_layers, name)(dtype=dtype)
        y = tf.function(lambda x, f=layer: f(x, mask=mask), jit_compile=compiled)(x)
        assert y.dtype == dtype
        expected = REDUCE[name](np.asarray(x, "float64"), 1)
        assert_near(name, np.asarray(y, "float64"), expected, 4e-3)


def test_nan_comes_through():
    x = np.ones((1, 4, 2), "float32")
    x[0, 2, 1] = np.nan
    for name in MASKED:
        y = getattr(custom_layers, name)()(x).numpy()
        assert np.isnan(y[0, 1])
        assert y[0, 0] in (1, 4)


def test_integers():
    x = RNG.integers(0, 9, (2, 3, 4, 2), dtype="int32")
    y = custom_layers.GlobalAveragePooling2D()(x)
    assert_near("average", y, keras.layers.GlobalAveragePooling2D()(x))
    y = custom_layers.GlobalMaxPooling2D()(x)
    assert (y.numpy() == x.max((1, 2))).all()
    assert (
        custom_layers.MaxPooling2D(2)(x).numpy() == x[:, :2].reshape(2, 1, 2, 2, 2, 2).max((2, 4))
    ).all()


def test_built_at_once():
    assert all(getattr(custom_layers, name)().built for name in [*NAMES, "GlobalSumPooling1D"])


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`data_format` argument.*NHWC"):
        custom_layers.GlobalMaxPooling2D("NHWC")
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=4"):
        custom_layers.GlobalSumPooling1D()(tf.zeros((2, 3, 4, 5)))


@pytest.mark.parametrize("of", ["global_sum", "global_average", "global_max"])
def test_a_broken_backward_is_seen(of):
    forward = getattr(global_pooling, f"{of}_forward")
    right = getattr(global_pooling, f"{of}_backward")
    x, mask = RNG.standard_normal((3, 5, 2)), tf.constant(MASK[..., None])
    for mistake in (lambda g: 2 * g, lambda g: -g, lambda g: tf.roll(g, 1, 1)):

        def backward(dy, cache, *, mistake=mistake, **options):
            dx, dmask = right(dy, cache, **options)
            return mistake(dx), dmask

        wrong = with_backward(forward, backward)
        with pytest.raises(AssertionError, match="against autodiff"):
            check_backward(lambda x, w=wrong: w(x, mask, axes=[1]), x)


MODES = ["eager", "graph", "xla"]


def value_and_slope(layer, mode, x, mask=None):
    """y, and dx of Σ y."""

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x) if mask is None else layer(x, mask=mask)
        return y, tape.gradient(y, x)

    return (run if mode == "eager" else tf.function(run, jit_compile=mode == "xla"))(x)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, np.finfo("float32").min])
def test_what_counts_shows_and_what_is_masked_does_not(name, value, mode):
    """As numpy has it, of each channel alone; the gradient of what is masked is 0."""
    x = RNG.standard_normal((4, 5, 2)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    x[:, 1, 0] = value
    layer = getattr(custom_layers, name)()
    y, dx = value_and_slope(layer, mode, tf.constant(x), tf.constant(mask))
    for row in range(3):
        with np.errstate(all="ignore"):
            expected = REDUCE[name](x[row, mask[row]], 0)
        np.testing.assert_allclose(y[row], expected, rtol=1e-6)
    assert (dx.numpy()[~mask] == 0).all()
    assert (dx.numpy()[:3].sum(1) > 0).all()
    y, dx = value_and_slope(layer, mode, tf.constant(x))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y, REDUCE[name](x, 1), rtol=1e-6)
    assert (dx.numpy().sum(1) > 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_masked_maxima_get_no_gradient(mode):
    """A masked step that equals the maximum takes no share of its gradient."""
    x, mask = tf.constant([[[3.0], [3.0], [1.0], [3.0]]]), tf.constant([[True, False, True, True]])
    _, dx = value_and_slope(custom_layers.GlobalMaxPooling1D(), mode, x, mask)
    assert dx[0, :, 0].numpy().tolist() == [0.5, 0, 0, 0.5]


@pytest.mark.parametrize("mode", ["eager"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("count", [257, 50_000])
def test_counts_in_16_bits(count, masked, dtype, mode):
    """Neither the sum nor the number of what counts fits into 16 bits, the gradient does."""
    x = tf.ones((1, count, 1), dtype)
    mask = tf.ones((1, count), tf.bool) if masked else None
    for name in ("GlobalMaxPooling1D", "GlobalAveragePooling1D"):
        y, dx = value_and_slope(getattr(custom_layers, name)(dtype=dtype), mode, x, mask)
        assert float(y[0, 0]) == 1
        share = np.full(x.shape, 1 / count).astype(x.dtype.as_numpy_dtype)
        np.testing.assert_array_equal(dx, share)


RAGGED = {
    1: tf.RaggedTensor.from_row_lengths(RNG.standard_normal((4, 2)).astype("float32"), [1, 3]),
    2: tf.RaggedTensor.from_row_lengths(RNG.standard_normal((4, 3, 2)).astype("float32"), [3, 1]),
    3: tf.RaggedTensor.from_row_lengths(
        RNG.standard_normal((4, 2, 3, 2)).astype("float32"), [2, 2]
    ),
}


@pytest.mark.parametrize("name", [*NAMES, "GlobalSumPooling1D"])
def test_ragged_inputs(name):
    """The rows are pooled over what is there, as by Keras's layers."""
    layer = getattr(custom_layers, name)()
    x = RAGGED[layer.rank]
    y = layer(x)
    if name in NAMES:
        assert_near("y", y, getattr(keras.layers, name)()(x))
    for row in range(2):
        assert_near(f"row {row}", y[row], layer(x[row][tf.newaxis])[0])
    with pytest.raises(ValueError, match="ragged inputs only with their channels last"):
        getattr(custom_layers, name)("channels_first")(x)


@pytest.mark.parametrize("name", MASKED)
def test_ragged_inputs_in_a_model(name):
    ids = keras.Input((None,), dtype="int32", ragged=True)
    embedding = keras.layers.Embedding(5, 2)
    model = keras.Model(ids, getattr(custom_layers, name)()(embedding(ids)))
    model.compile("sgd", "mse")
    x = tf.ragged.constant([[1, 2], [3]])
    table = embedding.get_weights()[0]
    y = model.predict(x, verbose=0)
    for row, i in enumerate(([1, 2], [3])):
        assert_near(f"row {row}", y[row], REDUCE[name](table[i], 0))
    assert np.isfinite(model.fit(x, np.ones((2, 2)), verbose=0).history["loss"]).all()
    assert (embedding.get_weights()[0][4] == table[4]).all()
    assert (embedding.get_weights()[0][0] == table[0]).all()
