"""recurrence: what recurrent layers do with time.

A step h_t = step(a_t, h_{t-1}) sees its input as a_t = x_t W + b, which does not depend on the step
before: all of a is one product outside of the loop, and so are the gradients of the weights. The
buffers are time-major (T, B, ...): a step reads and writes contiguous memory.

    over_time               a loop and its backward as one function of x, compiled in training
    halves, join_halves     a batch as two, whose loops run side by side
    scan                    the loop over time, forward and backward
    where_mask, previous    states under a mask, states of the step before
    DERIVATIVES, vjp        of an activation y = f(z), in terms of y: dz = f'(z) dy
    activate, activate_vjp  several activations side by side
    product                 x W, with or without dropout masks, and its two derivatives
    project                 a = x W + b,   dx = da Wᵀ   dW = Σ xᵀ da   db = Σ da
    split_before_loop       the blocks of the gates, split where a loop reads them best
"""

import functools

import keras
import tensorflow as tf

from custom_layers.gradients import compiled, matmul, sum_places, wide, with_backward
from custom_layers.private_apis import compiled_by_xla


def over_time(forward, backward):
    """Join a loop over time and its backward into one differentiable function of x.

        forward(a, U, ..., in_place=, unroll=, **activations)  -> y, cache
        backward(dy, cache, unroll=, **activations)            -> da, [(dp, h₋, drop), ...], ...
        function(x, W, b, drop_x, U, ..., training=, unroll=, **activations) -> y

    Around the loops stand a = x W + b, its derivatives, and dU, whose blocks of columns are
    Σ h₋ᵀ dp. These are products of all steps at once, which TensorFlow computes faster than XLA.

    The written-out backward holds for the activations in `DERIVATIVES`. Any other function may have
    weights of its own or use tensors from elsewhere: TensorFlow then derives the whole loop.
    """

    def forward_all(x, W, b, drop_x, *others, training, **options):
        a, cache = project_forward(x, W, b, drop_x)
        start = compiled if compiles(x, training, options["unroll"]) else functools.partial
        y, own = start(forward, in_place=not training, **options)(a, *others)
        return y, (cache, own)

    def backward_all(dy, cache, *, training, **options):
        cache, own = cache
        start = compiled if compiles(cache[0], training, options["unroll"]) else functools.partial
        da, products, *others = start(backward, **options)(dy, own)
        dU = [product_dkernel(*operands) for operands in products]
        dU = dU[0] if len(dU) == 1 else tf.concat(dU, 1)
        return *project_backward(da, cache), dU, *others

    by_hand = with_backward(forward_all, backward_all)

    def function(x, W, b, drop_x, *others, training, **options):
        if all(f in DERIVATIVES for f in options.values() if callable(f)):
            return by_hand(x, W, b, drop_x, *others, training=training, **options)
        a = project(x, W, b, drop_x)
        return forward(a, *others, in_place=False, **options)[0]

    function.forward, function.backward = forward_all, backward_all
    return function


def compiles(x, training, unroll=False):
    """Whether loops over the steps of x (T, B, I) are compiled by XLA.

    A loop of a few steps over small tensors spends its time on starting operations. Compiled, it is
    several times faster, but each new shape takes a second to compile, and a compiled graph cannot
    be served everywhere: so it is compiled in training, and where T is known.
    """
    return training and not unroll and x.shape[0] is not None and not tf.executing_eagerly()


def faster_in_halves(x, training, unroll=False):
    """Whether loops over x (T, B, I) are to run in `halves` of the batch: compiled, on a CPU."""
    on_cpu = not tf.config.list_physical_devices("GPU")
    here = compiles(x, training, unroll) and on_cpu and not compiled_by_xla()
    return here and x.shape[1] not in (0, 1)


def halves(*tensors):
    """The tensors of each half of the batch, whose loops TensorFlow runs side by side.

    A compiled loop has one thread for all but its products, which are small. On two cores two loops
    of 32 rows take three quarters of the time of one of 64. Tensors are None, (B, ...) if of two
    axes, and (T, B, ...) if of three; the first is not None.
    """
    # A stateful layer knows the size of its states, even if it does not know that of its input.
    known = (x.shape[x.shape.rank - 2] for x in tensors if x is not None)
    size = next((n for n in known if n is not None), None)
    size = tf.shape(tensors[0])[tensors[0].shape.rank - 2] if size is None else size
    sizes = size - size // 2, size // 2

    def split(x):
        return (None, None) if x is None else tf.split(x, sizes, x.shape.rank - 2)

    return list(zip(*map(split, tensors), strict=True))


def join_halves(results):
    """One list of tensors (B, ...) or (T, B, ...) from the lists of the halves, or of the whole."""
    if len(results) == 1:
        return results[0]
    return [tf.concat(y, y[0].shape.rank - 2) for y in zip(*results, strict=True)]


def scan(step, states, sequences, outputs, reverse=False, in_place=False, unroll=False):
    """Run `states, y = step(states, *[s[t] for s in sequences])` for t = 0, 1, ..., T-1.

    Args:
        states: tensors (B, ...), or structures of them.
        sequences: tensors (T, B, ...), or lists of them; None gives the step None.
        outputs: for each output y of a step something with its shape and dtype.
        reverse: run t = T-1, ..., 1, 0.
        in_place: read the steps where they are, which saves a copy of all of them: a twelfth of an
            LSTM's forward. TensorFlow's derivative of the loop would then take T times T steps.
        unroll: the operations of all steps one after the other, instead of a loop. T is known.

    Returns:
        The last states, and the outputs (T, B, ...), in the order of time.
    """
    first = next(s for s in tf.nest.flatten(sequences) if s is not None)
    time = tf.shape(first)[0] if first.shape[0] is None else first.shape[0]

    def reader(s):
        if s is None:
            return lambda t: None
        if unroll:
            return tf.unstack(s).__getitem__
        if in_place:
            return s.__getitem__
        return tf.TensorArray(s.dtype, time, element_shape=s.shape[1:]).unstack(s).read

    reads = tf.nest.map_structure(reader, list(sequences))

    def inputs_at(t):
        return tf.nest.map_structure(lambda read: read(t), reads)

    if unroll:
        ys = [None] * time
        for t in reversed(range(time)) if reverse else range(time):
            states, ys[t] = step(states, *inputs_at(t))
        return states, [tf.stack(y) for y in zip(*ys, strict=True)]

    def body(i, states, writes):
        t = time - 1 - i if reverse else i
        states, ys = step(states, *inputs_at(t))
        return i + 1, states, [write.write(t, y) for write, y in zip(writes, ys, strict=True)]

    writes = [tf.TensorArray(y.dtype, time, element_shape=y.shape) for y in outputs]
    _, states, writes = tf.while_loop(
        lambda i, *_: i < time, body, (0, states, writes), maximum_iterations=time
    )
    return states, [write.stack() for write in writes]


def step_of(sequence):
    """The shape and dtype of a step: (T, B, ...) -> (B, ...)."""
    return tf.TensorSpec(sequence.shape[1:], sequence.dtype)


def where_mask(mask, new, old):
    """`new` where the mask (B, 1) says that the step happens, else `old`; `new` without a mask."""
    if mask is None:
        return new
    for _ in range(new.shape.rank - mask.shape.rank):
        mask = tf.expand_dims(mask, -1)  # LiteRT has it, and no index with an ellipsis
    return tf.where(mask, new, old)


def previous(start, states):
    """The states before each step: (B, H) and (T, B, H) -> (T, B, H)."""
    return tf.concat([start[None], states[:-1]], 0)


# dz = f'(z) dy of y = f(z), in terms of y.
DERIVATIVES = {
    "linear": lambda y, dy: dy,
    "tanh": lambda y, dy: dy * (1 - y * y),
    "sigmoid": lambda y, dy: dy * y * (1 - y),
    "hard_sigmoid": lambda y, dy: tf.where((y > 0) & (y < 1), dy / 6, tf.zeros_like(dy)),
    "relu": lambda y, dy: tf.where(y > 0, dy, tf.zeros_like(dy)),
    "elu": lambda y, dy: tf.where(y > 0, dy, dy * (y + 1)),
    "exponential": lambda y, dy: dy * y,
    "softplus": lambda y, dy: -dy * tf.math.expm1(-y),
    "softsign": lambda y, dy: dy * tf.square(1 - tf.abs(y)),
    "softmax": lambda y, dy: y * (dy - tf.reduce_sum(y * dy, -1, keepdims=True)),
}
DERIVATIVES = {getattr(keras.activations, name): slope for name, slope in DERIVATIVES.items()}


def vjp(f, y, dy):
    """dz = f'(z) dy, for an activation y = f(z) in `DERIVATIVES`."""
    return DERIVATIVES[f](y, dy)


def _half(functions, z):
    """For blocks of sigmoids and tanhs under XLA: 1/2 and 1 in their columns, else None."""
    scales = {keras.activations.sigmoid: 0.5, keras.activations.tanh: 1.0}
    if not compiled_by_xla() or not all(f in scales for f in functions):
        return None
    units = z.shape[-1] // len(functions)
    return tf.constant([scales[f] for f in functions for _ in range(units)], z.dtype)


def activate(functions, z):
    """Each function on its block of the columns of z (B, G H): y (B, G H), and its blocks (B, H).

    With σ(z) = (1 + tanh(z / 2)) / 2 it is one tanh of all blocks. Compiled by XLA for a CPU, that
    takes a quarter off the forward loop of an LSTM and a tenth off its backward; not compiled, it
    would take a quarter longer than four functions.
    """
    half = _half(functions, z)
    if half is None:
        parts = zip(functions, tf.split(z, len(functions), 1), strict=True)
        parts = [f(part) for f, part in parts]
        return tf.concat(parts, 1), parts
    y = half * tf.tanh(half * z) + (1 - half)
    return y, tf.split(y, len(functions), 1)


def activate_vjp(functions, y, dy):
    """`vjp` of each function on its block: σ' = y (1 - y) and tanh' = (1 + y) (1 - y)."""
    half = _half(functions, y)
    if half is None:
        count = len(functions)
        parts = zip(functions, tf.split(y, count, 1), tf.split(dy, count, 1), strict=True)
        return tf.concat([vjp(*part) for part in parts], 1)
    return dy * ((y + (2 * half - 1)) * (1 - y))


def split_before_loop(x, count):
    """x (T, B, G H) as `scan` reads it best: as it is, or under XLA as G sequences (T, B, H).

    On a CPU, XLA does not vectorize a loop that reads rows only to take columns from them: the
    forward of a GRU takes 2.4 times as long.
    """
    return tf.split(x, count, 2) if compiled_by_xla() else x


def split_in_loop(x, count):
    """The G blocks (B, H) of one step of what `split_before_loop` returns."""
    return x if isinstance(x, list) else tf.split(x, count, 1)


def product(x, kernel, drop, bias=None):
    """x W + b for x (..., B, I), W (I, G O). With dropout masks (G, B, I), gate g sees x ∘ drop_g.

    The bias goes on the rows of the product: only there TensorFlow makes one kernel of the two. In
    16 bits it is added in 32, so that its gradient is summed in 32 where TensorFlow derives this.
    """
    if drop is not None:
        parts = zip(tf.unstack(drop), tf.split(kernel, drop.shape[0], 1), strict=True)
        y = tf.concat([product(x * d, k, None) for d, k in parts], -1)
        return y if bias is None else tf.cast(wide(y) + wide(bias), y.dtype)
    y = matmul(x if x.shape.rank == 2 else tf.reshape(x, (-1, kernel.shape[0])), kernel)
    if bias is not None:
        y = tf.cast(tf.nn.bias_add(wide(y), wide(bias)), y.dtype)
    if x.shape.rank == 2:
        return y
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], kernel.shape[1:]], 0))


def product_dx(da, transposed, drop):
    """dx = da Wᵀ for da (..., B, G O) and Wᵀ (G O, I), which a loop transposes once, before it."""
    if drop is None:
        return product(da, transposed, None)
    gates = drop.shape[0]
    parts = zip(tf.unstack(drop), tf.split(da, gates, -1), tf.split(transposed, gates), strict=True)
    return tf.add_n([d * product(g, k, None) for d, g, k in parts])


def product_dkernel(da, x, drop):
    """dW = Σ xᵀ da over all steps in one product."""
    if drop is None:
        rows_x, rows_da = (tf.reshape(t, (-1, t.shape[-1])) for t in (x, da))
        return tf.matmul(rows_x, rows_da, transpose_a=True)
    parts = zip(tf.unstack(drop), tf.split(da, drop.shape[0], -1), strict=True)
    return tf.concat([product_dkernel(g, x * d, None) for d, g in parts], 1)


def product_dbias(da):
    """db = Σ da over all steps and rows; of 16 bits summed in 32."""
    if compiled_by_xla():
        return sum_places(da)
    # On a CPU, a product with a row of ones takes half the time of a sum, but not under XLA.
    rows = tf.reshape(wide(da), (-1, da.shape[-1]))
    return tf.cast(tf.matmul(tf.ones_like(rows[:, :1]), rows, transpose_a=True)[0], da.dtype)


def project_forward(x, W, b, drop):
    """x (..., B, I), W (I, G O), b (G O,) or None, drop (G, B, I) or None -> a (..., B, G O)."""
    return product(x, W, drop, b), (x, W, b, drop)


def project_backward(da, cache):
    """da (..., B, G O) -> dx, dW, db."""
    x, W, b, drop = cache
    db = None if b is None else product_dbias(da)
    return product_dx(da, tf.transpose(W), drop), product_dkernel(da, x, drop), db, None


project = with_backward(project_forward, project_backward)
