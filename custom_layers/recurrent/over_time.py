"""over_time: how the loop of a recurrent layer is run.

    y = loop(x W + b, U, ...)

A loop of a few steps over small tensors spends its time on starting operations. In training it is
therefore compiled by XLA, alone: the products of all steps at once, before and after it, are large,
and TensorFlow computes them faster. And since a compiled loop keeps one core busy, it is run for
each half of the batch.
"""

import functools

import tensorflow as tf

from custom_layers.gradients import compiled, with_backward
from custom_layers.private_apis import compiled_by_xla
from custom_layers.recurrent.recurrence import product_dkernel, project_backward, project_forward


def compiles(x, training):
    """Whether loops over the steps of x (T, B, I) are compiled.

    Compiled, a loop is several times faster, but each new shape takes a second to compile, and a
    compiled graph cannot be served everywhere: so in training, and where T is known.
    """
    return training and x.shape[0] is not None and not tf.executing_eagerly()


def over_time(forward, backward):
    """Join a loop over time and its backward into one differentiable function of x.

        forward(a, U, h, ..., training=..., **options)   -> y, cache
        backward(dy, cache, **options)                   -> da, [(dp, h₋, drop), ...], dh, ...
        function(x, W, b, drop_x, U, h, ..., training=False, **options) -> y

    Around the loops stand a = x W + b, its derivatives, and dU, whose blocks of columns are
    Σ h₋ᵀ dp. These are products of all steps at once, which TensorFlow computes faster than XLA.
    """

    def forward_all(x, kernel, bias, drop, *others, training, **options):
        a, cache = project_forward(x, kernel, bias, drop)
        start = compiled if compiles(x, training) else functools.partial
        y, own = start(forward, training=training, **options)(a, *others)
        return y, (cache, own)

    def backward_all(dy, cache, *, training, **options):
        cache, own = cache
        start = compiled if compiles(cache[0], training) else functools.partial
        da, products, *others = start(backward, **options)(dy, own)
        dkernel = [product_dkernel(*operands) for operands in products]
        dkernel = dkernel[0] if len(dkernel) == 1 else tf.concat(dkernel, 1)
        return *project_backward(da, cache), dkernel, *others

    return with_backward(forward_all, backward_all)


def faster_in_halves(x, training):
    """Whether `in_halves` is for x (T, B, I): on a CPU, and where TensorFlow starts the loops."""
    on_cpu = not tf.config.list_physical_devices("GPU")
    return compiles(x, training) and x.shape[1] not in (0, 1) and on_cpu and not compiled_by_xla()


def in_halves(function, *tensors):
    """`function(*tensors)`, a list, of each half of the batch, which TensorFlow runs side by side.

    A compiled loop has one thread for all but its products, which are small. On two cores two loops
    of 32 rows take three quarters of the time of one of 64. Tensors are None, (B, ...) if of two
    axes, and (T, B, ...) if of three; the first is not None.
    """
    # A stateful layer knows the size of its states, even if it does not know that of its input.
    known = (x.shape[x.shape.rank - 2] for x in tensors if x is not None)
    size = next((n for n in known if n is not None), None)
    size = tf.shape(tensors[0])[tensors[0].shape.rank - 2] if size is None else size
    sizes = size - size // 2, size // 2

    def halves(x):
        return (None, None) if x is None else tf.split(x, sizes, x.shape.rank - 2)

    results = [function(*half) for half in zip(*map(halves, tensors), strict=True)]
    return [tf.concat(y, y[0].shape.rank - 2) for y in zip(*results, strict=True)]
