"""Random arguments, shapes and dtypes: ours agrees with Keras's layer, or both refuse.

A few seconds of it run with the other tests; `make fuzz` runs it for ten minutes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import custom_layers
from custom_layers.checks import TOLERANCE, assert_near

# Keras warns of a softmax over one value and the like; both sides may.
pytestmark = pytest.mark.filterwarnings("ignore")

flag = st.booleans()
dtype = st.sampled_from(["float32", "float32", "float64", "mixed_float16", "mixed_bfloat16"])
activation = st.sampled_from([None, "relu", "tanh", "sigmoid", "softmax", "gelu"])
regularizer = st.sampled_from([None, "l1", "l2", "l1_l2"])
data_format = st.sampled_from([None, "channels_last", "channels_first"])
padding = st.sampled_from(["valid", "same"])
batch = st.integers(0, 3)
small = st.integers(1, 4)


def sizes(rank, low, high):
    """One integer, or one for each axis."""
    one = st.integers(low, high)
    return one | st.tuples(*[one] * rank)


def shape(rank, low=1, high=9):
    """(B, space..., C)"""
    return st.tuples(batch, *[st.integers(low, high)] * rank, small)


def arguments(**kinds):
    return st.fixed_dictionaries({}, optional=kinds)


def convolution(rank, transposed=False):
    kinds = {
        "strides": sizes(rank, 1, 3),
        "padding": padding | st.just("causal") if rank == 1 and not transposed else padding,
        "data_format": data_format,
        "dilation_rate": sizes(rank, 1, 3),
        "activation": activation,
        "use_bias": flag,
        "kernel_regularizer": regularizer,
        "dtype": dtype,
    }
    if transposed:
        kinds["output_padding"] = st.none() | sizes(rank, 0, 2)
    else:
        kinds["groups"] = st.integers(1, 3)
    needed = {"filters": st.integers(1, 6), "kernel_size": sizes(rank, 1, 4)}
    both = st.fixed_dictionaries(needed, optional=kinds)
    return both, shape(rank, high=7 if rank < 3 else 5)


def pooling(rank):
    kinds = {
        "pool_size": sizes(rank, 1, 4),
        "strides": st.none() | sizes(rank, 1, 4),
        "padding": padding,
        "data_format": data_format,
        "dtype": dtype,
    }
    required = {"pool_size": kinds.pop("pool_size")}
    return st.fixed_dictionaries(required, optional=kinds), shape(rank, high=7)


def global_pooling(rank):
    return arguments(data_format=data_format, keepdims=flag, dtype=dtype), shape(rank)


def recurrent(**more):
    kinds = arguments(
        activation=st.sampled_from(["tanh", "relu", "linear", "gelu"]),
        use_bias=flag,
        return_sequences=flag,
        return_state=flag,
        go_backwards=flag,
        unroll=flag,
        dtype=dtype,
        **more,
    )
    needed = st.fixed_dictionaries({"units": small})
    return st.tuples(needed, kinds).map(lambda p: p[0] | p[1]), shape(1, high=6)


gate = {"recurrent_activation": st.sampled_from(["sigmoid", "hard_sigmoid", "tanh"])}

LAYERS = {
    "Dense": (
        st.fixed_dictionaries(
            {"units": small},
            optional={
                "activation": activation,
                "use_bias": flag,
                "kernel_regularizer": regularizer,
                "dtype": dtype,
            },
        ),
        shape(0) | shape(1) | shape(2),
    ),
    **{f"Conv{rank}D": convolution(rank) for rank in (1, 2, 3)},
    **{f"Conv{rank}DTranspose": convolution(rank, transposed=True) for rank in (1, 2, 3)},
    **{f"{kind}Pooling{rank}D": pooling(rank) for rank in (1, 2, 3) for kind in ("Max", "Average")},
    **{
        f"Global{kind}Pooling{rank}D": global_pooling(rank)
        for rank in (1, 2, 3)
        for kind in ("Max", "Average")
    },
    "BatchNormalization": (
        arguments(
            axis=st.integers(-2, 3),
            momentum=st.floats(0, 1),
            epsilon=st.floats(1e-5, 0.1),
            center=flag,
            scale=flag,
            dtype=dtype,
        ),
        shape(0) | shape(1) | shape(2),
    ),
    "LayerNormalization": (
        arguments(
            axis=st.integers(-2, 3) | st.just([1, 2]) | st.just((-2, -1)),
            epsilon=st.floats(1e-5, 0.1),
            center=flag,
            scale=flag,
            dtype=dtype,
        ),
        shape(0) | shape(1) | shape(2),
    ),
    "Flatten": (arguments(data_format=data_format, dtype=dtype), shape(0) | shape(1) | shape(3)),
    "ReLU": (
        arguments(
            # Keras rounds them to float32 in float64 too.
            max_value=st.none() | st.floats(0, 2, width=32),
            negative_slope=st.floats(0, 1, width=32),
            threshold=st.floats(0, 1, width=32),
            dtype=dtype,
        ),
        shape(1),
    ),
    "LeakyReLU": (arguments(negative_slope=st.floats(0, 2, width=32), dtype=dtype), shape(1)),
    "Softmax": (arguments(axis=st.integers(-2, 1), dtype=dtype), shape(1)),
    "SimpleRNN": recurrent(),
    "LSTM": recurrent(unit_forget_bias=flag, **gate),
    "GRU": recurrent(reset_after=flag, **gate),
}


def make(space, name, kinds):
    """The layer or the error."""
    try:
        return getattr(space, name)(**kinds), None
    except (ValueError, TypeError) as error:
        return None, error


def run(layer, x, training):
    """Outputs and gradients, or the error."""
    try:
        # Keras refuses an output of size 0 here, but not in an eager call.
        layer.compute_output_shape(tuple(x.shape))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nest.flatten(layer(x, training=training))
            loss = tf.add_n([tf.reduce_sum(tf.sin(tf.cast(part, "float32"))) for part in y])
        points = [x] + [w.value for w in layer.trainable_variables]
        return y + tape.gradient(loss, points, unconnected_gradients="zero"), None
    except (ValueError, TypeError, IndexError, tf.errors.OpError) as error:
        return None, error


def last(layer):
    return layer.data_format == "channels_last"


def theirs_is_wrong(layer, x):
    """What TensorFlow's kernels get wrong where ours do not."""
    name, half = type(layer).__name__, x.dtype.size == 2
    if "Conv" in name and max(layer.kernel_size) == 1 and max(layer.strides) > 1:
        # The kernel for dW writes outside of its memory: the process ends, now or later.
        return True
    if "Conv" in name and half and layer.padding == "same":
        # Taps that meet padding only are left unset in dW.
        sizes = x.shape[1:-1] if last(layer) else x.shape[2:]
        return min(sizes) < 4
    if "Transpose" in name and 0 in (*x.shape, *layer.compute_output_shape(tuple(x.shape))):
        # Whether the sizes fit is not asked of an empty batch or output.
        return layer.output_padding is not None
    if name == "MaxPooling3D" and half:
        # Of equal maxima, which are not rare in 16 bits, each has the whole gradient.
        return len(np.unique(x.numpy().astype("float32"))) < tf.size(x)
    return False


def agree(name, kinds, size, training):
    ours, refused = make(custom_layers, name, kinds)
    theirs, expected = make(keras.layers, name, kinds)
    assert (refused is None) == (expected is None), f"ours: {refused}; Keras: {expected}"
    assume(expected is None)
    x = tf.constant(np.random.default_rng(0).standard_normal(size), theirs.compute_dtype)
    assume(not theirs_is_wrong(ours, x))
    _, refused = run(ours, x, training)
    _, expected = run(theirs, x, training)
    if expected is not None and refused is None:
        # Keras may lack a kernel that ours does without (a grouped or dilated convolution).
        assume(not isinstance(expected, tf.errors.OpError))
    assert (refused is None) == (expected is None), f"ours: {refused}; Keras: {expected}"
    assume(expected is None)
    ours.set_weights(theirs.get_weights())
    pairs = list(zip(run(ours, x, training)[0], run(theirs, x, training)[0], strict=True))
    if 0 in size:
        # Of an empty batch, TensorFlow's convolution returns the shape of its input, and Keras's
        # BatchNormalization averages NaN into its statistics. Ours do neither.
        assume(pairs[0][1].shape == theirs.compute_output_shape(size))
        assume(pairs[-1 - len(theirs.trainable_variables)][1].shape == x.shape)  # dx
        assume(
            not np.isnan(np.concatenate([np.ravel(w) for w in theirs.get_weights()] + [[0]])).any()
        )
    if "Conv" in name and ours.use_bias and (x.dtype.size == 2 or not last(ours)):
        # TensorFlow's kernel for db is off by 1e-3 in channels_first and sums in 16 bits; ours
        # does neither.
        pairs = pairs[:-1]
    for a, b in pairs:
        assert a.dtype == b.dtype
        # A sum over n low-precision values may round n times.
        assert_near("output or gradient", a, b, 2 * TOLERANCE[theirs.compute_dtype])
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        assert_near(a.name, a.numpy(), b.numpy(), 2 * TOLERANCE[theirs.compute_dtype])
    assert tuple(ours.compute_output_shape(size)) == tuple(theirs.compute_output_shape(size))


@pytest.mark.parametrize("name", LAYERS)
def test_agrees_with_keras(name):
    kinds, size = LAYERS[name]

    @settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(kinds, size, flag)
    def fuzz(kinds, size, training):
        agree(name, kinds, size, training)

    fuzz()
