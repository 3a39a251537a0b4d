"""Sliding windows: the arithmetic that convolution and pooling share.

A window of k taps, d cells apart, extends over k' = d (k - 1) + 1 cells and moves on by s along an
axis of n cells:

    valid    inside the axis only                      m = (n - k') // s + 1 windows
    same     as many as a stride-s sampling of n       m = (n - 1) // s + 1 windows = ceil(n / s)
    causal   as many; the last tap of a window is its output's own place, all padding is before

For `same`, P = max((m - 1) s + k' - n, 0) cells are missing: P // 2 before, the rest after.

Transposed (a stride-s convolution undone), with n inputs and an output padding p:

    valid    (n - 1) s + k' + p        p defaults to max(s - k', 0)
    same     n s                       or (n - 1) s + k' % 2 + p where p is given

An unknown size is None, and so is what follows from it. Dumoulin & Visin, A guide to convolution
arithmetic for deep learning, arXiv 1603.07285.
"""

import itertools
import numbers

import keras
import tensorflow as tf

from custom_layers.base import shape_of


def standardize_tuple(value, rank, name, allow_zero=False):
    """An integer or an iterable of `rank` integers -> a tuple of `rank` positive ints, or zeros."""
    message = f"The `{name}` argument must be a tuple of {rank} integers. Received {name}={value}"
    if isinstance(value, numbers.Integral):
        sizes = (value,) * rank
    else:
        try:
            sizes = tuple(value)
        except TypeError:
            raise ValueError(message) from None
        if len(sizes) != rank:
            raise ValueError(message)
        for size in sizes:
            try:
                int(size)
            except (ValueError, TypeError):
                raise ValueError(
                    f"{message}, including element {size} of type {type(size)}"
                ) from None
    refused = {size for size in sizes if size < 0 or (size == 0 and not allow_zero)}
    if refused:
        raise ValueError(
            f"{message}, including values {refused} that do not satisfy "
            f"`value {'>= 0' if allow_zero else '> 0'}`"
        )
    return tuple(int(size) if isinstance(size, numbers.Integral) else size for size in sizes)


def standardize_padding(value, allow_causal=False):
    """The padding "valid", "same" or (where allowed) "causal", in any case -> in lower case."""
    allowed = ("valid", "same", "causal") if allow_causal else ("valid", "same")
    padding = value.lower() if isinstance(value, str) else value
    if padding not in allowed:
        raise ValueError(f"The `padding` argument must be one of {allowed}. Received: {padding}")
    return padding


def standardize_data_format(value):
    """A data format in any case -> in lower case; None -> that of `keras.config`."""
    if value is None:
        return keras.config.image_data_format()
    data_format = str(value).lower()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(
            "The `data_format` argument must be one of {'channels_first', 'channels_last'}. "
            f"Received: data_format={value}"
        )
    return data_format


def standardize_filters(value):
    """A positive integer of any kind -> an int."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integer or value <= 0:
        raise ValueError(
            "Invalid value for argument `filters`. Expected a strictly positive value. "
            f"Received filters={value}."
        )
    return int(value)


def check_strides(strides, dilation_rate):
    """Raise a ValueError if a convolution has both strides and a dilation rate above 1."""
    if max(strides) > 1 and max(dilation_rate) > 1:
        raise ValueError(
            "`strides > 1` not supported in conjunction with `dilation_rate > 1`. "
            f"Received: strides={strides} and dilation_rate={dilation_rate}"
        )


def extent(window, dilation=1):
    """k', the number of cells from the first to the last tap of a window."""
    return dilation * (window - 1) + 1


def output_length(length, window, stride, padding, dilation=1):
    """m, the number of windows along an axis of `length` cells; None if that is."""
    if length is None:
        return None
    if padding == "valid":
        return (length - extent(window, dilation)) // stride + 1
    return (length - 1) // stride + 1


def pads(length, window, stride, padding, dilation=1):
    """Cells to add (before, after) an axis. Its length may be a tensor."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return extent(window, dilation) - 1, 0
    if stride == 1:
        missing = extent(window, dilation) - 1
    else:
        missing = ((length - 1) // stride) * stride + extent(window, dilation) - length
        missing = _at_least_0(missing)
    return missing // 2, missing - missing // 2


def _at_least_0(size):
    return max(size, 0) if isinstance(size, int) else tf.maximum(size, 0)


def transposed_length(length, window, stride, padding, output_padding=None, dilation=1):
    """The length whose `output_length` is `length`, one of several; tensors are accepted."""
    if length is None:
        return None
    cells = extent(window, dilation)
    if padding == "valid":
        extra = max(stride - cells, 0) if output_padding is None else output_padding
        return (length - 1) * stride + cells + extra
    if output_padding is None:
        return length * stride
    return (length - 1) * stride + cells % 2 + output_padding


def transposed_lengths(lengths, window, strides, padding, output_padding, dilation):
    """`transposed_length` for each axis; `output_padding` is a tuple or None."""
    extra = output_padding or (None,) * len(window)
    axes = zip(lengths, window, strides, extra, dilation, strict=True)
    return [transposed_length(n, k, s, padding, p, d) for n, k, s, p, d in axes]


def spatial_sizes(shape, data_format):
    """The sizes between batch and channels."""
    shape = tuple(shape)
    return shape[1:-1] if data_format == "channels_last" else shape[2:]


def channels(shape, data_format):
    """The size of the channel axis."""
    return shape[-1] if data_format == "channels_last" else shape[1]


def known_channels(shape, data_format):
    """`channels`, which a weight's shape needs: raises a ValueError where it is None."""
    count = channels(shape, data_format)
    if count is None:
        raise ValueError(
            "The channel axis of the input must have a known size. "
            f"Received: input_shape={tuple(shape)}, data_format={data_format}"
        )
    return count


def with_channels(batch, sizes, count, data_format):
    """(batch, sizes, channels) in the order of the data format."""
    if data_format == "channels_last":
        return (batch, *sizes, count)
    return (batch, count, *sizes)


def output_shape(input_shape, filters, window, strides, padding, data_format, dilation=None):
    """The shape after a convolution, or after pooling where `filters` is None.

    Raises:
        ValueError: an axis is shorter than the window.
    """
    sizes = spatial_sizes(input_shape, data_format)
    if len(sizes) != len(window):
        raise ValueError(
            "Kernel shape must have the same length as input, but received a window of shape "
            f"{tuple(window)} and input of shape {tuple(input_shape)}."
        )
    dilation = dilation or (1,) * len(window)
    axes = zip(sizes, window, strides, dilation, strict=True)
    lengths = tuple(output_length(n, k, s, padding, d) for n, k, s, d in axes)
    if padding == "valid" and any(m is not None and m <= 0 for m in lengths):
        raise ValueError(
            "Computed output size would be zero or negative. Received: "
            f"`inputs.shape={tuple(input_shape)}`, `window={tuple(window)}`, "
            f"`dilation_rate={tuple(dilation)}`, `strides={tuple(strides)}`, `padding={padding}`."
        )
    count = channels(input_shape, data_format) if filters is None else filters
    return with_channels(input_shape[0], lengths, count, data_format)


def sizes_of(x):
    """The spatial sizes of a channels-last tensor: ints where known, scalar tensors elsewhere."""
    sizes = enumerate(x.shape[1:-1], start=1)
    return [tf.shape(x)[i] if n is None else n for i, n in sizes]


def to_channels_last(x, data_format):
    """(B, C, ...) -> (B, ..., C); nothing to do for channels_last."""
    if data_format == "channels_last":
        return x
    return tf.transpose(x, (0, *range(2, x.shape.rank), 1))


def from_channels_last(x, data_format):
    """(B, ..., C) -> (B, C, ...) for channels_first."""
    if data_format == "channels_last":
        return x
    last = x.shape.rank - 1
    return tf.transpose(x, (0, last, *range(1, last)))


def tap_slices(sizes, window, strides, padding):
    """The pads of each axis, and the (begin, end) of the padded x that each tap sees, in row order.

    Tap t of the windows p = 0, 1, ... is at the cells t, t + s, t + 2 s, ... of each axis.
    """
    axes = list(zip(sizes, window, strides, strict=True))
    before_after = [pads(n, k, s, padding) for n, k, s in axes]
    reach = [_at_least_0((output_length(n, k, s, padding) - 1) * s + 1) for n, k, s in axes]
    begins = itertools.product(*map(range, window))
    return before_after, [(t, [i + r for i, r in zip(t, reach, strict=True)]) for t in begins]


def gather_taps(x, fill_value, *, window, strides, padding):
    """For each tap t, x[s p + t - P] (B, m..., C), or `fill_value` outside x (B, n..., C)."""
    before_after, slices = tap_slices(sizes_of(x), window, strides, padding)
    if padding != "valid":
        x = tf.pad(x, [(0, 0), *before_after, (0, 0)], constant_values=fill_value)
    for begin, end in slices:
        axes = zip(begin, end, strides, strict=True)
        yield x[(slice(None), *(slice(*axis) for axis in axes))]


def scatter_taps(parts, sizes, *, window, strides, padding):
    """The transpose of `gather_taps`: x (B, n..., C), the sum of the parts, each at its tap."""
    before_after, slices = tap_slices(sizes, window, strides, padding)
    batch, channels = shape_of(parts[0])[0], shape_of(parts[0])[-1]
    padded = [n + sum(p) for n, p in zip(sizes, before_after, strict=True)]
    x = [
        tf.raw_ops.StridedSliceGrad(
            shape=tf.stack([batch, *padded, channels]),
            begin=[0, *begin, 0],
            end=tf.stack([batch, *end, channels]),
            strides=[1, *strides, 1],
            dy=part,
        )
        for part, (begin, end) in zip(parts, slices, strict=True)
    ]
    start = tf.stack([0, *(before for before, _ in before_after), 0])
    return tf.slice(tf.add_n(x), start, tf.stack([batch, *sizes, channels]))


def taps_inside(sizes, *, window, strides, padding):
    """For each tap t, a boolean (m..., 1): where s p + t - P is a cell of x; None: everywhere."""
    axes = list(zip(sizes, window, strides, strict=True))
    inside = []
    for n, k, s in axes:
        places = s * tf.range(output_length(n, k, s, padding)) - pads(n, k, s, padding)[0]
        inside.append([(places + t >= 0) & (places + t < n) for t in range(k)])
    for tap in itertools.product(*map(range, window)):
        if padding == "valid":
            yield None
            continue
        all_axes = True
        for axis, t in enumerate(tap):
            shape = [1] * (len(window) + 1)
            shape[axis] = -1
            all_axes &= tf.reshape(inside[axis][t], shape)
        yield all_axes
