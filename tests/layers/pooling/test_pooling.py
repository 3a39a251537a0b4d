"""Pooling: derivatives, ties, NaN, Keras's twins, and windows counted cell by cell."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.convolutional import windows
from custom_layers.gradients import with_backward
from custom_layers.pooling import pooling

RNG = np.random.default_rng(0)
FIRST = {"data_format": "channels_first"}
KINDS = ["Max", "Average"]
CASES = [
    # input shape (channels last), arguments
    ((2, 7, 3), {"pool_size": 2}),
    ((1, 5, 2), {"pool_size": 3, "strides": 2, "padding": "same"}),
    ((2, 5, 2), {"pool_size": 2, "strides": 1, **FIRST}),
    ((2, 5, 7, 3), {"pool_size": 2}),
    ((2, 5, 7, 2), {"pool_size": (3, 2), "strides": (1, 3), "padding": "same"}),
    ((1, 4, 5, 2), {"pool_size": 3, "strides": 1, "padding": "same", **FIRST}),
    ((2, 2, 3, 2), {"pool_size": (2, 3)}),  # one window
    ((0, 5, 4, 2), {"pool_size": 2}),
    ((2, 3, 5, 4, 2), {"pool_size": 2}),
    ((1, 3, 4, 2, 2), {"pool_size": (3, 2, 1), "strides": (1, 2, 2), "padding": "same"}),
    ((1, 4, 3, 5, 2), {"pool_size": (2, 1, 3), "strides": (3, 1, 2), **FIRST}),
]


def make(kind, case):
    shape, arguments = case
    name = f"{kind}Pooling{len(shape) - 2}D"
    if arguments.get("data_format") == "channels_first":
        shape = (shape[0], shape[-1], *shape[1:-1])
    # Distinct values far apart: a difference quotient must not cross a tie.
    x = RNG.permutation(np.prod(shape)).reshape(shape) / 7 - 3
    return getattr(custom_layers, name), getattr(keras.layers, name), arguments, x


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_backward(kind, case):
    layer, _, arguments, x = make(kind, case)
    check_backward(layer(**arguments, dtype="float64"), x)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_twin(kind, case):
    layer, twin, arguments, x = make(kind, case)
    check_twin(layer, twin, arguments, x.astype("float32"))


@pytest.mark.parametrize("case", [CASES[1], CASES[3], CASES[5]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "mixed_bfloat16"])
def test_twin_in_other_dtypes(kind, case, dtype):
    layer, twin, arguments, x = make(kind, case)
    check_twin(layer, twin, {**arguments, "dtype": dtype}, x)


@pytest.mark.parametrize("name", [f"{kind}Pooling{r}D" for kind in KINDS for r in (1, 2, 3)])
def test_signature(name):
    check_signature(getattr(custom_layers, name), getattr(keras.layers, name))


def slow(x, kind, window, strides, padding):
    """Window by window: (y, dx for dy = 1, 2, 3, ...) of x (n...)."""
    axes = list(zip(x.shape, window, strides, strict=True))
    lengths = [windows.output_length(n, k, s, padding) for n, k, s in axes]
    before = [windows.pads(n, k, s, padding)[0] for n, k, s in axes]
    y, dx = np.zeros(lengths), np.zeros(x.shape)
    for dy, p in enumerate(itertools.product(*map(range, lengths)), start=1):
        cells = []
        for t in itertools.product(*map(range, window)):
            q = tuple(i * s + j - b for i, j, s, b in zip(p, t, strides, before, strict=True))
            if all(0 <= i < n for i, n in zip(q, x.shape, strict=True)):
                cells.append(q)
        if kind == "Max":
            best = max(cells, key=lambda q: x[q])  # the first of equals
            y[p] = x[best]
            dx[best] += dy
        else:
            y[p] = np.mean([x[q] for q in cells])
            for q in cells:
                dx[q] += dy / len(cells)
    return y, dx


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("sizes", [(7,), (5, 6), (4, 3, 5)], ids=str)
def test_windows_counted_one_by_one(sizes, padding, kind, compiled):
    """Few different values, so that almost every window has ties."""
    rank = len(sizes)
    window, strides = (2, 3, 2)[:rank], (1, 2, 2)[:rank]
    x = RNG.integers(0, 3, sizes).astype("float32")
    layer = getattr(custom_layers, f"{kind}Pooling{rank}D")(window, strides, padding)

    @tf.function(jit_compile=compiled)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            dy = tf.reshape(tf.range(1, tf.size(y) + 1), y.shape)
            loss = tf.reduce_sum(y * tf.cast(dy, y.dtype))
        return y, tape.gradient(loss, x)

    y, dx = run(tf.constant(x[None, ..., None]))
    expected_y, expected_dx = slow(x, kind, window, strides, padding)
    assert_near("y", y[0, ..., 0], expected_y)
    assert_near("dx", dx[0, ..., 0], expected_dx)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_second_order_in_graphs(kind, compiled):
    """Keras's MaxPooling has no second derivative where XLA compiles it."""
    layer = getattr(custom_layers, f"{kind}Pooling2D")(2, 1, "same")
    x = tf.constant(RNG.permutation(40).reshape((1, 4, 5, 2)) / 7.0, tf.float32)

    def curvature(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(tf.sin(layer(x)))
            slope = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(slope, x)

    assert_near("gradient", tf.function(curvature, jit_compile=compiled)(x), curvature(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_nan_is_not_passed_over(kind, compiled, dtype):
    x = np.ones((1, 4, 4, 3))
    x[0, 0, 1, 0] = x[0, 2:, 2:, 1] = np.nan
    layer = getattr(custom_layers, f"{kind}Pooling2D")(2, dtype=dtype)
    y = np.asarray(tf.function(layer, jit_compile=compiled)(tf.cast(x, dtype)), "float64")
    expected = np.ones((1, 2, 2, 3))
    expected[0, 0, 0, 0] = expected[0, 1, 1, 1] = np.nan
    assert_near("output", y, expected)


def test_what_is_exported_does_not_look_for_nan(tmp_path):
    """It takes the format's own kernel; the model itself goes on looking."""
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, custom_layers.MaxPooling2D()(inputs))
    x = tf.constant([[np.nan, 1], [2, 3]])[None, :, :, None]
    x = tf.tile(x, (1, 2, 2, 1))
    model.export(tmp_path, verbose=False)
    loaded = tf.saved_model.load(tmp_path)
    assert_near("exported", loaded.serve(x), np.full((1, 2, 2, 1), 3.0))
    graph = loaded.signatures["serving_default"].graph.as_graph_def()
    names = {node.op for f in graph.library.function for node in f.node_def}
    assert "MaxPool" in names
    assert not names & {"IsNan", "AvgPool", "Max", "Min"}
    for y in (model(x), model.predict(x, verbose=0)):
        assert np.isnan(y).all()


def test_the_gradient_of_nan_has_a_place():
    """Its way back is the first NaN under XLA; nothing is said of it elsewhere."""
    x = tf.constant([[[1.0], [np.nan], [np.nan], [2.0]]])

    @tf.function(jit_compile=True)
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = custom_layers.MaxPooling1D(4)(x)
        return tape.gradient(y, x)

    np.testing.assert_array_equal(slope(x)[0, :, 0], [0, 1, 0, 0])


def test_windows_of_many_cells():
    """Above 32 cells XLA has TensorFlow's kernels too: the places of the maxima are the same."""
    x = tf.constant(RNG.permutation(7 * 13).reshape((1, 7, 13, 1)), tf.float32)
    layer = custom_layers.MaxPooling2D((5, 7), (2, 3))

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.square(layer(x))
        return tape.gradient(y, x)

    assert_near("gradient", tf.function(slope, jit_compile=True)(x), slope(x))


def test_infinities():
    x = np.array([np.inf, -np.inf, -1, -np.inf, 3e38, 3e38, np.nan, -np.inf], "float32")
    y = custom_layers.MaxPooling1D()(x[None, :, None])
    np.testing.assert_array_equal(y[0, :, 0], np.array([np.inf, -1, 3e38, np.nan], "float32"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_three_dimensions_in_every_dtype(kind, dtype):
    """Keras's layers know float32 and, in part, bfloat16."""
    x = RNG.standard_normal((2, 3, 4, 5, 2))
    layer = getattr(custom_layers, f"{kind}Pooling3D")
    y = layer(2, padding="same", dtype=dtype)(x)
    expected = layer(2, padding="same")(x.astype("float32"))
    assert y.dtype == dtype
    assert_near("output", np.asarray(y, "float64"), expected, 1e-2)


def test_strides_default_to_the_window():
    for name, layer in vars(custom_layers).items():
        if "Pooling" in name and "Global" not in name and "Graph" not in name:
            assert layer(pool_size=3).strides == layer(pool_size=3).pool_size


def test_built_at_once_and_a_subclass_builds_itself():
    assert custom_layers.MaxPooling2D().built

    class Counting(custom_layers.MaxPooling2D):
        def build(self, input_shape):
            self.seen = input_shape

    layer = Counting()
    assert not layer.built
    layer(tf.zeros((1, 2, 2, 1)))
    assert layer.seen == (1, 2, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool_size": 0}, r"`pool_size` argument must be a tuple of 2.*\{0\}"),
        ({"pool_size": (2, 2, 2)}, r"Received pool_size=\(2, 2, 2\)"),
        ({"strides": (1, -1)}, r"`strides` argument.*Received strides=\(1, -1\)"),
        ({"padding": "causal"}, "`padding` argument.*causal"),
        ({"data_format": "NHWC"}, "`data_format` argument.*NHWC"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        custom_layers.MaxPooling2D(**arguments)


def test_wrong_inputs():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        custom_layers.MaxPooling2D()(tf.zeros((2, 5, 3)))
    with pytest.raises(ValueError, match="output size would be zero or negative"):
        custom_layers.AveragePooling2D(3)(keras.Input((2, 5, 3)))
    with pytest.raises(ValueError, match="output size would be zero or negative"):
        custom_layers.MaxPooling1D(3)(tf.zeros((1, 2, 1)))


@pytest.mark.parametrize("of", ["max_pool", "average_pool"])
def test_a_broken_backward_is_seen(monkeypatch, of):
    forward, right = getattr(pooling, f"{of}_forward"), getattr(pooling, f"{of}_backward")
    x = RNG.permutation(60).reshape((1, 5, 6, 2)) / 7
    for mistake in (lambda g: 2 * g, lambda g: g[:, ::-1], lambda g: tf.roll(g, 1, 2)):
        wrong = with_backward(
            forward, lambda dy, c, m=mistake, **options: m(right(dy, c, **options))
        )
        with pytest.raises(AssertionError, match="against autodiff"):
            check_backward(
                lambda x, w=wrong: pooling.pool(w, x, (2, 2), (2, 2), "valid"), tf.constant(x)
            )


def test_the_flow_of_a_convnet():
    """64 images of 28 x 28, through a convolution and a pooling, in both data formats."""
    images = RNG.standard_normal((64, 1, 28, 28)).astype("float32")
    weights = None
    results = {}
    for data_format in ("channels_first", "channels_last"):
        x = images if data_format == "channels_first" else np.moveaxis(images, 1, -1)
        convolution = custom_layers.Conv2D(16, 3, padding="same", data_format=data_format)
        pool = custom_layers.MaxPooling2D(2, data_format=data_format)
        convolution.build(x.shape)
        weights = weights or convolution.get_weights()
        convolution.set_weights(weights)
        y = convolution(x)
        results[data_format] = y, pool(y)
    first, last = results["channels_first"], results["channels_last"]
    assert [y.shape for y in first] == [(64, 16, 28, 28), (64, 16, 14, 14)]
    assert [y.shape for y in last] == [(64, 28, 28, 16), (64, 14, 14, 16)]
    for a, b in zip(first, last, strict=True):
        assert_near("output", np.moveaxis(a, 1, -1), b)


LAYERS = [f"{kind}Pooling{rank}D" for kind in KINDS for rank in (1, 2, 3)]
MODES = ["eager", "graph", "xla"]


def value_and_slope(layer, mode, x):
    """y, and dx of Σ y."""

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return y, tape.gradient(y, x)

    return (run if mode == "eager" else tf.function(run, jit_compile=mode == "xla"))(x)


@pytest.mark.parametrize("mode", ["eager"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("many", [False, True])
def test_extreme_values(rank, many, mode):
    """The maximum is numpy's, NaN and infinities included, also of windows above 32 cells."""
    k = {1: 40, 2: 6, 3: 4}[rank] if many else 2
    lowest = np.finfo("float32").min
    values = [3e38, -3e38, np.inf, -np.inf, np.nan, 1.0, -0.0, 0.0, 1e-40, lowest]
    sets = [(a, b) for a in values for b in values]
    x = np.stack([RNG.choice(pair, k**rank) for pair in sets]).astype("float32")
    y, dx = value_and_slope(
        getattr(custom_layers, f"MaxPooling{rank}D")(k),
        mode,
        tf.constant(x.reshape(-1, *(k,) * rank, 1)),
    )
    np.testing.assert_allclose(np.reshape(y, -1), x.max(1), rtol=0, atol=1e-39)
    np.testing.assert_array_equal(np.reshape(dx, (len(sets), -1)).sum(1), 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_padding_takes_no_part(kind, mode):
    """Of numbers below 0, a padding of 0 would be the maximum."""
    x = -1 - RNG.random((1, 5, 5, 2)).astype("float32")
    layer, twin = (
        getattr(m, f"{kind}Pooling2D")(3, 2, "same") for m in (custom_layers, keras.layers)
    )
    assert_near("y", value_and_slope(layer, mode, tf.constant(x))[0], twin(x))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_second_derivative_at_ties(compiled):
    """It belongs to the first of equal maxima, where the gradient goes."""
    x = tf.constant([[[3.0], [3.0], [1.0], [2.0], [2.0], [2.0]]])
    layer = custom_layers.MaxPooling1D(3)

    @tf.function(jit_compile=compiled)
    def curvature(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(layer(x) ** 3)
            slope = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(slope, x)

    # Σ y³ -> 3 y² at the first maximum; its square 9 y⁴ -> 36 y³
    np.testing.assert_allclose(curvature(x)[0, :, 0], [972, 0, 0, 288, 0, 0])


@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch_of_unknown_sizes(name):
    layer = getattr(custom_layers, name)(2)
    spec = tf.TensorSpec([None] * (layer.rank + 2))
    run = tf.function(lambda x: value_and_slope(layer, "eager", x), input_signature=[spec])
    y, dx = run(tf.zeros((0, *(4,) * layer.rank, 3)))
    assert (y.shape[0], dx.shape[0]) == (0, 0)


@pytest.mark.parametrize("mode", ["eager"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_50000_ones_in_16_bits(kind, dtype, mode):
    """Of one window, and back from many windows that hold one maximum."""
    layer = getattr(custom_layers, f"{kind}Pooling1D")
    y, dx = value_and_slope(layer(50_000, dtype=dtype), mode, tf.ones((1, 50_000, 1), dtype))
    assert y.dtype == dx.dtype == dtype
    assert float(y[0, 0, 0]) == 1
    assert_near("Σ dx", tf.reduce_sum(tf.cast(dx, "float64")), 1.0, 4e-3)
    if kind == "Max" and mode != "xla":  # 5,000 windows of 5,000 cells, all with x[4999]
        x = np.zeros((1, 9_999, 1), "float32")
        x[0, 4_999] = 1
        _, dx = value_and_slope(layer(5_000, 1, dtype=dtype), mode, tf.cast(x, dtype))
        assert_near("dx", float(dx[0, 4_999, 0]), 5_000.0, 4e-3)


def test_check_numerics():
    """No constant of NaN or infinity stands in the graph of ordinary numbers, of any derivative."""
    tf.debugging.enable_check_numerics()
    try:
        x = tf.constant(RNG.standard_normal((1, 5, 6, 1)), tf.float16)
        for layer in (
            custom_layers.MaxPooling2D(3, 2, "same", dtype="float16"),
            custom_layers.AveragePooling2D(3, 2, "same", dtype="float16"),
            custom_layers.GlobalMaxPooling2D(dtype="float16"),
            custom_layers.GlobalAveragePooling2D(dtype="float16"),
        ):

            def curvature(x, layer=layer):
                with tf.GradientTape() as outer:
                    outer.watch(x)
                    with tf.GradientTape() as inner:
                        inner.watch(x)
                        y = tf.reduce_sum(layer(x) ** 2)
                    slope = tf.reduce_sum(inner.gradient(y, x) ** 2)
                return outer.gradient(slope, x)

            assert_near("graph", tf.function(curvature)(x), curvature(x))
        mask, x = tf.constant([[True, False], [False, False]]), tf.ones((2, 2, 1))
        for layer in (custom_layers.GlobalMaxPooling1D(), custom_layers.GlobalSumPooling1D()):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.function(layer)(x, mask=mask)
            assert tape.gradient(y, x).shape == x.shape
    finally:
        tf.debugging.disable_check_numerics()


def test_integers_of_numpy():
    layer = custom_layers.MaxPooling2D(np.int64(2), np.int32(1))
    assert layer(tf.ones((1, 4, 4, 1))).shape == (1, 3, 3, 1)
    assert layer.get_config() == custom_layers.MaxPooling2D(2, 1, name=layer.name).get_config()


@pytest.mark.parametrize("name", LAYERS)
def test_the_pool_mode_is_that_of_keras(name):
    pair = (getattr(module, name)(2) for module in (custom_layers, keras.layers))
    assert len({layer.pool_mode for layer in pair}) == 1
