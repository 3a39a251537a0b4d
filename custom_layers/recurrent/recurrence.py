"""recurrence: what recurrent layers do with time.

A step h_t = step(a_t, h_{t-1}) sees its input as a_t = x_t W + b, which does not depend on the step
before: all of a is one product outside of the loop, and so are the gradients of the weights. The
buffers are time-major (T, B, ...): a step reads and writes contiguous memory.

    scan                    the loop over time, forward and backward
    hold, before            states under a mask, states of the step before
    keep, value, pull_back  an activation and its derivative, from the one tensor that is kept;
                            keep_blocks, pull_back_blocks: of several activations side by side
    product                 x W with or without dropout masks, and its two derivatives
    project                 a = x W + b,   dx = da Wᵀ   dW = Σ xᵀ da   db = Σ da
    apart, blocks           the blocks of the gates in a row, as a loop reads them best
"""

import keras
import tensorflow as tf

from custom_layers.gradients import with_backward
from custom_layers.private_apis import compiled_by_xla


def scan(step, states, sequences, widths, reverse=False, in_place=False):
    """Run `states, outputs = step(states, *[s[t] for s in sequences])` for t = 0, 1, ..., T-1.

    Args:
        states: tensors (B, ...).
        sequences: tensors (T, B, ...), or lists of them; None gives the step None.
        widths: size of the last axis of each output (B, width).
        reverse: run t = T-1, ..., 1, 0.
        in_place: read the steps where they are, which saves a copy of all of them: a twelfth of an
            LSTM's forward. A derivative of the loop would then take T times T steps.

    Returns:
        The last states, and the outputs (T, B, width), in the order of time.
    """
    first = tf.nest.flatten(sequences)[0]
    time = tf.shape(first)[0] if first.shape[0] is None else first.shape[0]
    shape = states[0].shape[:1]

    def reader(s):
        if s is None:
            return lambda t: None
        if in_place:
            return lambda t: s[t]
        return tf.TensorArray(s.dtype, time, element_shape=s.shape[1:]).unstack(s).read

    reads = tf.nest.map_structure(reader, list(sequences))
    writes = [tf.TensorArray(states[0].dtype, time, element_shape=shape + (w,)) for w in widths]

    def body(i, states, writes):
        t = time - 1 - i if reverse else i
        states, outputs = step(states, *tf.nest.map_structure(lambda read: read(t), reads))
        return i + 1, states, [write.write(t, y) for write, y in zip(writes, outputs, strict=True)]

    _, states, writes = tf.while_loop(
        lambda i, *_: i < time, body, (0, states, writes), maximum_iterations=time
    )
    return states, [write.stack() for write in writes]


def hold(mask, new, old):
    """The states after a step: `old` where the mask says that the step does not happen."""
    return new if mask is None else tf.where(mask, new, old)


def before(start, sequence):
    """The states before each step: (B, H) and (T, B, H) -> (T, B, H)."""
    return tf.concat([start[None], sequence[:-1]], 0)


# y = f(z): dz = f'(z) dy, with f' in terms of y.
SLOPES = {
    "tanh": lambda y, dy: dy * (1 - y * y),
    "sigmoid": lambda y, dy: dy * y * (1 - y),
    "relu": lambda y, dy: tf.where(y > 0, dy, tf.zeros_like(dy)),
    "linear": lambda y, dy: dy,
}
SLOPES = {getattr(keras.activations, name): slope for name, slope in SLOPES.items()}


def keep(f, z):
    """What the backward needs of f(z): the output where f' follows from it, else z itself."""
    return f(z) if f in SLOPES else z


def value(f, kept):
    """f(z), from what `keep` kept."""
    return kept if f in SLOPES else f(kept)


def pull_back(f, kept, dy):
    """dz = f'(z) dy, for any function f: softmax and functions of your own too."""
    if f in SLOPES:
        return SLOPES[f](kept, dy)
    if tf.executing_eagerly():  # tf.gradients is for graphs, and a tape breaks inside them
        with tf.GradientTape() as tape:
            tape.watch(kept)
            y = f(kept)
        return tape.gradient(y, kept, dy, unconnected_gradients="zero")
    return tf.gradients(f(kept), kept, dy, unconnected_gradients="zero")[0]


def _half(functions, z):
    """For blocks of sigmoids and tanhs under XLA: 1/2 and 1 in their columns, else None."""
    scales = {keras.activations.sigmoid: 0.5, keras.activations.tanh: 1.0}
    if not compiled_by_xla() or not all(f in scales for f in functions):
        return None
    units = z.shape[-1] // len(functions)
    return tf.constant([scales[f] for f in functions for _ in range(units)], z.dtype)


def apart(x, count):
    """x (T, B, G H) as what `scan` reads: `blocks` makes G blocks (B, H) of what it has read.

    Under XLA on a CPU they are sequences of their own. A loop that reads rows only to take columns
    from them is not vectorized there: the forward of a GRU takes 2.4 times as long.
    """
    return tf.split(x, count, 2) if compiled_by_xla() else [x]


def blocks(parts, count):
    return parts if len(parts) == count else tf.split(parts[0], count, 1)


def keep_blocks(functions, z):
    """`keep` of each function on its block of the columns of z (B, G H), and the values (B, H).

    With σ(z) = (1 + tanh(z / 2)) / 2 it is one tanh of all blocks. Compiled by XLA for a CPU, that
    takes a quarter off the forward loop of an LSTM and a tenth off its backward; not compiled, it
    would take a quarter longer than four functions.
    """
    half = _half(functions, z)
    if half is None:
        parts = zip(functions, tf.split(z, len(functions), 1), strict=True)
        parts = [keep(f, part) for f, part in parts]
        kept = tf.concat(parts, 1)
    else:
        kept = half * tf.tanh(half * z) + (1 - half)
        parts = tf.split(kept, len(functions), 1)
    return kept, [value(f, part) for f, part in zip(functions, parts, strict=True)]


def pull_back_blocks(functions, kept, dy):
    """`pull_back` of each function on its block: σ' = y (1 - y) and tanh' = (1 + y) (1 - y)."""
    half = _half(functions, kept)
    if half is None:
        count = len(functions)
        parts = zip(functions, tf.split(kept, count, 1), tf.split(dy, count, 1), strict=True)
        return tf.concat([pull_back(*part) for part in parts], 1)
    return dy * ((kept + (2 * half - 1)) * (1 - kept))


def product(x, kernel, drop, bias=None):
    """x W + b for x (..., B, I), W (I, G O). With dropout masks (G, B, I), gate g sees x ∘ drop_g.

    The bias goes on the rows of the product: only there TensorFlow makes one kernel of the two.
    """
    if drop is not None:
        parts = zip(tf.unstack(drop), tf.split(kernel, drop.shape[0], 1), strict=True)
        y = tf.concat([product(x * d, k, None) for d, k in parts], -1)
        return y if bias is None else y + bias
    y = tf.matmul(x if x.shape.rank == 2 else tf.reshape(x, (-1, kernel.shape[0])), kernel)
    y = y if bias is None else tf.nn.bias_add(y, bias)
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


def project_forward(x, kernel, bias, drop):
    """x (..., B, I), W (I, G O), b (G O,) or None, drop (G, B, I) or None -> a (..., B, G O)."""
    return product(x, kernel, drop, bias), (x, kernel, drop)


def project_backward(da, cache):
    x, kernel, drop = cache
    if compiled_by_xla() or da.dtype.size < 4:
        dbias = tf.reduce_sum(da, tuple(range(da.shape.rank - 1)))
    else:  # on a CPU, a product with a row of ones takes half the time of a sum, but not under XLA
        rows = tf.reshape(da, (-1, kernel.shape[1]))
        dbias = tf.matmul(tf.ones_like(rows[:, :1]), rows, transpose_a=True)[0]
    return product_dx(da, tf.transpose(kernel), drop), product_dkernel(da, x, drop), dbias, None


project = with_backward(project_forward, project_backward)
