"""with_backward: a function of tensors that carries its own derivative.

    x_forward(*tensors, **options)        -> y, cache
    x_backward(dy, cache, **options)      -> one gradient for each tensor
    x = with_backward(x_forward, x_backward)         x(*tensors, **options) -> y

`y` is a tensor or a tuple of tensors, `dy` has the structure of `y`. Options are Python values
(strides, axis, epsilon). A tensor may be None (no bias): its gradient is then thrown away. An
integer tensor gets the gradient None.

The backward consists of TensorFlow operations, so it can itself be differentiated: Hessians and
gradient penalties work. It must contain neither `tf.GradientTape` (which breaks inside a
`tf.function`) nor `tf.stop_gradient` (which would make the second derivative silently zero).

Hand in weights as tensors, `tf.convert_to_tensor(self.kernel)`: a `keras.Variable` would be caught
by `tf.custom_gradient`, which then demands its gradient under another name.
"""

import collections
import contextlib
import functools
from collections.abc import Callable

import tensorflow as tf

from custom_layers.private_apis import (
    could_possibly_record,
    has_tangents,
    inspects_operations,
    stop_recording,
)

_by_autodiff = None


@contextlib.contextmanager
def autodiff():
    """Inside this context every function made here is its bare forward.

    TensorFlow then derives the gradient by itself: the oracle that the proofs in
    `custom_layers.checks` hold the written-out backward against. Eager mode only. As a value it has
    the list of the functions that were called inside of it.
    """
    global _by_autodiff
    before, _by_autodiff = _by_autodiff, []
    try:
        yield _by_autodiff
    finally:
        _by_autodiff = before


def sum_dtype(dtype):
    """The type to sum numbers of `dtype` in: float32 for 16 bits, which 3000 ones do not fit into.

    In bfloat16 they add up to 256, in float16 their squares overflow.
    """
    return tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype


def wide(x):
    """x as numbers that can be summed: in float32 where it has 16 bits, else as it is."""
    return tf.cast(x, sum_dtype(x.dtype))


def matmul(x, W):
    """x W for x (..., I) and W (I, O)."""
    if W.shape[0] == 0:  # oneDNN's kernel of a product and a bias would end the process
        return tf.reduce_sum(x, -1, keepdims=True) + tf.zeros(W.shape[1:], x.dtype)
    return tf.matmul(x, W) if x.shape.rank == 2 else tf.tensordot(x, W, 1)


def sum_places(dy):
    """db = Σ dy over all axes but the last, in the type of dy."""
    return tf.cast(tf.reduce_sum(wide(dy), range(dy.shape.rank - 1)), dy.dtype)


def sum_rows(rows, ids, shape):
    """dW[v] = Σ rows[n] over ids[n] = v: rows (N, D), ids (N,), the shape (V, D) of W.

    As `tf.IndexedSlices`, which leave the sum to whoever needs it; but of 16 bits they would be
    summed in 16 bits, so that sum is made here.
    """
    if sum_dtype(rows.dtype) == rows.dtype:
        return tf.IndexedSlices(rows, ids, shape)
    return tf.cast(tf.math.unsorted_segment_sum(wide(rows), ids, shape[0]), rows.dtype)


MOST_LENGTHS = 32  # of one loop that are compiled


@functools.lru_cache
def compiled(function, **options):
    """`function(*tensors, **options)`, compiled by XLA inside of the surrounding graph.

    For loops over small tensors (T, ...), whose time goes into starting operations. Each shape is
    compiled again and stays in memory: beyond 32 lengths T the function runs as it is, and so it
    does where something looks at each operation (`tf.debugging.enable_check_numerics`).

    What is differentiated is the function itself, uncompiled: TensorFlow cannot differentiate a
    compiled loop, as what it would keep of each step may not leave the compiled part.
    """
    plain = functools.partial(function, **options)
    fast = tf.function(plain, jit_compile=True, autograph=False)
    lengths = collections.defaultdict(set)  # {shapes without T: all T}

    def call(*arguments):
        flat = tf.nest.flatten(arguments)  # tensors and None
        given = [x for x in flat if x is not None]
        seen = lengths[tuple((x.dtype, *x.shape[1:]) for x in given)]
        length = tuple(x.shape[0] for x in given if x.shape.rank)
        if has_tangents(given):
            raise NotImplementedError(
                "TensorFlow has no forward mode (tf.autodiff.ForwardAccumulator) of a loop inside "
                "of a tf.function. Call the layer eagerly, or use tf.GradientTape."
            )
        if inspects_operations() or (len(seen) == MOST_LENGTHS and length not in seen):
            return plain(*arguments)
        seen.add(length)

        def restore(tensors):
            tensors = iter(tensors)
            both = [None if x is None else next(tensors) for x in flat]
            return tf.nest.pack_sequence_as(arguments, both)

        structure = []

        @tf.custom_gradient
        def run(*tensors):
            with stop_recording():  # a stop_gradient would stay in what vectorized_map makes of it
                structure.append(fast(*restore(tensors)))

            def gradient(*dy):
                # Where one tensor is made of another, tf.gradients would go on from it to that.
                copies = [tf.identity(x) for x in tensors]
                results = [y for y in tf.nest.flatten(plain(*restore(copies))) if y is not None]
                where = [i for i, y in enumerate(results) if y.dtype.is_floating]
                return tf.gradients([results[i] for i in where], copies, [dy[i] for i in where])

            return [y for y in tf.nest.flatten(structure[0]) if y is not None], gradient

        results = iter(run(*given))
        return tf.nest.map_structure(lambda y: None if y is None else next(results), structure[0])

    return call


def check_options(options):
    """Raise a TypeError if an option is a tensor that a gradient might be asked for."""
    for name, value in options.items():
        for x in tf.nest.flatten(value):
            if tf.is_tensor(x) and x.dtype.is_floating:
                raise TypeError(
                    f"The option `{name}` is a tensor, whose gradient would be lost. Hand it in by "
                    "position, and let the backward return a gradient for it."
                )


def with_backward(forward: Callable, backward: Callable) -> Callable:
    """Join a forward and its backward into one differentiable function.

    Args:
        forward: `(*tensors, **options) -> (y, cache)`.
        backward: `(dy, cache, **options) -> gradients`, as many as there are tensors; a single
            gradient need not be wrapped in a tuple.

    Returns:
        A function `(*tensors, **options) -> y` with the attributes `forward` and `backward`.
    """

    def join(given, count, options):
        """The function of the tensors at the places `given` of `count`, None at the others."""
        options = dict(options)

        # tf.custom_gradient accepts neither None nor, in graph mode, keyword arguments.
        @tf.custom_gradient
        def call(*present):
            arguments = [None] * count
            for i, tensor in zip(given, present, strict=True):
                arguments[i] = tensor
            y, cache = forward(*arguments, **options)

            def gradient(*dy):
                dy = dy if isinstance(y, tuple) else dy[0]
                gradients = backward(dy, cache, **options)
                if not isinstance(gradients, (tuple, list)):
                    gradients = (gradients,)
                return [gradients[i] for i in given]

            return y, gradient

        return call

    # To decorate takes a third of what tf.custom_gradient adds to an eager call (20 of 55 µs).
    join_once = functools.lru_cache(join)

    def function(*tensors, **options):
        if _by_autodiff is not None:
            _by_autodiff.append(function)
            return forward(*tensors, **options)[0]
        if tf.executing_eagerly() and not could_possibly_record():
            return forward(*tensors, **options)[0]  # nobody asks for a gradient
        given = tuple(i for i, tensor in enumerate(tensors) if tensor is not None)
        arguments = given, len(tensors), tuple(options.items())
        try:
            call = join_once(*arguments)
        except TypeError:  # an option that cannot be a key: a list, a tensor
            check_options(options)
            call = join(*arguments)
        return call(*(tensors[i] for i in given))

    function.__name__ = forward.__name__.removesuffix("_forward")
    function.__doc__ = forward.__doc__
    function.forward = forward
    function.backward = backward
    return function
