"""Layers with one mistake each, and the promise that must name it.

All are a small affine layer, y = x W + b, or what one line makes of it.
"""

import keras
import numpy as np
import tensorflow as tf

from custom_layers.gradients import with_backward

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3)).astype("float32")
SEQUENCE = RNG.standard_normal((4, 5, 3)).astype("float32")
IMAGES = RNG.standard_normal((4, 6, 6, 2)).astype("float32")


class Affine(keras.layers.Layer):
    """y = x W + b, to be spoiled."""

    def __init__(self, units=3, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.scale = units, scale
        self.supports_masking = True

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def function(self, x, kernel, bias):
        return self.scale * (tf.tensordot(x, kernel, 1) + bias)

    def call(self, x):
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        return self.function(x, kernel, bias)

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "scale": self.scale}


def by_hand(dx=None, dkernel=None, dbias=None):
    """An Affine whose gradients are written out; each argument spoils one of them."""

    def forward(x, kernel, bias):
        return tf.matmul(x, kernel) + bias, (x, kernel)

    def backward(dy, cache):
        x, kernel = cache
        right = (
            tf.matmul(dy, kernel, transpose_b=True),
            tf.matmul(x, dy, transpose_a=True),
            tf.reduce_sum(dy, 0),
        )
        spoil = (dx, dkernel, dbias)
        return [g if s is None else s(g, dy, x, kernel) for g, s in zip(right, spoil, strict=True)]

    function = with_backward(forward, backward)

    class ByHand(Affine):
        def function(self, x, kernel, bias):
            return function(x, kernel, bias)

    return ByHand


class StopsInside(Affine):
    """The first gradient is right, the second is lost."""

    def function(self, x, kernel, bias):
        forward = lambda x: (x * x, x)  # noqa: E731
        backward = lambda dy, x: 2 * tf.stop_gradient(x) * dy  # noqa: E731
        return with_backward(forward, backward)(super().function(x, kernel, bias))


class DetachedMean(Affine):
    """A normalization whose variance is that of a mean without a gradient."""

    def function(self, x, kernel, bias):
        y = super().function(x, kernel, bias)
        mean = tf.reduce_mean(y, -1, keepdims=True)
        apart = tf.reduce_mean(tf.square(y - tf.stop_gradient(mean)), -1, keepdims=True)
        return (y - mean) * tf.math.rsqrt(apart + 0.1)


class WholeToEachMaximum(keras.layers.Layer):
    """A maximum whose gradient goes in full to each of some equal entries."""

    def call(self, x):
        def backward(dy, cache):
            x, y = cache
            return tf.cast(x == y, x.dtype) * dy

        def forward(x):
            y = tf.reduce_max(x, -1, keepdims=True)
            return y, (x, y)

        return with_backward(forward, backward)(x)


class OutputShape(Affine):
    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units + 1)

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), self.compute_dtype)


class OutputDtype(Affine):
    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), "float16")


class NumpyInGraph(Affine):
    """Right in eager mode; a graph keeps the numbers of its first call."""

    def call(self, x):
        y = super().call(x)
        return y if tf.executing_eagerly() else y * 1.01


class NumpyOfTensor(Affine):
    """`x.numpy()` works in eager mode alone."""

    def call(self, x):
        return super().call(x) * float(np.tanh(np.abs(x.numpy()).max()))

    def compute_output_spec(self, x):
        return keras.KerasTensor(self.compute_output_shape(x.shape), self.compute_dtype)


class Float32Constant(Affine):
    """Returns float32 whatever the policy."""

    def call(self, x):
        return tf.cast(super().call(x), "float32")


class SumsIn16Bits(Affine):
    """Adds 300 terms one after the other in the dtype of the policy."""

    def function(self, x, kernel, bias):
        ones = tf.ones((300, *x.shape), x.dtype) * x
        return super().function(tf.scan(lambda a, b: a + b, ones)[-1], kernel, bias)


class StaticBatch(Affine):
    """Multiplies by the batch size, which it takes from the static shape."""

    def call(self, x):
        return super().call(x) * tf.cast(x.shape[0] or 1, x.dtype)


class MeanOfBatch(Affine):
    """Entries of a batch influence each other."""

    def call(self, x):
        return super().call(x) - 0.1 * tf.reduce_mean(x)


class MeanOfWrongAxis(keras.layers.Layer):
    """A layer normalization over the batch."""

    def call(self, x):
        return x - tf.reduce_mean(x, 0, keepdims=True)


class EndsOnNothing(keras.layers.Layer):
    """On an empty batch it ends the process, as some of TensorFlow's kernels do."""

    def call(self, x):
        return tf.cond(tf.size(x) > 0, lambda: x, lambda: self.end(x))

    def end(self, x):
        with tf.control_dependencies([tf.raw_ops.Abort()]):
            return tf.identity(x)


class EmptyMean(Affine):
    """0 / 0 for a batch of none."""

    def call(self, x):
        return super().call(x) + 0 * tf.reduce_mean(self.kernel) * tf.reduce_mean(
            tf.reduce_sum(tf.square(x), 1)
        )


class MeanOverTime(keras.layers.Layer):
    """The mean over time of what a mask leaves; `spoil` changes the mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def spoil(self, mask):
        return mask

    def call(self, x, mask=None):
        mask = tf.ones(tf.shape(x)[:2], "bool") if mask is None else self.spoil(mask)
        weights = tf.cast(mask, x.dtype)[..., tf.newaxis]
        return tf.reduce_sum(x * weights, 1) / tf.maximum(tf.reduce_sum(weights, 1), 1)

    def compute_mask(self, inputs, mask=None):
        return None


class MaskInverted(MeanOverTime):
    def spoil(self, mask):
        return ~mask


class MaskShifted(MeanOverTime):
    """Off by one step."""

    def spoil(self, mask):
        return tf.roll(mask, 1, 1)


class MaskIgnored(MeanOverTime):
    def spoil(self, mask):
        return tf.ones_like(mask)


class MaskInvertedOnItsWay(Affine):
    def compute_mask(self, inputs, mask=None):
        return None if mask is None else ~mask


class LostKey(Affine):
    """The config lacks `scale`."""

    def get_config(self):
        config = super().get_config()
        del config["scale"]
        return config


class LostInitializer(Affine):
    def __init__(self, units=3, scale=1.0, initializer="glorot_uniform", **kwargs):
        super().__init__(units, scale, **kwargs)
        self.initializer = initializer

    def build(self, shape):
        super().build(shape)
        self.other = self.add_weight(name="other", shape=(3,), initializer=self.initializer)

    def call(self, x):
        return super().call(x) * self.other


class WeightInCall(keras.layers.Layer):
    """`build` does not build the layer inside, whose weights its first call makes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)

    def build(self, shape):
        pass

    def call(self, x):
        return self.dense(x)


class MovesAtInference(Affine):
    """A moving average that moves at inference too."""

    def build(self, shape):
        super().build(shape)
        self.mean = self.add_weight(name="mean", shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        self.mean.assign(0.9 * self.mean + 0.1 * tf.cast(tf.reduce_mean(x), self.mean.dtype))
        return super().call(x)


class StaleCache(Affine):
    """What it computed of the first inputs answers for all."""

    def call(self, x):
        if not tf.executing_eagerly():
            return super().call(x)
        if getattr(self, "kept", None) is None:
            self.kept = tf.reduce_mean(x)
        return super().call(x) + tf.cast(self.kept, x.dtype)


class NumpyNoise(Affine):
    """Random numbers that no seed of Keras's reaches."""

    def call(self, x, training=False):
        noise = np.random.default_rng().standard_normal(3)
        return super().call(x) + tf.cast(noise, x.dtype) if training else super().call(x)


class ConstantSeed(Affine):
    """In a graph the seed is a constant: each step draws the same numbers."""

    def call(self, x, training=False):
        if not training:
            return super().call(x)
        self.count = getattr(self, "count", 0) + 1
        return super().call(x) + keras.random.normal((3,), seed=self.count, dtype=x.dtype)


class UnusedWeight(Affine):
    def build(self, shape):
        super().build(shape)
        self.unused = self.add_weight(name="unused", shape=(3,))


class LosesWeightsInFile(Affine):
    """Writes the weights and does not read all of them."""

    def load_own_variables(self, store):
        self.kernel.assign(store["0"])


class OtherConstructor(keras.layers.Layer):
    """What it keeps outside of weights and config is lost in a copy."""

    made = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        OtherConstructor.made += 1
        self.number = float(OtherConstructor.made)

    def call(self, x):
        return x + self.number


class NotExportable(Affine):
    """At each trace another branch: an export answers otherwise than the layer."""

    def call(self, x):
        traced = not tf.executing_eagerly() and x.shape[0] is None
        return super().call(x) * (1.5 if traced else 1.0)


class DividesByReplicas(Affine):
    """Looks at how many replicas there are."""

    def call(self, x):
        context = tf.distribute.get_replica_context()
        return super().call(x) / (context.num_replicas_in_sync if context else 1)


class Renamed(keras.layers.Layer):
    """Keras's Dense, but for a weight's name."""

    def __init__(self, units, **kwargs):
        kwargs = {k: v for k, v in kwargs.items() if k in ("name", "dtype", "trainable")}
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1], self.units))
        self.b = self.add_weight(name="b", shape=(self.units,), initializer="zeros")

    def call(self, x):
        return tf.matmul(x, self.w) + self.b

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def one_in_a_thousand(g, dy, x, kernel):
    """One entry of 1,200 is off by 0.1 %."""
    wrong = np.ones(g.shape)
    wrong.flat[777] = 1.001
    return g * tf.constant(wrong, g.dtype)


# name: (what makes the layer, inputs, the promise that names the mistake, words of the verdict)
MUTANTS = {
    "wrong sign": (by_hand(dx=lambda g, *_: -g), X, "gradient", "the sign is wrong"),
    "factor 2": (by_hand(dkernel=lambda g, *_: 2 * g), X, "gradient", "a constant factor 2"),
    "divided by the batch": (by_hand(dbias=lambda g, *_: g / 4), X, "gradient", "1 / batch size"),
    "missing transpose": (
        by_hand(dx=lambda g, dy, x, kernel: tf.matmul(dy, kernel)),
        X,
        "gradient",
        "entries are wrong",
    ),
    "transposed": (by_hand(dkernel=lambda g, *_: tf.transpose(g)), X, "gradient", "transposed"),
    "zero gradient of the bias": (by_hand(dbias=lambda g, *_: 0 * g), X, "gradient", "it is zero"),
    "no gradient of the inputs": (
        by_hand(dx=lambda g, *_: tf.zeros_like(g)),
        X,
        "gradient",
        "it is zero",
    ),
    "mean over the wrong axis": (
        by_hand(dx=lambda g, *_: g - g + tf.reduce_mean(g, 0, keepdims=True)),
        X,
        "gradient",
        "a mean over axis 0",
    ),
    "one entry in a thousand": (
        lambda: by_hand(dkernel=one_in_a_thousand)(units=400),
        X,
        "gradient",
        "",
    ),
    "whole gradient to each maximum": (
        WholeToEachMaximum,
        np.ones((2, 8), "float32"),
        "gradient",
        "equal entries",
    ),
    "against the bare forward": (
        by_hand(dkernel=lambda g, *_: 1.00001 * g),
        X,
        "autodiff_agrees",
        "against autodiff",
    ),
    "stop_gradient in the backward": (StopsInside, X, "second_derivative", "StopGradient"),
    "detached mean": (DetachedMean, X, "second_derivative", "StopGradient"),
    "output shape": (OutputShape, X, "shapes", "shape of output 0"),
    "output dtype": (OutputDtype, X, "shapes", "dtype of output 0"),
    "other numbers in a graph": (NumpyInGraph, X, "compiled", "in a graph"),
    "numpy in the graph": (NumpyOfTensor, X, "compiled", "numpy"),
    "dtype leak": (Float32Constant, X, "precision", "wrong dtype"),
    "sums in 16 bits": (SumsIn16Bits, X, "precision", "under mixed_"),
    "static batch size": (StaticBatch, X, "unknown_sizes", "unknown"),
    "batch entries meet": (MeanOfBatch, X, "batch_of_one", "influence each other"),
    "normalized over the batch": (MeanOfWrongAxis, X, "batch_of_one", "influence each other"),
    "0 / 0 of an empty batch": (EmptyMean, X, "empty_batch", "NaN"),
    "a kernel that ends the process": (EndsOnNothing, X, "empty_batch", "SIGABRT"),
    "mask inverted": (MaskInverted, SEQUENCE, "masks", "mask"),
    "mask off by one": (MaskShifted, SEQUENCE, "masks", "masked entries"),
    "mask ignored": (MaskIgnored, SEQUENCE, "masks", "masked entries"),
    "mask passed on inverted": (MaskInvertedOnItsWay, SEQUENCE, "masks", "the mask is inverted"),
    "lost config key": (lambda: LostKey(scale=2.0), X, "config", "missing from get_config"),
    "lost initializer": (
        lambda: LostInitializer(initializer="ones"),
        X,
        "config",
        "missing from get_config",
    ),
    "weight made in call": (WeightInCall, X, "weights_in_build", "a call makes weights"),
    "state moved at inference": (
        MovesAtInference,
        X,
        "inference_keeps_state",
        "moves at inference",
    ),
    "stale cache": (StaleCache, X, "inference_keeps_state", "keeps something"),
    "noise without a seed": (NumpyNoise, X, "determinism", "the same seed gives"),
    "the same noise at each step": (ConstantSeed, X, "determinism", "constant of the graph"),
    "unused weight": (UnusedWeight, X, "training_step", "no gradient reaches"),
    "weights not read": (LosesWeightsInFile, X, "weights_file", "does not come back"),
    "a copy is another layer": (OtherConstructor, X, "copies", "clone_model"),
    "a file is another layer": (OtherConstructor, X, "keras_file", "the file"),
    "an export is another layer": (NotExportable, X, "saved_model", "another process"),
    "replicas are counted": (DividesByReplicas, X, "replicas", "two replicas"),
    "not a twin": (lambda: Renamed(3), X, "twin", "weights"),
}
