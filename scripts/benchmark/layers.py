"""The layers that the benchmark measures, and how fast the machine itself could be.

The layer of a case is built from a namespace, `custom_layers` or `keras.layers`, so that both sides
of a comparison come from one line.
"""

import numpy as np
import tensorflow as tf

from scripts.benchmark.timing import Case, kept_bytes, passes, timers

RNN_SIZES = [
    (32, 200, 32, 32),
    (1, 500, 64, 64),
    (64, 100, 64, 128),
    (32, 50, 128, 256),
    (16, 400, 100, 128),
    (128, 28, 28, 128),
]


def layer_case(name, shape, size="", small=True, floor=None, **arguments):
    """A layer called with arrays of `shape`, batch first; `arguments` are its own.

    size: as the table has it; by default the shape. The inputs of an Embedding are ids.
    """
    vocabulary = arguments.get("input_dim")

    def build(layers):
        return getattr(layers, name)(**arguments)

    def data():
        rng = np.random.default_rng(0)
        if vocabulary:
            return {"x": rng.integers(0, vocabulary, shape, dtype="int32")}
        return {"x": rng.standard_normal(shape, dtype="float32")}

    return Case(
        name,
        size or by(shape),
        lambda data, layers, mode: timers(passes(build(layers), tf.constant(data["x"]), mode)),
        data,
        small,
        floor,
        kept=lambda data, layers: kept_bytes(build(layers), tf.constant(data["x"])),
    )


def by(shape):
    return "x".join(map(str, shape))


def moving(*shapes):
    """Read and write float32 arrays of these shapes once, as `y = x + 1` does."""

    def make():
        arrays = [tf.zeros(shape) for shape in shapes]
        return tf.function(lambda: [x + 1.0 for x in arrays])

    return make


def products(*sizes, repeat=1):
    """Make the matrix products (M, K) x (K, N), each `repeat` times."""

    def make():
        # Distinct operands, or the graph optimizer would compute one product only.
        pairs = [(tf.zeros((m, k)), tf.zeros((k, n))) for m, k, n in sizes * repeat]
        return tf.function(lambda: [tf.matmul(a, b) for a, b in pairs])

    return make


def recurrent(name, gates):
    def case(size, small):
        b, t, i, h = size
        # Per step h U forward and its two transposes backward, and the same for x W at once.
        floor = recurrent_floor(b, t, i, h, gates)
        arguments = {"units": h, "return_sequences": True}
        return layer_case(name, (b, t, i), by(size), small, floor, **arguments)

    return [case(size, n < 2) for n, size in enumerate(RNN_SIZES)]


def recurrent_floor(b, t, i, h, gates):
    def make():
        u, ut = tf.zeros((h, gates * h)), tf.zeros((gates * h, h))
        x, w, dz = tf.zeros((b * t, i)), tf.zeros((i, gates * h)), tf.zeros((b * t, gates * h))
        states = tf.zeros((b * t, h))

        @tf.function
        def run():
            def step(n, state, slope):
                return n + 1, tf.matmul(state, u)[:, :h], tf.matmul(tf.matmul(slope, ut), u)

            start = (0, tf.zeros((b, h)), tf.zeros((b, gates * h)))
            loop = tf.while_loop(lambda n, *_: n < t, step, start)
            return (
                loop,
                tf.matmul(x, w),
                tf.matmul(x, dz, transpose_a=True),
                tf.matmul(dz, w, transpose_b=True),
                tf.matmul(states, dz, transpose_a=True),
            )

        return run

    return make


def convolution(name, shape, filters, kernel, small=True, **arguments):
    rows, window = int(np.prod(shape[:-1])), kernel ** (len(shape) - 2) * shape[-1]
    floor = products((rows, window, filters), (rows, filters, window), (window, rows, filters))
    arguments |= {"filters": filters, "kernel_size": kernel, "padding": "same"}
    return layer_case(name, shape, f"{by(shape)} -> {filters}", small, floor, **arguments)


def elementwise(name, shape, small=True, **arguments):
    return layer_case(name, shape, "", small, moving(shape, shape), **arguments)


def dense(shape, units, small=True):
    rows = int(np.prod(shape[:-1]))
    floor = products((rows, shape[-1], units), repeat=3)
    return layer_case("Dense", shape, f"{by(shape)} -> {units}", small, floor, units=units)


class OnItself:
    """A layer of queries and values, called with one input for both."""

    def __init__(self, layer, **call):
        self.layer, self.call = layer, call

    def __call__(self, x, training=None):
        return self.layer(x, x, training=training, **self.call)

    def __getattr__(self, name):
        return getattr(self.layer, name)


def attention(length, small=True, **call):
    """8 heads of 64 on (1, T, 512); `use_causal_mask` makes a case of its own."""
    shape, size = (1, length, 512), 64
    of_heads = [(length, size, length), (length, length, size)] * 8
    floor = products(*of_heads, *[(length, 512, 512)] * 4, repeat=3)
    causal = " causal" if call else ""

    def build(layers):
        return OnItself(layers.MultiHeadAttention(8, size), **call)

    return Case(
        "MultiHeadAttention",
        by(shape) + causal,
        lambda data, layers, mode: timers(passes(build(layers), tf.constant(data["x"]), mode)),
        lambda: {"x": np.random.default_rng(0).standard_normal(shape, dtype="float32")},
        small,
        None if call else floor,
        kept=lambda data, layers: kept_bytes(build(layers), tf.constant(data["x"])),
    )


def every_case():
    image = (64, 28, 28, 32)
    text = (64, 128, 256)
    return [
        *recurrent("LSTM", 4),
        *recurrent("GRU", 3),
        *recurrent("SimpleRNN", 1),
        elementwise("BatchNormalization", image),
        elementwise("BatchNormalization", (256, 512), small=False),
        elementwise("LayerNormalization", text),
        elementwise("RMSNormalization", text),
        elementwise("GroupNormalization", image, small=False),
        attention(256),
        attention(1024),
        attention(1024, use_causal_mask=True),
        attention(2048, small=False),
        attention(2048, small=False, use_causal_mask=True),
        elementwise("Dropout", text, rate=0.5),
        elementwise("MaxPooling2D", image),
        elementwise("AveragePooling2D", image, pool_size=2),
        elementwise("GlobalAveragePooling2D", image),
        elementwise("GlobalMaxPooling2D", image),
        elementwise("ReLU", image),
        elementwise("Flatten", image),
        convolution("Conv1D", (64, 128, 64), 64, 5),
        convolution("Conv2D", image, 64, 3),
        convolution("Conv3D", (8, 16, 16, 16, 8), 16, 3),
        convolution("Conv1DTranspose", (64, 128, 64), 64, 5, strides=2, small=False),
        convolution("Conv2DTranspose", (64, 14, 14, 32), 32, 3, strides=2),
        convolution("Conv3DTranspose", (8, 8, 8, 8, 16), 8, 3, strides=2, small=False),
        dense((256, 512), 512),
        dense(text, 256, small=False),
        layer_case(
            "Embedding",
            (64, 128),
            "64x128 of 50000x300",
            floor=moving((64, 128, 300), (64, 128, 300)),
            input_dim=50_000,
            output_dim=300,
        ),
    ]


def tiny_cases():
    """Inputs so small that an eager call takes only as long as starting its operations."""
    image, text = (2, 4, 4, 3), (2, 5, 4)
    named = {
        "Dense": (text, {"units": 4}),
        "Conv1D": (text, {"filters": 4, "kernel_size": 3}),
        "Conv2D": (image, {"filters": 4, "kernel_size": 3}),
        "Conv2DTranspose": (image, {"filters": 4, "kernel_size": 3}),
        "MaxPooling2D": (image, {}),
        "AveragePooling2D": (image, {"pool_size": 2}),
        "GlobalAveragePooling2D": (image, {}),
        "GlobalMaxPooling2D": (image, {}),
        "BatchNormalization": (image, {}),
        "LayerNormalization": (text, {}),
        "Dropout": (text, {"rate": 0.5}),
        "ReLU": (text, {}),
        "LeakyReLU": (text, {}),
        "Softmax": (text, {}),
        "Flatten": (image, {}),
        "SimpleRNN": (text, {"units": 4}),
        "LSTM": (text, {"units": 4}),
        "GRU": (text, {"units": 4}),
        "Embedding": ((2, 5), {"input_dim": 9, "output_dim": 4}),
    }
    return [layer_case(name, shape, **options) for name, (shape, options) in named.items()]
