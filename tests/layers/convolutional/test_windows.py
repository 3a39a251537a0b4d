"""Windows: lengths, pads and shapes, against counting cell by cell and against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.convolutional import windows

CASES = [
    (n, k, s, d)
    for n in (1, 2, 5, 7, 12)
    for k in (1, 2, 3, 5)
    for s, d in ((1, 1), (2, 1), (3, 1), (5, 1), (1, 2), (1, 3))
]


def count(n, k, s, d, before, after):
    """The windows that fit, counted."""
    cells = before + n + after
    return sum(1 for start in range(0, cells, s) if start + d * (k - 1) < cells)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_lengths_are_the_windows_that_fit(padding):
    for n, k, s, d in CASES:
        before, after = windows.pads(n, k, s, padding, d)
        if n + before + after >= windows.extent(k, d):
            assert windows.output_length(n, k, s, padding, d) == count(n, k, s, d, before, after)


def test_same_pads_after_rather_than_before():
    for n, k, s, d in CASES:
        before, after = windows.pads(n, k, s, "same", d)
        assert 0 <= after - before <= 1
        dynamic = windows.pads(tf.constant(n), k, s, "same", d)
        assert [int(pad) for pad in dynamic] == [before, after]


def test_same_pads_are_those_of_the_kernel():
    """A window of ones over ones counts the cells inside: TensorFlow's padding made visible."""
    for n, k, s, _ in CASES:
        before, after = windows.pads(n, k, s, "same")
        x = tf.ones((1, n, 1))
        kernel = tf.ones((k, 1, 1))
        ours = tf.nn.conv1d(tf.pad(x, [[0, 0], [before, after], [0, 0]]), kernel, s, "VALID")
        theirs = tf.nn.conv1d(x, kernel, s, "SAME")
        assert (ours.numpy() == theirs.numpy()).all()


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_transposed_length_is_undone_by_output_length(padding):
    for n, k, s, d in CASES:
        if s == 1 or d == 1:
            long = windows.transposed_length(n, k, s, padding, None, d)
            assert windows.output_length(long, k, s, padding, d) == n


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("output_padding", [None, 0, 1])
def test_transposed_length_is_that_of_keras(padding, output_padding):
    for n, k, s, d in CASES:
        if output_padding is not None and output_padding >= s:
            continue
        layer = keras.layers.Conv1DTranspose(
            1, k, s, padding, output_padding=output_padding, dilation_rate=d
        )
        ours = windows.transposed_length(n, k, s, padding, output_padding, d)
        assert ours == layer.compute_output_shape((None, n, 1))[1]


def test_what_is_unknown_stays_unknown():
    assert windows.output_length(None, 3, 2, "valid") is None
    assert windows.transposed_length(None, 3, 2, "same") is None
    shape = windows.output_shape((None, None, 7, 3), 5, (2, 2), (2, 2), "same", "channels_last")
    assert shape == (None, None, 4, 5)
    shape = windows.output_shape(
        (None, 3, 7, None), None, (2, 2), (2, 2), "valid", "channels_first"
    )
    assert shape == (None, 3, 3, None)


def test_a_window_that_does_not_fit():
    for shape, dilation in (((2, 4, 9, 3), None), ((2, 8, 9, 3), (2, 1))):
        with pytest.raises(ValueError, match="output size would be zero or negative.*\\(5, 2\\)"):
            windows.output_shape(shape, 1, (5, 2), (1, 1), "valid", "channels_last", dilation)
    with pytest.raises(ValueError, match="must have the same length as input"):
        windows.output_shape((2, 4, 3), 1, (5, 2), (1, 1), "valid", "channels_last")


def test_standardize_tuple():
    assert windows.standardize_tuple(3, 2, "strides") == (3, 3)
    assert windows.standardize_tuple([3, 4], 2, "strides") == (3, 4)
    assert windows.standardize_tuple(0, 1, "output_padding", allow_zero=True) == (0,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2, 3), r"must be a tuple of 2 integers. Received strides=\(1, 2, 3\)"),
        (None, "must be a tuple of 2 integers. Received strides=None"),
        (2.5, "must be a tuple of 2 integers. Received strides=2.5"),
        ((1, "a"), "including element a of type <class 'str'>"),
        ((1, 0), r"\(1, 0\), including values \{0\} that do not satisfy `value > 0`"),
        (-1, r"including values \{-1\} that do not satisfy `value > 0`"),
    ],
    ids=str,
)
def test_standardize_tuple_refuses(value, message):
    with pytest.raises(ValueError, match=message):
        windows.standardize_tuple(value, 2, "strides")


def test_negative_where_zero_is_allowed():
    with pytest.raises(ValueError, match="do not satisfy `value >= 0`"):
        windows.standardize_tuple((-1, 0), 2, "output_padding", allow_zero=True)


def test_padding_and_data_format():
    assert windows.standardize_padding("SAME") == "same"
    assert windows.standardize_padding("Causal", allow_causal=True) == "causal"
    for wrong in ("causal", "full", 1, None):
        with pytest.raises(ValueError, match=f"The `padding` argument must be.*{wrong}"):
            windows.standardize_padding(wrong)
    assert windows.standardize_data_format("Channels_First") == "channels_first"
    with pytest.raises(ValueError, match="The `data_format` argument must be one of.*NCHW"):
        windows.standardize_data_format("NCHW")
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        assert windows.standardize_data_format(None) == "channels_first"
    finally:
        keras.config.set_image_data_format(before)


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_channels_move_and_come_back(rank):
    x = np.random.default_rng(0).standard_normal(range(2, 2 + rank))
    last = windows.to_channels_last(tf.constant(x), "channels_first")
    assert (last.numpy() == np.moveaxis(x, 1, -1)).all()
    assert (windows.from_channels_last(last, "channels_first").numpy() == x).all()
    assert windows.to_channels_last(x, "channels_last") is x


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_gather_taps_and_back(padding):
    """Each window of two axes, cell by cell."""
    x = np.random.default_rng(0).standard_normal((2, 5, 7, 3))
    options = {"window": (2, 3), "strides": (1, 2), "padding": padding}
    cells = np.stack(list(windows.gather_taps(tf.constant(x), 9.0, **options)))
    _, slices = windows.tap_slices((5, 7), **options)
    assert [begin for begin, _ in slices] == [(i, j) for i in range(2) for j in range(3)]
    pads = [windows.pads(n, k, s, padding) for n, k, s in ((5, 2, 1), (7, 3, 2))]
    wide = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=9.0)
    lengths = [windows.output_length(n, k, s, padding) for n, k, s in ((5, 2, 1), (7, 3, 2))]
    assert cells.shape == (6, 2, *lengths, 3)
    for i, j in np.ndindex(*lengths):
        expected = wide[:, i : i + 2, 2 * j : 2 * j + 3].reshape(2, 6, 3).swapaxes(0, 1)
        assert (cells[:, :, i, j] == expected).all()
    # <gather_taps(x), parts> = <x, scatter_taps(parts)>
    parts = np.random.default_rng(1).standard_normal(cells.shape)
    inner = np.stack(list(windows.gather_taps(tf.constant(x), 0.0, **options))) * parts
    back = windows.scatter_taps([tf.constant(p) for p in parts], (5, 7), **options)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.sum(back * x), np.sum(inner), rtol=1e-12)
