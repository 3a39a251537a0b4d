"""Layers without a mistake that look like some: kinks, randomness, state, float32 inside."""

import keras
import numpy as np
import tensorflow as tf

import custom_layers
from custom_layers.gradients import with_backward
from tests.layers.checks.mutants import Affine

L = keras.layers
RNG = np.random.default_rng(1)
FLAT = RNG.standard_normal((4, 3)).astype("float32")
SEQUENCE = RNG.standard_normal((4, 5, 3)).astype("float32")
IMAGES = RNG.standard_normal((2, 6, 6, 2)).astype("float32")
IDS = RNG.integers(0, 6, (4, 5)).astype("int32")
STEPS = np.round(4 * FLAT) / 4  # many equal entries, many zeros


class Float32Inside(Affine):
    """An affine map that is computed in float32, whatever the policy."""

    def function(self, x, kernel, bias):
        x, kernel, bias = (tf.cast(t, "float32") for t in (x, kernel, bias))
        return tf.cast(tf.tanh(super().function(x, kernel, bias)), self.compute_dtype)


class NoiseOfTensorFlow(L.Layer):
    """Random numbers of tf.random, which Keras's seeds do not hold."""

    def call(self, x, training=False):
        return x * tf.exp(tf.random.normal(tf.shape(x), dtype=x.dtype)) if training else x


class Counts(L.Layer):
    """Counts its training steps."""

    def build(self, shape):
        self.count = self.add_weight(
            name="count", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, x, training=False):
        if training:
            self.count.assign_add(1)
        return tf.square(x)


class Blocks(L.Layer):
    """Layers inside of a layer, dropout among them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = [L.Dense(4, activation="relu"), L.Dropout(0.3), L.Dense(2)]

    def build(self, shape):
        for layer in self.inner:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x):
        for layer in self.inner:
            x = layer(x)
        return x


class Nested(L.Layer):
    """A dictionary in, a dictionary out."""

    def call(self, x):
        return {"sum": x["a"] + x["b"][0], "parts": [x["a"] * 2, tf.tanh(x["b"][0])]}


class Clip(L.Layer):
    def call(self, x):
        return tf.clip_by_value(x, -0.5, 0.5)


class Magnitude(L.Layer):
    def call(self, x):
        return tf.abs(x)


class SortsEntries(L.Layer):
    def call(self, x):
        return tf.sort(x, -1)


class SignedRoot(L.Layer):
    """Steep, but smooth where it is asked."""

    def call(self, x):
        return tf.sign(x) * tf.sqrt(tf.abs(x) + 1e-2)


class LargeNumbers(Affine):
    def function(self, x, kernel, bias):
        return 1e4 * super().function(x, kernel, bias)


class SmallNumbers(Affine):
    def function(self, x, kernel, bias):
        return 1e-3 * super().function(x, kernel, bias)


class Quantizes(L.Layer):
    """Piecewise constant: its derivative is 0."""

    def call(self, x):
        return tf.floor(3 * x) + x


class ShiftsScores(L.Layer):
    """Softmax after a bias for all scores of a row: the gradient of the bias is 0."""

    def build(self, shape):
        self.shift = self.add_weight(name="shift", shape=(1,), initializer="zeros")

    def call(self, x):
        return tf.nn.softmax(x + tf.convert_to_tensor(self.shift))


cube = with_backward(lambda x: (x**3, x), lambda dy, x: 3 * x * x * dy)


class Cube(L.Layer):
    def call(self, x):
        return cube(x)


# name: (what makes the layer, inputs)
SOUND = {
    "affine": (Affine, FLAT),
    "affine in place": (lambda: Affine(2, scale=3.0), SEQUENCE),
    "written-out cube": (Cube, FLAT),
    "float32 inside": (Float32Inside, FLAT),
    "ReLU at zeros": (L.ReLU, STEPS),
    "ReLU of a written-out backward": (custom_layers.ReLU, STEPS),
    "absolute value at zeros": (Magnitude, STEPS),
    "clipped": (Clip, np.round(2 * FLAT) / 2),
    "sorted": (SortsEntries, FLAT),
    "signed root": (SignedRoot, FLAT),
    "quantized": (Quantizes, FLAT + 0.05),
    "maxima of equal entries": (L.MaxPooling2D, np.round(IMAGES)),
    "maxima of equal entries, written out": (custom_layers.MaxPooling2D, np.round(IMAGES)),
    "convolution and ReLU": (lambda: L.Conv2D(3, 3, activation="relu"), IMAGES),
    "dense and hard sigmoid": (lambda: L.Dense(3, activation="hard_sigmoid"), FLAT),
    "large numbers": (LargeNumbers, FLAT),
    "small numbers": (SmallNumbers, FLAT),
    "dropout": (lambda: L.Dropout(0.4), FLAT),
    "seeded dropout": (lambda: custom_layers.Dropout(0.4, seed=3), FLAT),
    "noise of TensorFlow": (NoiseOfTensorFlow, FLAT),
    "Gaussian noise": (lambda: L.GaussianNoise(0.2), FLAT),
    "counter": (Counts, FLAT),
    "batch normalization": (custom_layers.BatchNormalization, SEQUENCE),
    "layers inside": (Blocks, FLAT),
    "nested": (Nested, {"a": FLAT, "b": [2 * FLAT]}),
    "integers": (lambda: L.Embedding(6, 3, mask_zero=True), IDS),
    "one-hot": (lambda: L.CategoryEncoding(6, output_mode="multi_hot"), IDS),
    "reshaped": (lambda: L.Reshape((3, 5)), SEQUENCE),
    "two inputs": (lambda: L.Multiply(), [FLAT, FLAT[::-1].copy()]),
    "softmax": (lambda: L.Softmax(), FLAT),
    "a gradient that cancels": (ShiftsScores, FLAT),
    "recurrent": (lambda: L.SimpleRNN(2, recurrent_initializer="zeros"), SEQUENCE),
    "a cell in a loop": (  # Keras's RNN.from_config takes its argument apart
        lambda: L.RNN(L.GRUCell(2, recurrent_initializer="zeros")),
        SEQUENCE,
    ),
    "global maxima": (custom_layers.GlobalMaxPooling1D, np.round(SEQUENCE)),
}
