"""Correlation, the sum of products that convolutions are made of, read from its three ends.

    y[p]  = Σ_t x[s p + d t - P] W[t]           correlate
    dx[q] = Σ_t dy[(q + P - d t) / s] W[t]ᵀ     correlate_dx, over the t for which that place exists
    dW[t] = Σ_p x[s p + d t - P]ᵀ dy[p]         correlate_dw, over the batch too

    x, dx (B, n..., I), zero outside     W, dW (k..., I, O)     y, dy (B, m..., O)

with place p, tap t, and the stride s, dilation d and padding P of each axis (windows.py). All three
add up the same products of x[q], W[t] and y[p] with q = s p + d t - P. So dx and dW are the
derivatives of y, the derivatives of dx are y and dW, those of dW are y and dx, and so on.

They are TensorFlow's kernels. What a kernel lacks on a CPU, moving numbers around it makes up for:
one dimension is two, the first of size 1; a dilated x is d interleaved grids, each an undilated
batch entry (space-to-batch); causal zeros are put in front; where XLA compiles for a CPU, the taps
of the depth are channels of two dimensions. The opposite move undoes a move, and is its
derivative.

Dilation: Yu & Koltun, Multi-scale context aggregation by dilated convolutions, arXiv 1511.07122.
Causal: van den Oord et al., WaveNet, arXiv 1609.03499.
"""

import tensorflow as tf

from custom_layers.convolutional import windows
from custom_layers.private_apis import compiled_by_xla

# The kernels of one rank: y from x and W, dx from dy and W, dW from x and dy.
KERNELS = {
    2: (tf.raw_ops.Conv2D, tf.raw_ops.Conv2DBackpropInput, tf.raw_ops.Conv2DBackpropFilter),
    3: (tf.raw_ops.Conv3D, tf.raw_ops.Conv3DBackpropInputV2, tf.raw_ops.Conv3DBackpropFilterV2),
}


def _folds(strides):
    """Whether three dimensions are computed as two.

    XLA has no fast kernel for three on a CPU: a step takes 7 times as long there as of two with the
    same products. TensorFlow has one: without XLA, folding takes 2.5 times as long as not folding.
    """
    on_cpu = not tf.config.list_physical_devices("GPU")
    return len(strides) == 3 and compiled_by_xla() and on_cpu


def _planes(x):
    """(B, D, H, W, C) -> (B D, H, W, C)."""
    return tf.reshape(x, (-1, *windows.sizes_of(x)[1:], x.shape[-1]))


def _depth(taps, strides, padding):
    return {"window": (taps, 1, 1), "strides": (strides[0], 1, 1), "padding": padding}


def _fold(x, taps, strides, padding):
    """x (B, D, H, W, I) -> (B D', H, W, k I): all k planes that a window of the depth sees."""
    return _planes(tf.concat(list(windows.at_taps(x, 0, **_depth(taps, strides, padding))), -1))


def _fold_kernel(kernel):
    """(k, h, w, I, O) -> (h, w, k I, O)."""
    k, h, w, i, o = kernel.shape
    return tf.reshape(tf.transpose(kernel, (1, 2, 0, 3, 4)), (h, w, k * i, o))


def _kernel_y(x, kernel, strides, padding):
    if len(strides) == 1:  # there is no kernel for one dimension: two, the first of size 1
        x, kernel = tf.expand_dims(x, 1), tf.expand_dims(kernel, 0)
        return tf.squeeze(_kernel_y(x, kernel, (1, *strides), padding), 1)
    if _folds(strides):
        k = kernel.shape[0]
        depth = windows.output_length(windows.sizes_of(x)[0], k, strides[0], padding)
        x = _fold(x, k, strides, padding)
        y = _kernel_y(x, _fold_kernel(kernel), strides[1:], padding)
        return tf.reshape(y, (-1, depth, *windows.sizes_of(y), y.shape[-1]))
    op, _, _ = KERNELS[len(strides)]
    if x.shape[0] == 0:  # here the kernel for float32 on CPUs would return the shape of x
        sizes = zip(windows.sizes_of(x), kernel.shape, strides, strict=False)
        sizes = [windows.output_length(n, k, s, padding) for n, k, s in sizes]
        return tf.zeros((0, *sizes, kernel.shape[-1]), x.dtype)
    return op(input=x, filter=kernel, strides=[1, *strides, 1], padding=padding.upper())


def _kernel_dx(dy, kernel, sizes, strides, padding):
    if len(strides) == 1:
        dy, kernel = tf.expand_dims(dy, 1), tf.expand_dims(kernel, 0)
        return tf.squeeze(_kernel_dx(dy, kernel, (1, *sizes), (1, *strides), padding), 1)
    if _folds(strides):
        k, depth = kernel.shape[0], windows.sizes_of(dy)[0]
        dx = _kernel_dx(_planes(dy), _fold_kernel(kernel), sizes[1:], strides[1:], padding)
        dx = tf.split(tf.reshape(dx, (-1, depth, *sizes[1:], dx.shape[-1])), k, -1)
        return windows.from_taps(dx, sizes, **_depth(k, strides, padding))
    _, op, _ = KERNELS[len(strides)]
    return op(
        input_sizes=tf.stack([tf.shape(dy)[0], *sizes, kernel.shape[-2]]),
        filter=kernel,
        out_backprop=dy,
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )


def _kernel_dw(x, dy, taps, strides, padding):
    if len(strides) == 1:
        x, dy = tf.expand_dims(x, 1), tf.expand_dims(dy, 1)
        return tf.squeeze(_kernel_dw(x, dy, (1, *taps), (1, *strides), padding), 0)
    if _folds(strides):
        x, k = _fold(x, taps[0], strides, padding), taps[0]
        dw = _kernel_dw(x, _planes(dy), taps[1:], strides[1:], padding)
        dw = tf.reshape(dw, (*taps[1:], k, dw.shape[-2] // k, dw.shape[-1]))
        return tf.transpose(dw, (2, 0, 1, 3, 4))
    if max(taps) == 1 and max(strides) > 1:
        # TensorFlow's kernel for two dimensions then writes outside of its memory on a CPU.
        steps = [slice(None, None, s) for s in strides]
        x, strides = x[(slice(None), *steps)], [1] * len(strides)
    _, _, op = KERNELS[len(strides)]
    if x.dtype.size < 4 and padding == "same":
        # In 16 bits the kernel leaves dW unset, which may be 1e38, at taps that meet padding only.
        axes = zip(windows.sizes_of(x), taps, strides, strict=True)
        zeros = [windows.pads(n, k, s, padding) for n, k, s in axes]
        x, padding = tf.pad(x, [(0, 0), *zeros, (0, 0)]), "valid"
    return op(
        input=x,
        filter_sizes=[*taps, x.shape[-1], dy.shape[-1]],
        out_backprop=dy,
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )


def _grids(sizes, taps, padding, dilation):
    """What x and y lack, on each axis, to be d whole interleaved grids of a valid convolution.

    None where the kernel needs no such help: undilated and not causal.
    """
    if padding != "causal" and max(dilation) == 1:
        return None
    x_pads, y_pads = [], []
    for n, k, d in zip(sizes, taps, dilation, strict=True):
        before, after = windows.pads(n, k, 1, padding, d)
        rest = -(n + before + after) % d
        x_pads.append((before, after + rest))
        y_pads.append((0, rest))
    return x_pads, y_pads


def correlate(x, kernel, *, strides, padding, dilation):
    """x (B, n..., I), kernel (k..., I, O) -> y (B, m..., O)."""
    grids = _grids(windows.sizes_of(x), kernel.shape[:-2], padding, dilation)
    if grids is None:
        return _kernel_y(x, kernel, strides, padding)
    x_pads, y_pads = grids
    y = _kernel_y(tf.space_to_batch(x, dilation, x_pads), kernel, strides, "valid")
    return tf.batch_to_space(y, dilation, y_pads)


def correlate_dx(dy, kernel, sizes, *, strides, padding, dilation):
    """dy (B, m..., O), kernel (k..., I, O), sizes n... -> dx (B, n..., I)."""
    grids = _grids(sizes, kernel.shape[:-2], padding, dilation)
    if grids is None:
        return _kernel_dx(dy, kernel, sizes, strides, padding)
    x_pads, y_pads = grids
    sizes = [(n + sum(p)) // d for n, p, d in zip(sizes, x_pads, dilation, strict=True)]
    dy = tf.space_to_batch(dy, dilation, y_pads)
    return tf.batch_to_space(_kernel_dx(dy, kernel, sizes, strides, "valid"), dilation, x_pads)


def correlate_dw(x, dy, taps, *, strides, padding, dilation):
    """x (B, n..., I), dy (B, m..., O), taps k... -> dkernel (k..., I, O)."""
    grids = _grids(windows.sizes_of(x), taps, padding, dilation)
    if grids is None:
        return _kernel_dw(x, dy, taps, strides, padding)
    x_pads, y_pads = grids
    x, dy = tf.space_to_batch(x, dilation, x_pads), tf.space_to_batch(dy, dilation, y_pads)
    return _kernel_dw(x, dy, taps, strides, "valid")
