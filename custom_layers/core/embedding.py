"""Embedding: a table of vectors, looked up by index.

    y = W[i]                    i (...) integers in [0, V)     W (V, D)     y (..., D)

Backward, given dy = dL/dy:

    dW[v] = Σ dy over the places where i = v        (a scatter-add)

dW is 0 but for the few rows looked up, so it is handed on as `tf.IndexedSlices`: the rows dy and
where they belong. An optimizer without moments (SGD) then touches those rows only.

Bengio et al., A neural probabilistic language model, JMLR 2003.
"""

import warnings

import keras
import tensorflow as tf
from numpy.typing import ArrayLike

from custom_layers.base import Constraint, Initializer, Layer, Regularizer, check_positive
from custom_layers.gradients import sum_rows, with_backward


def lookup_forward(table, indices):
    """table (V, D), indices (...) -> y (..., D)."""
    return tf.gather(table, indices), (tf.shape(table), indices)


def lookup_backward(dy, cache):
    """dy (..., D) -> dtable (V, D) as rows and where they belong."""
    shape, indices = cache
    rows = tf.reshape(dy, (-1, dy.shape[-1]))
    return sum_rows(rows, tf.reshape(indices, (-1,)), shape), None


lookup = with_backward(lookup_forward, lookup_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class Embedding(Layer):
    """Turns indices into trainable vectors: `y = embeddings[inputs]`.

    Input of any shape with integers in `[0, input_dim)`, dense, ragged, or sparse (what is missing
    is 0); floats are truncated. Output `(..., output_dim)`, ragged where the input is. Weight
    `embeddings (input_dim, output_dim)`. With `mask_zero`, the output has a mask that is False
    where the input is 0. Arguments are those of `keras.layers.Embedding`, without LoRA and
    quantization. Negative indices do not count from the end.

    Raises:
        ValueError: `input_dim` or `output_dim` is not a positive integer.
        tf.errors.InvalidArgumentError: an index is out of range, on a CPU. GPUs return zeros for
            it, and XLA takes the nearest row.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Initializer = "uniform",
        embeddings_regularizer: Regularizer = None,
        embeddings_constraint: Constraint = None,
        mask_zero: bool = False,
        weights: ArrayLike | list[ArrayLike] | None = None,
        **kwargs,
    ):
        check_positive(input_dim=input_dim, output_dim=output_dim)
        if kwargs.pop("input_length", None) is not None:
            warnings.warn("Argument `input_length` is deprecated. Just remove it.", stacklevel=2)
        super().__init__(**kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.set_weight_options(
            "embeddings", embeddings_initializer, embeddings_regularizer, embeddings_constraint
        )
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.autocast = False  # indices that are floats are not rounded to 16 bits
        if weights is not None:
            self.build()
            single = isinstance(weights, list) and len(weights) == 1
            self.set_weights(weights if single else [weights])

    def build(self, input_shape=None):
        if self.built:  # by the argument `weights`
            return
        self._embeddings = self.add_weight(
            name="embeddings",
            shape=(self.input_dim, self.output_dim),
            autocast=False,  # the rows are cast, not the table
            **self.weight_options("embeddings"),
        )
        self.built = True

    @property
    def embeddings(self):
        """The weight; a subclass may return another tensor of its shape, made of it."""
        if not hasattr(self, "_embeddings"):
            raise AttributeError("You must build the layer before accessing `embeddings`.")
        return self._embeddings

    def call(self, inputs):
        table = tf.convert_to_tensor(self.embeddings)
        if isinstance(inputs, tf.SparseTensor):
            inputs = tf.sparse.to_dense(inputs)
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self._rows(table, inputs.flat_values))
        return self._rows(table, tf.convert_to_tensor(inputs))

    def _rows(self, table, indices):
        if indices.dtype not in (tf.int32, tf.int64):
            indices = tf.cast(indices, tf.int32)
        return tf.cast(lookup(table, indices), self.compute_dtype)

    def compute_mask(self, inputs, mask=None):
        return keras.ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.output_dim)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(
            self.compute_output_shape(inputs.shape),
            dtype=self.compute_dtype,
            ragged=getattr(inputs, "ragged", False),
        )

    def get_config(self):
        config = super().get_config()
        config.pop("weights", None)  # the values are in the weight file
        return config
