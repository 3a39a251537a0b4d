"""Dropout: each number is zeroed with probability r, the others grow by 1 / (1 - r).

    y = x m / (1 - r)         m is 1 with probability 1 - r, otherwise 0        r the `rate`

Backward, given dy = dL/dy: dx = dy m / (1 - r), with the same m.

The mask m is not kept but drawn a second time, so the cache is the seed alone. (A graph's optimizer
may see that both are the same, and keep a byte per entry.) That needs random numbers which are a
function of seed and position and cost next to nothing. Number the positions in rows of 1024; row i
has the random words a_i (even) and b_i, column j has c_j (odd) and d_j:

    h_ij = (a_i + c_j) (b_i + d_j)  mod 2^32           m_ij = 1  if  h_ij >= r 2^32

The first factor is odd, so multiplication by it permutes the 32-bit words, and h_ij is as uniform
as b_i + d_j is. Of three positions no sum b_i + d_j follows from the other two, so any three draws
are independent ("tabulation hashing is 3-independent"); of four corners of a rectangle the sums are
dependent, but the unrelated odd factors hide it. The few words a, b, c, d come from SplitMix64.
These are integers only: eager, graph and XLA code draw the same mask on every device.

Srivastava et al., Dropout, JMLR 2014. Tompson et al., Efficient object localization using
convolutional networks, CVPR 2015 (the spatial ones). Pătraşcu & Thorup, The power of simple
tabulation hashing, JACM 2012. Steele, Lea & Flood, Fast splittable pseudorandom number generators,
OOPSLA 2014.
"""

import numbers

import keras
import tensorflow as tf

from custom_layers.base import Layer, broadcasts
from custom_layers.convolutional.windows import standardize_data_format
from custom_layers.gradients import with_backward

COLUMNS = 1024  # of the grid that positions are numbered in; part of what a seed means
GOLDEN = 0x9E3779B97F4A7C15  # SplitMix64's step, 2^64 divided by the golden ratio


def _word(value):
    return tf.constant(value, tf.uint64)


def _mix(z):
    """The output function of SplitMix64, a permutation of the 64-bit words."""
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _word(30))) * _word(0xBF58476D1CE4E5B9)
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _word(27))) * _word(0x94D049BB133111EB)
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _word(31)))


def random_table(seed, rows, columns):
    """The words a, b (rows, 1) and c, d (columns,) of a grid, from an integer seed (2,)."""
    seed = tf.bitcast(tf.cast(seed, tf.int64), tf.uint64)
    # Odd factors: with one seed, each step has a key of its own.
    key = _mix(tf.reduce_sum(seed * _word([0xD1342543DE82EF95, 0xAF251AF3B0F025B5])))
    steps = tf.range(tf.cast(columns, tf.int64) + tf.cast(rows, tf.int64))
    table = _mix(key + tf.cast(steps, tf.uint64) * _word(GOLDEN))
    low = tf.cast(table, tf.uint32)
    high = tf.cast(tf.bitwise.right_shift(table, _word(32)), tf.uint32)
    a = low[columns:, tf.newaxis] * tf.constant(2, tf.uint32)
    c = tf.bitwise.bitwise_or(low[:columns], tf.constant(1, tf.uint32))
    return a, high[columns:, tf.newaxis], c, high[:columns]


def random_words(seed, count):
    """Uniform uint32 words (rows, 1024), at least `count` of them, from an integer seed (2,)."""
    a, b, c, d = random_table(seed, (count + COLUMNS - 1) // COLUMNS, COLUMNS)
    return (a + c) * (b + d)


@tf.function(
    input_signature=[
        tf.TensorSpec((2,), tf.int64),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((), tf.uint32),
    ],
    autograph=False,
)
def _at_least(seed, shape, threshold):
    """The mask m; a single call in eager mode, where each of some 60 small operations costs one."""
    count = tf.reduce_prod(shape)
    m = random_words(seed, count) >= threshold
    return tf.reshape(tf.reshape(m, (-1,))[:count], shape)


def threshold(rate):
    """The smallest word that lets an entry live: r 2^32."""
    return tf.constant(min(round(rate * 2**32), 2**32 - 1), tf.uint32)


def random_mask(seed, shape, rate):
    """m as booleans of the given shape, each True with probability 1 - rate to within 2^-33."""
    return _at_least(tf.cast(seed, tf.int64), shape, threshold(rate))


def dropout_forward(x, seed, *, rate, noise_shape=None):
    """Zero entries of x (...) at random, given a seed: two integers (2,).

    Where `noise_shape` has a 1, all entries along that axis share their fate; None stands for the
    size of x. `rate` is a Python number in [0, 1].
    """
    if rate == 0:
        return x, seed
    if rate == 1:
        return tf.zeros_like(x), seed
    sizes = tf.shape(x, tf.int64)
    if noise_shape is None:
        m = random_mask(seed, sizes, rate)
    else:
        noise = [sizes[i] if size is None else size for i, size in enumerate(noise_shape)]
        m = random_mask(seed, tf.stack([tf.cast(size, tf.int64) for size in noise]), rate)
        m = tf.broadcast_to(m, sizes)  # an error, rather than a y larger than x
    y = tf.where(m, x * tf.constant(1 / (1 - rate), x.dtype), tf.zeros((), x.dtype))
    return tf.ensure_shape(y, x.shape), seed


def dropout_backward(dy, seed, **options):
    """dx: the same map, linear in x, of dy, with the mask drawn again."""
    return dropout_forward(dy, seed, **options)[0], None


dropout = with_backward(dropout_forward, dropout_backward)


def next_seed(generator):
    """The next seed (2,) of a `keras.random.SeedGenerator`, a different one on each replica."""
    seed = generator.next()
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        # Every replica counts its calls alike: far beyond, count the replicas.
        replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
        seed += tf.stack([tf.zeros_like(replica), replica * 2**40])
    return seed


def _check_noise_shape(noise_shape):
    """None or a tuple of positive integers and None."""
    if noise_shape is None:
        return None
    wrong = "Invalid value received for argument `noise_shape`. "
    if isinstance(noise_shape, str) or not hasattr(noise_shape, "__iter__"):
        raise ValueError(
            f"{wrong}Expected a tuple or list of integers. Received: noise_shape={noise_shape!r}"
        )
    for i, size in enumerate(noise_shape):
        if size is not None and not isinstance(size, int):
            raise ValueError(
                f"{wrong}Expected all elements to be integers or None. "
                f"Received element at index {i}: {size!r}"
            )
        if size is not None and size <= 0:
            raise ValueError(
                f"{wrong}Expected all dimensions to be positive integers or None. "
                f"Received at index {i}: {size}"
            )
    return tuple(noise_shape)


@keras.saving.register_keras_serializable(package="custom_layers")
class Dropout(Layer):
    """Zeroes entries of its input at random while training, and scales up the others.

    Output as input, of any shape. Where `noise_shape` has a 1, all entries along that axis share
    their fate. At inference the input passes through.

    For the same seed, the masks differ from Keras's. Unlike Keras's they are the same in eager,
    graph and XLA code, and differ between the replicas of a `tf.distribute` strategy.

    Raises:
        ValueError: `rate` is not in [0, 1]; `noise_shape` is not made of positive integers and
            None; in training, the input is not of floats.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: tuple[int | None, ...] | None = None,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(rate, numbers.Real) or not 0 <= rate <= 1:
            raise ValueError(
                "Invalid value received for argument `rate`. "
                f"Expected a float value between 0 and 1. Received: rate={rate!r}"
            )
        self.rate = rate
        self.noise_shape = _check_noise_shape(noise_shape)
        self.seed = seed
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        self._build_at_init()

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        if not inputs.dtype.is_floating:
            raise ValueError(
                f"`{self.name}` scales its input, which must be floating point. "
                f"Received: dtype={inputs.dtype.name}"
            )
        noise_shape = self.noise_shape_of(inputs)
        if noise_shape is not None and not broadcasts(noise_shape, inputs.shape):
            raise ValueError(
                "`noise_shape` must broadcast to the shape of the input. "
                f"Received: noise_shape={noise_shape}, inputs.shape={tuple(inputs.shape)}"
            )
        seed = next_seed(self.seed_generator)
        return dropout(inputs, seed, rate=self.rate, noise_shape=noise_shape)

    def noise_shape_of(self, inputs):
        return self.noise_shape

    def compute_output_shape(self, input_shape):
        return input_shape


class _SpatialDropout(Dropout):
    rank = None

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(rate, seed=seed, name=name, dtype=dtype)
        self.data_format = "channels_last"
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def noise_shape_of(self, inputs):
        if self.data_format == "channels_first":
            return (None, None) + self.rank * (1,)
        return (None,) + self.rank * (1,) + (None,)

    def get_config(self):
        # `trainable` and `noise_shape` are not arguments here.
        config = super().get_config()
        names = ["name", "dtype", "rate", "seed"] + ["data_format"] * (self.rank > 1)
        return {name: config[name] for name in names}


@keras.saving.register_keras_serializable(package="custom_layers")
class SpatialDropout1D(_SpatialDropout):
    """Zeroes whole channels of its input at random while training, and scales up the others.

    In convolutions neighbors are much alike, so zeroing single entries hides little. Input
    `(B, T, C)`; output as input.
    """

    rank = 1


@keras.saving.register_keras_serializable(package="custom_layers")
class SpatialDropout2D(_SpatialDropout):
    """`SpatialDropout1D` of images `(B, H, W, C)`, or `(B, C, H, W)` with channels first."""

    rank = 2

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
    ):
        super().__init__(rate, seed, name, dtype)
        self.data_format = standardize_data_format(data_format)


@keras.saving.register_keras_serializable(package="custom_layers")
class SpatialDropout3D(SpatialDropout2D):
    """`SpatialDropout1D` of volumes `(B, D, H, W, C)`, or `(B, C, D, H, W)` with channels first."""

    rank = 3
