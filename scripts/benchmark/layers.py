"""What the benchmark measures: one row a layer and size, and how fast the machine itself could be.

A case builds its layer from a namespace (`custom_layers` or `keras.layers`), so that both sides of
a comparison come from one line. `floor` is a function to time as well: the bare matrix products of
a training step, or one pass over the bytes that it must read and write.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

RNN_SIZES = [
    (32, 200, 32, 32),
    (1, 500, 64, 64),
    (64, 100, 64, 128),
    (32, 50, 128, 256),
    (16, 400, 100, 128),
    (128, 28, 28, 128),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer at one size.

    layer: its name, as in keras.layers.
    build: namespace -> the layer.
    shape: of the input, batch first.
    size: how the size is written in the table.
    small: whether it belongs to `--sizes small`.
    vocabulary: of integer inputs; 0 for float inputs.
    floor: makes the function that is timed as the floor.
    """

    layer: str
    build: Callable
    shape: tuple[int, ...]
    size: str
    small: bool = True
    vocabulary: int = 0
    floor: Callable | None = None

    @property
    def key(self):
        return f"{self.layer} {self.size}"

    def inputs(self):
        rng = np.random.default_rng(0)
        if self.vocabulary:
            return rng.integers(0, self.vocabulary, self.shape, dtype="int32")
        return rng.standard_normal(self.shape, dtype="float32")


def moving(*shapes):
    """Reading and writing these float32 arrays once, as `y = x + 1` does."""

    def make():
        arrays = [tf.zeros(shape) for shape in shapes]
        return tf.function(lambda: [x + 1.0 for x in arrays])

    return make


def products(*sizes, repeat=1):
    """The matrix products (M, K) x (K, N), each `repeat` times."""

    def make():
        # Distinct operands, or the graph optimizer would compute one product only.
        pairs = [(tf.zeros((m, k)), tf.zeros((k, n))) for m, k, n in sizes * repeat]
        return tf.function(lambda: [tf.matmul(a, b) for a, b in pairs])

    return make


def recurrent(name, gates):
    def build(size, small):
        b, t, i, h = size
        rows = b * t
        return Case(
            name,
            lambda layers: getattr(layers, name)(h, return_sequences=True),
            (b, t, i),
            "x".join(map(str, size)),
            small,
            # Per step h U forward and its two transposes backward, and the same for x W at once.
            floor=recurrent_floor(b, t, h, gates, (rows, i, gates * h)),
        )

    return [build(size, n < 2) for n, size in enumerate(RNN_SIZES)]


def recurrent_floor(b, t, h, gates, hoisted):
    def make():
        u, ut = tf.zeros((h, gates * h)), tf.zeros((gates * h, h))
        m, k, n = hoisted
        x, w, dz = tf.zeros((m, k)), tf.zeros((k, n)), tf.zeros((m, n))
        states = tf.zeros((m, h))

        @tf.function
        def run():
            def step(i, state, slope):
                return i + 1, tf.matmul(state, u)[:, :h], tf.matmul(tf.matmul(slope, ut), u)

            start = (0, tf.zeros((b, h)), tf.zeros((b, gates * h)))
            loop = tf.while_loop(lambda i, *_: i < t, step, start)
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
    rank = len(shape) - 2
    rows = int(np.prod(shape[:-1]))
    taps = kernel**rank * shape[-1]
    return Case(
        name,
        lambda layers: getattr(layers, name)(filters, kernel, padding="same", **arguments),
        shape,
        f"{'x'.join(map(str, shape))} -> {filters}",
        small,
        floor=products((rows, taps, filters), (rows, filters, taps), (taps, rows, filters)),
    )


def elementwise(name, shape, small=True, **arguments):
    return Case(
        name,
        lambda layers: getattr(layers, name)(**arguments),
        shape,
        "x".join(map(str, shape)),
        small,
        floor=moving(shape, shape),
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
        Case(
            "Dense",
            lambda layers: layers.Dense(512),
            (256, 512),
            "256x512 -> 512",
            floor=products((256, 512, 512), repeat=3),
        ),
        Case(
            "Dense",
            lambda layers: layers.Dense(256),
            text,
            "64x128x256 -> 256",
            small=False,
            floor=products((8192, 256, 256), repeat=3),
        ),
        Case(
            "Embedding",
            lambda layers: layers.Embedding(50_000, 300),
            (64, 128),
            "64x128 of 50000x300",
            vocabulary=50_000,
            floor=moving((64, 128, 300), (64, 128, 300)),
        ),
    ]


def tiny_cases():
    """Inputs so small that an eager call costs what starting its operations costs."""
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
    return [
        Case(
            name,
            lambda layers, name=name, arguments=arguments: getattr(layers, name)(**arguments),
            shape,
            "x".join(map(str, shape)),
            vocabulary=arguments.get("input_dim", 0),
        )
        for name, (shape, arguments) in named.items()
    ]
