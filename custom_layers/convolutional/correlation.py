"""Correlation, the sum of products that convolutions are made of, read from its three ends.

    y[p]  = Σ_t x[s p + d t - P] W[t]           correlate
    dx[q] = Σ_t dy[(q + P - d t) / s] W[t]ᵀ     correlate_dx, over the t for which that place exists
    dW[t] = Σ_p x[s p + d t - P]ᵀ dy[p]         correlate_dw, over the batch too

    x, dx (B, n..., I), zero outside     W, dW (k..., I / G, O)     y, dy (B, m..., O)

with place p, tap t, and the stride s, dilation d and padding P of each axis (windows.py). All three
add up the same products of x[q], W[t] and y[p] with q = s p + d t - P. So dx and dW are the
derivatives of y, the derivatives of dx are y and dW, those of dW are y and dx, and so on.

They are TensorFlow's kernels. What a kernel lacks on a CPU, moving numbers around it makes up for,
and the opposite move undoes it and is its derivative:

    1D          is 2D, with a first axis of size 1
    dilation    d interleaved grids, each an undilated entry of the batch (space-to-batch)
    causal      zeros in front
    groups      G correlations side by side, or the sum of I / G depthwise ones, one for each
                channel of a group, whichever are fewer: 256 groups of one channel are one kernel
    3D          under XLA, and for depthwise kernels: the taps of the depth, each in 2D
    16 bits     float32, since the kernels of a CPU add up 50,000 ones to 4096 in bfloat16

Dilation: Yu & Koltun, Multi-scale context aggregation by dilated convolutions, arXiv 1511.07122.
Causal: van den Oord et al., WaveNet, arXiv 1609.03499. Depthwise: Chollet, Xception, CVPR 2017.
"""

import functools

import tensorflow as tf

from custom_layers.convolutional import windows
from custom_layers.gradients import wide
from custom_layers.private_apis import compiled_by_xla

# TensorFlow's kernels of one rank: y from x and W, dx from dy and W, dW from x and dy.
KERNELS = {
    2: (tf.raw_ops.Conv2D, tf.raw_ops.Conv2DBackpropInput, tf.raw_ops.Conv2DBackpropFilter),
    3: (tf.raw_ops.Conv3D, tf.raw_ops.Conv3DBackpropInputV2, tf.raw_ops.Conv3DBackpropFilterV2),
}
DEPTHWISE_KERNELS = (
    tf.raw_ops.DepthwiseConv2dNative,
    tf.raw_ops.DepthwiseConv2dNativeBackpropInput,
    tf.raw_ops.DepthwiseConv2dNativeBackpropFilter,
)


def correlate(x, kernel, *, strides, padding, dilation, groups=1):
    """x (B, n..., I), kernel (k..., I / groups, O) -> y (B, m..., O)."""
    dtype, x, kernel = x.dtype, _summable(x), _summable(kernel)
    sizes, window = windows.sizes_of(x), kernel.shape[:-2]
    grids = _grids(sizes, window, padding, dilation)
    axes = list(zip(sizes, window, strides, dilation, strict=True))
    m = [windows.output_length(n, k, s, padding, d) for n, k, s, d in axes if isinstance(n, int)]
    if _empty(x, kernel) or 0 in m:  # the kernels refuse it, or return the shape of x
        m = [windows.output_length(n, k, s, padding, d) for n, k, s, d in axes]
        return tf.zeros(_shape(x, m, kernel.shape[-1]), dtype)
    if grids is None:
        return tf.cast(_y(x, kernel, strides, padding, groups), dtype)
    x_pads, y_pads = grids
    y = _y(tf.space_to_batch(x, dilation, x_pads), kernel, strides, "valid", groups)
    return tf.cast(tf.batch_to_space(y, dilation, y_pads), dtype)


def correlate_dx(dy, kernel, sizes, *, strides, padding, dilation, groups=1):
    """dy (B, m..., O), kernel (k..., I / groups, O), sizes n... -> dx (B, n..., I)."""
    dtype, dy, kernel = dy.dtype, _summable(dy), _summable(kernel)
    grids = _grids(sizes, kernel.shape[:-2], padding, dilation)
    if _empty(dy, kernel):
        return tf.zeros(_shape(dy, sizes, kernel.shape[-2] * groups), dtype)
    if grids is None:
        return tf.cast(_dx(dy, kernel, sizes, strides, padding, groups), dtype)
    x_pads, y_pads = grids
    sizes = [(n + sum(p)) // d for n, p, d in zip(sizes, x_pads, dilation, strict=True)]
    dy = tf.space_to_batch(dy, dilation, y_pads)
    dx = _dx(dy, kernel, sizes, strides, "valid", groups)
    return tf.cast(tf.batch_to_space(dx, dilation, x_pads), dtype)


def correlate_dw(x, dy, window, *, strides, padding, dilation, groups=1):
    """x (B, n..., I), dy (B, m..., O), window k... -> dkernel (k..., I / groups, O)."""
    dtype, x, dy = x.dtype, _summable(x), _summable(dy)
    grids = _grids(windows.sizes_of(x), window, padding, dilation)
    zeros = tf.zeros((*window, x.shape[-1] // groups, dy.shape[-1]), dtype)
    if _empty(x, dy):
        return zeros
    if grids is None:
        dw = tf.cast(_dw(x, dy, window, strides, padding, groups), dtype)
    else:
        x_pads, y_pads = grids
        grids = tf.space_to_batch(x, dilation, x_pads), tf.space_to_batch(dy, dilation, y_pads)
        dw = tf.cast(_dw(*grids, window, strides, "valid", groups), dtype)
    if x.shape.is_fully_defined():
        return dw
    return tf.where(tf.size(dy) > 0, dw, zeros)  # of nothing, the kernels leave dW as memory was


def _summable(x):
    """x in float32 where it has 16 bits and the kernels are those of a CPU."""
    return wide(x) if _on_cpu() else x


@functools.cache
def _on_cpu():
    return not tf.config.list_physical_devices("GPU")


def _empty(*tensors):
    return any(0 in tensor.shape for tensor in tensors)


def _grids(sizes, window, padding, dilation):
    """What x and y lack, on each axis, to be d whole interleaved grids of a valid convolution.

    None where the kernel needs no such help: undilated and not causal.
    """
    if padding != "causal" and max(dilation) == 1:
        return None
    x_pads, y_pads = [], []
    for n, k, d in zip(sizes, window, dilation, strict=True):
        before, after = windows.pads(n, k, 1, padding, d)
        rest = -(n + before + after) % d
        x_pads.append((before, after + rest))
        y_pads.append((0, rest))
    return x_pads, y_pads


# The three, undilated and not causal. Each meets the cases above from top to bottom.


def _y(x, kernel, strides, padding, groups):
    if len(strides) == 1:
        x, kernel = tf.expand_dims(x, 1), tf.expand_dims(kernel, 0)
        return tf.squeeze(_y(x, kernel, strides * 2, padding, groups), 1)
    if groups > 1 and not _depthwise(kernel.shape[-2], strides, groups):
        pairs = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
        return tf.concat([_y(part, w, strides, padding, 1) for part, w in pairs], -1)
    if groups > 1:
        members = zip(_members(x, groups), _depthwise_kernels(kernel, groups), strict=True)
        return _add([_depthwise_y(member, w, strides, padding) for member, w in members])
    if _folds(strides):
        k = kernel.shape[0]
        depth = windows.output_length(windows.sizes_of(x)[0], k, strides[0], padding)
        x = _fold(x, k, strides, padding)
        y = _y(x, _fold_kernel(kernel), strides[1:], padding, 1)
        return tf.reshape(y, (-1, depth, *windows.sizes_of(y), y.shape[-1]))
    op, _, _ = KERNELS[len(strides)]
    return op(input=x, filter=kernel, strides=[1, *strides, 1], padding=padding.upper())


def _dx(dy, kernel, sizes, strides, padding, groups):
    if len(strides) == 1:
        dy, kernel = tf.expand_dims(dy, 1), tf.expand_dims(kernel, 0)
        return tf.squeeze(_dx(dy, kernel, (1, *sizes), strides * 2, padding, groups), 1)
    if groups > 1 and not _depthwise(kernel.shape[-2], strides, groups):
        pairs = zip(tf.split(dy, groups, -1), tf.split(kernel, groups, -1), strict=True)
        return tf.concat([_dx(part, w, sizes, strides, padding, 1) for part, w in pairs], -1)
    if groups > 1:
        kernels = _depthwise_kernels(kernel, groups)
        dx = tf.stack([_depthwise_dx(dy, w, sizes, strides, padding) for w in kernels], -1)
        return tf.reshape(dx, (-1, *sizes, kernel.shape[-2] * groups))
    if _folds(strides):
        k, depth = kernel.shape[0], windows.sizes_of(dy)[0]
        dx = _dx(_planes(dy), _fold_kernel(kernel), sizes[1:], strides[1:], padding, 1)
        dx = tf.split(tf.reshape(dx, (-1, depth, *sizes[1:], dx.shape[-1])), k, -1)
        return windows.scatter_taps(dx, sizes, **_depth(k, strides, padding))
    _, op, _ = KERNELS[len(strides)]
    return op(
        input_sizes=_shape(dy, sizes, kernel.shape[-2]),
        filter=kernel,
        out_backprop=dy,
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )


def _dw(x, dy, window, strides, padding, groups):
    if len(strides) == 1:
        x, dy = tf.expand_dims(x, 1), tf.expand_dims(dy, 1)
        return tf.squeeze(_dw(x, dy, (1, *window), strides * 2, padding, groups), 0)
    if groups > 1 and not _depthwise(x.shape[-1] // groups, strides, groups):
        pairs = zip(tf.split(x, groups, -1), tf.split(dy, groups, -1), strict=True)
        return tf.concat([_dw(part, d, window, strides, padding, 1) for part, d in pairs], -1)
    if groups > 1:
        members = _members(x, groups)
        dw = tf.stack([_depthwise_dw(m, dy, window, strides, padding) for m in members], -3)
        return tf.reshape(dw, (*window, len(members), dy.shape[-1]))  # (k..., i, G, O / G)
    if _folds(strides):
        x, k = _fold(x, window[0], strides, padding), window[0]
        dw = _dw(x, _planes(dy), window[1:], strides[1:], padding, 1)
        dw = tf.reshape(dw, (*window[1:], k, dw.shape[-2] // k, dw.shape[-1]))
        return tf.transpose(dw, (2, 0, 1, 3, 4))
    if max(window) == 1 and max(strides) > 1:
        # TensorFlow's kernel for two dimensions then writes outside of its memory on a CPU.
        steps = [slice(None, None, s) for s in strides]
        x, strides = x[(slice(None), *steps)], [1] * len(strides)
    _, _, op = KERNELS[len(strides)]
    return op(
        input=x,
        filter_sizes=[*window, x.shape[-1], dy.shape[-1]],
        out_backprop=dy,
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )


def _shape(x, sizes, channels):
    """(B, sizes..., channels), B being that of x."""
    batch = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
    return tf.stack([batch, *sizes, channels])


def _add(tensors):
    return tensors[0] if len(tensors) == 1 else tf.add_n(tensors)


# Three dimensions as two.


def _folds(strides):
    """Whether the taps of the depth become channels of two dimensions.

    XLA has no fast kernel for three on a CPU: a step takes 7 times as long there as of two with the
    same products. TensorFlow has one: without XLA, folding takes 2.5 times as long as not folding.
    """
    return len(strides) == 3 and compiled_by_xla() and _on_cpu()


def _planes(x):
    """(B, D, H, W, C) -> (B D, H, W, C)."""
    _, *sizes = windows.sizes_of(x)
    known = all(isinstance(n, int) for n in sizes)  # and above 0, so that they determine -1
    return tf.reshape(x, (-1 if known else tf.reduce_prod(tf.shape(x)[:2]), *sizes, x.shape[-1]))


def _depth(window, strides, padding):
    return {"window": (window, 1, 1), "strides": (strides[0], 1, 1), "padding": padding}


def _fold(x, window, strides, padding):
    """x (B, D, H, W, I) -> (B D', H, W, k I): all k planes that a window of the depth sees."""
    planes = windows.gather_taps(x, 0, **_depth(window, strides, padding))
    return _planes(tf.concat(list(planes), -1))


def _fold_kernel(kernel):
    """(k, h, w, I, O) -> (h, w, k I, O)."""
    k, h, w, i, o = kernel.shape
    return tf.reshape(tf.transpose(kernel, (1, 2, 0, 3, 4)), (h, w, k * i, o))


# Groups as depthwise correlations: of x (B, n..., G) with W (k..., G, O / G), each channel alone.


def _depthwise(members, strides, groups):
    """Whether to add up `members` depthwise correlations rather than put `groups` side by side.

    On a CPU their kernels take the same stride on both axes only.
    """
    return members < groups and strides[-1] == strides[-2]


def _members(x, groups):
    """x (..., G i) -> i tensors (..., G): the first channel of each group, the second, ..."""
    step = x.shape[-1] // groups
    return [x] if step == 1 else [x[..., i::step] for i in range(step)]


def _depthwise_kernels(kernel, groups):
    """(k..., i, O) -> i kernels (k..., G, O / G)."""
    *window, _, filters = kernel.shape
    shape = (*window, groups, filters // groups)
    return [tf.reshape(w, shape) for w in tf.unstack(kernel, axis=-2)]


def _depthwise_y(x, kernel, strides, padding):
    if len(strides) == 3:
        planes = windows.gather_taps(x, 0, **_depth(kernel.shape[0], strides, padding))
        taps = list(zip(planes, tf.unstack(kernel), strict=True))
        y = _add([_depthwise_y(_planes(x), w, strides[1:], padding) for x, w in taps])
        return tf.reshape(
            y, (-1, windows.sizes_of(taps[0][0])[0], *windows.sizes_of(y), y.shape[-1])
        )
    op, _, _ = DEPTHWISE_KERNELS
    return op(input=x, filter=kernel, strides=[1, *strides, 1], padding=padding.upper())


def _depthwise_dx(dy, kernel, sizes, strides, padding):
    if len(strides) == 3:
        taps, planes = tf.unstack(kernel), _planes(dy)
        parts = [_depthwise_dx(planes, w, sizes[1:], strides[1:], padding) for w in taps]
        shape = _shape(dy, [windows.sizes_of(dy)[0], *sizes[1:]], kernel.shape[-2])
        parts = [tf.reshape(dx, shape) for dx in parts]
        return windows.scatter_taps(parts, sizes, **_depth(len(taps), strides, padding))
    _, op, _ = DEPTHWISE_KERNELS
    return op(
        input_sizes=_shape(dy, sizes, kernel.shape[-2]),
        filter=kernel,
        out_backprop=dy,
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )


def _depthwise_dw(x, dy, window, strides, padding):
    if len(strides) == 3:
        planes = windows.gather_taps(x, 0, **_depth(window[0], strides, padding))
        dy, depth = _planes(dy), window[1:]
        return tf.stack(
            [_depthwise_dw(_planes(x), dy, depth, strides[1:], padding) for x in planes]
        )
    _, _, op = DEPTHWISE_KERNELS
    return op(
        input=x,
        filter_sizes=[*window, x.shape[-1], dy.shape[-1] // x.shape[-1]],
        out_backprop=dy,
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )
