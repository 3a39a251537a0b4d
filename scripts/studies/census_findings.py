"""What the census found, looked at by hand: a title, what it is, and a few lines that show it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Found:
    """A finding. `rows` are the rows and promises that it explains."""

    title: str
    text: str
    code: str
    rows: dict[str, tuple[str, ...]]


# {a layer: what is printed} of `CURVATURE`, along a line through random inputs.
CURVATURE = """
import keras, numpy as np, tensorflow as tf
x, v = (tf.constant(np.random.default_rng(i).normal(size=(4, 6))) for i in (0, 1))
layer, h = LAYER, tf.constant(1e-4, "float64")
slope = tf.function(lambda t: tf.gradients(tf.reduce_sum(layer(x + t * v) ** 3), t)[0])
print(tf.function(lambda t: tf.gradients(slope(t), t)[0])(0 * h), (slope(h) - slope(-h)) / (2 * h))
"""

FINDINGS = (
    Found(
        "The second derivative of normalization layers is wrong",
        "`tf.nn.moments` stops the gradient of the mean inside of the variance. For the first "
        "derivative that makes no difference, for the second it does: a gradient penalty gets a "
        "wrong gradient, without an error. The two numbers should be equal. So it is for "
        "`BatchNormalization` in training and for `LayerNormalization`.",
        CURVATURE.replace("LAYER", 'keras.layers.GroupNormalization(2, dtype="float64")'),
        {
            "LayerNormalization": ("second_derivative",),
            "BatchNormalization": ("second_derivative",),
            "GroupNormalization": ("second_derivative",),
        },
    ),
    Found(
        "A zero row has no second derivative in UnitNormalization and Dot(normalize=True)",
        "The gradient of `tf.math.l2_normalize` is finite there, its derivative is NaN.",
        """
import keras, tensorflow as tf
layer = keras.layers.UnitNormalization()
slope = lambda x: tf.gradients(tf.reduce_sum(tf.sin(layer(x))), x)[0]
curvature = tf.function(lambda x: tf.gradients(tf.reduce_sum(slope(x)), x)[0])
print(curvature(tf.constant([[0.0, 0.0], [1.0, 2.0]])))
""",
        {
            "UnitNormalization of a zero row": ("second_derivative",),
            "Dot of a zero row": ("second_derivative",),
        },
    ),
    Found(
        "softsign has no second derivative",
        "TensorFlow has no gradient of `SoftsignGrad`: a LookupError.",
        """
import keras, tensorflow as tf
layer = keras.layers.Activation("softsign")
slope = lambda x: tf.gradients(layer(x), x)[0]
tf.function(lambda x: tf.gradients(slope(x), x)[0])(tf.ones((1, 1)))
""",
        {"Activation softsign": ("second_derivative",)},
    ),
    Found(
        "MaxPooling3D gives each of some equal maxima the whole gradient",
        "The output grows by 1 if all entries do; their gradients add up to 8.",
        """
import keras, tensorflow as tf
x = tf.Variable(tf.ones((1, 2, 2, 2, 1)))
with tf.GradientTape() as tape:
    y = keras.layers.MaxPooling3D()(x)
print(tf.reduce_sum(tape.gradient(y, x)))
""",
        {"MaxPooling3D of equal entries": ("gradient",)},
    ),
    Found(
        "Adaptive pooling to one place reads beyond its input, or raises",
        "For an output of size 1 the second of two windows is one longer than the input. In a "
        "graph, and so in `fit`, that is an error; in eager mode the kernel reads and writes "
        "outside of its memory: gradients are not finite, or the process ends.",
        """
import keras, tensorflow as tf
layer = keras.layers.AdaptiveAveragePooling2D(1)
tf.function(layer)(tf.ones((1, 6, 6, 3)))
""",
        {
            "AdaptiveMaxPooling2D to 1": (
                *("gradient", "compiled", "precision", "unknown_sizes", "keras_file", "copies"),
                *("saved_model", "replicas"),
            ),
            "AdaptiveAveragePooling2D to 1": (
                *("compiled", "unknown_sizes", "saved_model", "replicas"),
            ),
        },
    ),
    Found(
        'Activation("glu") predicts the shape of its input',
        "A model whose next layer is a Dense is built for twice as many features.",
        """
import keras
layer = keras.layers.Activation("glu")
print(layer(keras.ops.ones((4, 6))).shape, layer(keras.KerasTensor((4, 6))).shape)
""",
        {"Activation glu": ("shapes", "unknown_sizes")},
    ),
    Found(
        "GlobalMaxPooling raises at an empty batch",
        "Of 0 examples the maxima are 0 rows; `keras.ops.max` asks for an entry.",
        """
import keras
keras.layers.GlobalMaxPooling1D()(keras.ops.ones((0, 6, 3)))
""",
        {f"GlobalMaxPooling{rank}D": ("empty_batch",) for rank in (1, 2, 3)},
    ),
    Found(
        "The kernel of DepthwiseConv1D gets what was in memory as its gradient of an empty batch",
        "It should be 0, and is by chance.",
        """
import keras, tensorflow as tf
layer, x = keras.layers.DepthwiseConv1D(2), tf.ones((0, 6, 3))
with tf.GradientTape() as tape:
    y = tf.reduce_sum(layer(x))
print(tape.gradient(y, layer.kernel.value))
""",
        {"DepthwiseConv1D": ("empty_batch",)},
    ),
    Found(
        "LSTM raises at an empty batch in eager mode",
        "GRU and SimpleRNN return 0 rows.",
        """
import keras
keras.layers.LSTM(3)(keras.ops.ones((0, 6, 3)))
""",
        dict.fromkeys(("LSTM", "LSTM with defaults", "RNN of LSTMCell"), ("empty_batch",)),
    ),
    Found(
        "Masking drops the mask that comes in",
        "The last step is masked by the Embedding and no longer after Masking.",
        """
import keras, numpy as np
x = keras.layers.Embedding(4, 2, mask_zero=True)(np.array([[1, 2, 0]]))
print(x._keras_mask, keras.layers.Masking()(x)._keras_mask)
""",
        {"Masking": ("masks",)},
    ),
    Found(
        "MaxPooling3D and AveragePooling3D have no float16 on a CPU",
        "TensorFlow has no such kernel: a NotFoundError. In bfloat16 they run.",
        """
import keras
keras.layers.MaxPooling3D(dtype="float16")(keras.ops.ones((1, 4, 4, 4, 1)))
""",
        dict.fromkeys(
            (
                *("MaxPooling3D", "MaxPooling3D of equal entries", "AveragePooling3D"),
                *("AdaptiveMaxPooling3D", "AdaptiveAveragePooling3D"),
            ),
            ("precision",),
        ),
    ),
    Found(
        "LSTM and GRU with their own defaults cannot be made in bfloat16",
        "The orthogonal initializer decomposes a matrix, for which TensorFlow has no bfloat16.",
        """
import keras
keras.layers.LSTM(3, dtype="bfloat16")(keras.ops.ones((1, 6, 3)))
""",
        {"LSTM with defaults": ("precision",)},
    ),
    Found(
        "A Lambda of a function of keras.ops cannot be loaded",
        "Its config names `square` without saying that it is one of `keras.ops`.",
        """
import keras
layer = keras.layers.Lambda(keras.ops.square)
keras.layers.Lambda.from_config(layer.get_config())
""",
        {"Lambda": ("config", "keras_file", "copies", "replicas")},
    ),
    Found(
        "With oneDNN's kernels, a convolution of an empty batch has the shape of its input",
        "The bias then does not fit: an InvalidArgumentError, in eager mode and in `predict`.",
        """
import keras
keras.layers.Conv2D(3, 3)(keras.ops.ones((0, 6, 6, 2)))
""",
        {},
    ),
    Found(
        "With oneDNN's kernels, max pooling of an empty batch ends the process in its gradient",
        "In a graph: `Check failed: dtype() == expected_dtype (1 vs. 3)` in MklMaxPoolingGradOp.",
        """
import keras, tensorflow as tf
layer, x = keras.layers.MaxPooling2D(), tf.ones((0, 6, 6, 2))
tf.function(lambda x: tf.gradients(tf.sin(layer(x)), x))(x)
""",
        {},
    ),
)
