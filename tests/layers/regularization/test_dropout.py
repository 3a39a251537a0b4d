"""Dropout: the masks are random enough, the same in every mode, and the gradient uses them."""

import functools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import Dropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.regularization.dropout import dropout, next_seed, random_mask, random_words

TWINS = [Dropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D]
DRAWS = 10_000_000


def seed(first=7, second=0):
    return tf.constant([first, second], tf.int64)


def mask(shape, rate=0.5, first=7, second=0):
    return random_mask(seed(first, second), shape, rate).numpy()


# The layer


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (0, 3), (2, 3, 5), (3,), (2, 600)], ids=str)
@pytest.mark.parametrize("rate", [0, 0.3, 1])
def test_backward(shape, rate):
    x = np.random.default_rng(0).standard_normal(shape)
    check_backward(lambda x: dropout(x, seed(), rate=rate), x)
    check_backward(Dropout(rate, dtype="float64"), x, training=False)


@pytest.mark.parametrize("noise_shape", [(None, 1, None), (4, 1, 1), (1, None, 3), (3,)], ids=str)
def test_backward_of_shared_noise(noise_shape):
    x = np.random.default_rng(0).standard_normal((4, 5, 3))
    if len(noise_shape) == 1:
        noise_shape = (3,)
    check_backward(lambda x: dropout(x, seed(), rate=0.4, noise_shape=noise_shape), x)


@pytest.mark.parametrize(
    ("ours", "arguments", "shape"),
    [
        (Dropout, {"rate": 0.3}, (4, 5)),
        (Dropout, {"rate": 0.0, "seed": 3}, (4,)),
        (Dropout, {"rate": 1, "noise_shape": [None, 1], "dtype": "mixed_float16"}, (4, 5)),
        (SpatialDropout1D, {"rate": 0.3, "seed": 1}, (2, 3, 4)),
        (SpatialDropout2D, {"rate": 0.3, "data_format": "channels_first"}, (2, 3, 4, 5)),
        (SpatialDropout2D, {"rate": 0.3, "dtype": "bfloat16"}, (2, 3, 4, 5)),
        (SpatialDropout3D, {"rate": 0.3}, (2, 3, 4, 5, 6)),
        (SpatialDropout3D, {"rate": 0.0, "data_format": "channels_first"}, (2, 3, 4, 5, 6)),
    ],
    ids=str,
)
def test_twin(ours, arguments, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    twin = getattr(keras.layers, ours.__name__)
    check_twin(ours, twin, arguments, x)
    assert twin(**arguments).built
    assert ours(**arguments).built
    if arguments["rate"] in (0, 1):
        check_twin(ours, twin, arguments, x, training=True)


@pytest.mark.parametrize("ours", TWINS)
def test_signature(ours):
    check_signature(ours, getattr(keras.layers, ours.__name__))


def test_mixed_precision_survives_the_config():
    """Keras's spatial dropouts write down float32 here."""
    layer = SpatialDropout1D(0.2, dtype="mixed_bfloat16")
    assert SpatialDropout1D.from_config(layer.get_config()).compute_dtype == "bfloat16"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_kept_entries_are_scaled(dtype):
    x = tf.ones((50, 40), dtype)
    y = Dropout(0.25, dtype=dtype)(x, training=True)
    assert y.dtype == dtype
    y = np.asarray(y, "float64")
    expected = float(tf.cast(tf.constant(1 / 0.75, dtype), "float64"))
    assert set(np.unique(y)) == {0, expected}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_mask_does_not_depend_on_the_dtype(dtype):
    y = dropout(tf.ones((30, 40), dtype), seed(), rate=0.3)
    assert (np.asarray(y != 0) == mask((30, 40), 0.3)).all()


def test_rates_at_the_ends():
    x = tf.ones((3, 4))
    assert (Dropout(1)(x, training=True).numpy() == 0).all()
    assert Dropout(0)(x, training=True) is not None
    assert not hasattr(Dropout(0), "seed_generator")
    assert mask((1000,), 1 - 1e-12).sum() == 0
    assert mask((1000,), 1e-12).sum() == 1000


def test_a_dropped_nan_is_gone():
    x = tf.fill((64, 64), np.nan)
    y = dropout(x, seed(), rate=0.5).numpy()
    assert (np.isnan(y) == mask((64, 64))).all()


def test_seed_and_calls():
    x = tf.ones((20, 30))
    one, two = Dropout(0.5, seed=3), Dropout(0.5, seed=3)
    first, second = one(x, training=True), one(x, training=True)
    assert (first.numpy() == two(x, training=True).numpy()).all()
    assert (second.numpy() == two(x, training=True).numpy()).all()
    assert (first.numpy() != second.numpy()).any()
    assert (first.numpy() != Dropout(0.5, seed=4)(x, training=True).numpy()).any()
    assert (one(x).numpy() == 1).all()  # inference draws nothing
    assert one.seed_generator.state.numpy()[1] == 2


def test_a_loaded_model_starts_from_the_seed(tmp_path):
    """As with Keras's layer: the file holds the seed, not how often it was drawn from."""
    x = np.ones((20, 30), "float32")
    model = keras.Sequential([keras.Input((30,)), Dropout(0.5, seed=3)])
    first = model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_near("mask", loaded(x, training=True), first, 0.0)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (2, 1024), (7, 3, 409), (0, 4)], ids=str)
def test_the_same_mask_in_every_mode(shape, compiled):
    @tf.function(jit_compile=compiled)
    def run(x, seed):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = dropout(x, seed, rate=0.4)
        return y, tape.gradient(y, x)

    x = tf.ones(shape)
    y, dx = run(x, seed())
    assert (y.numpy() == dropout(x, seed(), rate=0.4).numpy()).all()
    assert (dx.numpy() == y.numpy()).all()


def test_unknown_shape():
    @tf.function(input_signature=[tf.TensorSpec((None, 3, None))])
    def run(x):
        return dropout(x, seed(), rate=0.4, noise_shape=(None, 1, None))

    y = run(tf.ones((4, 3, 5))).numpy()
    assert (y == y[:, :1]).all()
    assert (y[:, 0] != 0).tolist() == mask((4, 5), 0.4).tolist()


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (SpatialDropout1D(0.5), (9, 4, 8), (1,)),
        (SpatialDropout2D(0.5), (9, 4, 3, 8), (1, 2)),
        (SpatialDropout2D(0.5, data_format="channels_first"), (9, 8, 4, 3), (2, 3)),
        (SpatialDropout3D(0.5), (9, 4, 3, 2, 8), (1, 2, 3)),
        (SpatialDropout3D(0.5, data_format="channels_first"), (9, 8, 4, 3, 2), (2, 3, 4)),
    ],
)
def test_spatial_dropout_drops_whole_channels(layer, shape, axes):
    y = layer(tf.ones(shape), training=True).numpy()
    assert (y.min(axes) == y.max(axes)).all()
    assert 0.25 < (y != 0).mean() < 0.75  # of 72 channels
    with pytest.raises(ValueError, match="expected ndim"):
        layer(tf.ones(shape[1:]))


def test_masks_of_sequences_pass():
    layer = Dropout(0.5)
    x = keras.layers.Masking()(np.array([[[1.0], [0.0]]], "float32"))
    assert keras.src.backend.get_keras_mask(layer(x)).numpy().tolist() == [[True, False]]


@pytest.mark.parametrize("rate", [-0.5, 1.5])
def test_wrong_rate(rate):
    with pytest.raises(ValueError, match=f"`rate`. Expected a float value .* rate={rate}"):
        Dropout(rate)


@pytest.mark.parametrize(
    ("noise_shape", "message"),
    [
        ("abc", "Expected a tuple or list of integers"),
        (3, "Expected a tuple or list of integers"),
        ((2, 1.5), "integers or None. Received element at index 1: 1.5"),
        ((2, 0), "positive integers or None. Received at index 1: 0"),
        ((-2, 1), "positive integers or None. Received at index 0: -2"),
    ],
)
def test_wrong_noise_shape(noise_shape, message):
    with pytest.raises(ValueError, match=message):
        Dropout(0.5, noise_shape=noise_shape)


def test_wrong_inputs():
    with pytest.raises(ValueError, match="must be floating point. Received: dtype=int32"):
        Dropout(0.5)(tf.ones((2, 3), tf.int32), training=True)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        dropout(tf.ones((1, 5)), seed(), rate=0.5, noise_shape=(3, 5))
    with pytest.raises(ValueError, match="data_format"):
        SpatialDropout2D(0.5, data_format="middle")


# The random numbers. Nothing here is left to chance, the seeds are fixed: bounds of 5 standard
# deviations are those that a sound generator meets but once in a million seeds.


def within(z, sigmas=5.0):
    """Are these standardized numbers, of which there may be many, as small as normal ones?"""
    z = np.abs(z)
    return z.max() < sigmas + np.sqrt(2 * np.log(max(1, z.size)))


@pytest.mark.parametrize("rate", [0.003, 0.1, 0.5, 0.9])
def test_keep_probability(rate):
    """Mean over 10 million draws, of each column of the grid, and of each row."""
    keep = mask((DRAWS,), rate)
    spread = np.sqrt(rate * (1 - rate))
    assert within((keep.mean() - (1 - rate)) / spread * np.sqrt(DRAWS))
    grid = keep[: DRAWS // 1024 * 1024].reshape(-1, 1024)
    for axis in (0, 1):
        z = (grid.mean(axis) - (1 - rate)) / spread * np.sqrt(grid.shape[axis])
        assert within(z)
        # The means scatter as they should: neither all alike nor too far apart. The variance of a
        # sample variance is 2 / n for normal z, and a bit more for skew ones (small rates).
        kurtosis = 2 + (1 / spread**2 - 6) / grid.shape[axis]
        assert within((z.var() - 1) / np.sqrt(kurtosis / z.size))


def chi_square(counts, expected):
    """Pearson's statistic, standardized: about normal for many cells."""
    cells = counts.size - 1
    return (((counts - expected) ** 2 / expected).sum() - cells) / np.sqrt(2 * cells)


@functools.cache
def words(count, first=7, second=0):
    return random_words(seed(first, second), tf.constant(count, tf.int64)).numpy().ravel()[:count]


def test_words_are_uniform():
    """The upper and the lower 16 bits of 10 million words fill 65,536 cells evenly."""
    w = words(DRAWS)
    for part in (w >> 16, w & 0xFFFF):
        counts = np.bincount(part, minlength=65536)
        assert abs(chi_square(counts, DRAWS / 65536)) < 5


@pytest.mark.parametrize("shift", [1, 2, 64, 1023, 1024, 1025, 65536, 1024 * 1000])
def test_pairs_of_positions_are_independent(shift):
    """The upper bytes of two words some positions apart fill 65,536 cells evenly."""
    w = words(DRAWS) >> 24
    pairs = w[:-shift] * 256 + w[shift:]
    assert abs(chi_square(np.bincount(pairs, minlength=65536), pairs.size / 65536)) < 5


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 512), (2, 3), (64, 8), (1000, 513)])
def test_corners_of_rectangles_are_independent(rows, columns):
    """The weak spot of tabulation: the upper nibbles of four corners fill 65,536 cells evenly."""
    w = (words(DRAWS // 1024 * 1024) >> 28).reshape(-1, 1024)
    corners = [w[:-rows, :-columns], w[:-rows, columns:], w[rows:, :-columns], w[rows:, columns:]]
    cells = ((corners[0] * 16 + corners[1]) * 16 + corners[2]) * 16 + corners[3]
    counts = np.bincount(cells.ravel(), minlength=65536)
    assert abs(chi_square(counts, cells.size / 65536)) < 5


@pytest.mark.parametrize("other", [(7, 1), (7, 1000), (8, 0), (7, 2**40)])
def test_calls_and_seeds_and_replicas_are_independent(other):
    """The next call, another seed, another replica: the pair of words at one position."""
    a, b = words(DRAWS) >> 24, words(DRAWS, *other) >> 24
    counts = np.bincount(a * 256 + b, minlength=65536)
    assert abs(chi_square(counts, DRAWS / 65536)) < 5
    # Nor is one mask the other one shifted: all shifts at once, by Fourier transform.
    a, b = (mask((2**20,), 0.5, *s) * 2.0 - 1 for s in ((7, 0), other))
    correlation = np.fft.irfft(np.fft.rfft(a) * np.conj(np.fft.rfft(b))) / np.sqrt(a.size)
    assert within(correlation, 2)


def test_a_mask_is_not_periodic():
    """The correlation of a mask with itself at all shifts at once."""
    a = mask((2**20,)) * 2.0 - 1
    correlation = np.fft.irfft(np.abs(np.fft.rfft(a)) ** 2)[1 : a.size // 2] / np.sqrt(a.size)
    assert within(correlation, 2)


def test_rank_of_a_mask():
    """A mask made of row and column words must not be a matrix of low rank, modulo 2 or over R."""
    a = mask((512, 512))
    singular = np.linalg.svd(a * 2.0 - 1, compute_uv=False) / np.sqrt(512)
    assert abs(singular[0] - 2) < 0.06  # the edge of Marchenko and Pastur's law
    bits = [int("".join("01"[x] for x in row), 2) for row in a.astype(int)]
    rank = 0
    while bits:
        pivot = bits.pop()
        if pivot:
            rank += 1
            low = pivot & -pivot
            bits = [b ^ pivot if b & low else b for b in bits]
    assert rank >= 512 - 4  # a random matrix lacks 5 or more once in 2^25 times


def test_counts_of_many_calls():
    """Small masks over many steps: each position and each step is fair."""
    draw = tf.function(
        lambda step: random_mask(tf.stack([tf.constant(5, tf.int64), step]), (50,), 0.3)
    )
    keep = np.stack([draw(tf.constant(step, tf.int64)) for step in range(2000)])
    spread = np.sqrt(0.3 * 0.7)
    for axis in (0, 1):
        z = (keep.mean(axis) - 0.7) / spread * np.sqrt(keep.shape[axis])
        assert within(z, 3)
    assert len({row.tobytes() for row in keep}) == 2000


def test_steps_have_keys_of_their_own():
    firsts = {words(2, 7, step).tobytes() for step in range(300)}
    assert len(firsts) == 300


REPLICAS = """
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], 3 * [tf.config.LogicalDeviceConfiguration()])
import custom_layers
strategy = tf.distribute.MirroredStrategy(
    ["CPU:0", "CPU:1", "CPU:2"], cross_device_ops=tf.distribute.ReductionToOneDevice())
with strategy.scope():
    model = keras.Sequential([keras.Input((64,)), custom_layers.Dropout(0.5, seed=1)])
run = tf.function(lambda: strategy.run(lambda: model(tf.ones((2, 64)), training=True)))
masks = [part.numpy() for _ in range(2) for part in strategy.experimental_local_results(run())]
assert len(masks) == 6
for i, a in enumerate(masks):
    assert 0.25 < (a != 0).mean() < 0.75
    for b in masks[:i]:
        assert (a != b).mean() > 0.25, i
plain = custom_layers.Dropout(0.5, seed=1)
assert (plain(tf.ones((2, 64)), training=True).numpy() == masks[0]).all()
"""


def test_each_replica_has_its_own_mask():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, "-c", REPLICAS], check=True, env=environment)


def test_next_seed_counts():
    generator = keras.random.SeedGenerator(5)
    assert [next_seed(generator).numpy().tolist() for _ in range(2)] == [[5, 0], [5, 1]]
