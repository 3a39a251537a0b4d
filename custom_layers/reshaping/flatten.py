"""Flatten: all axes but the batch become one.

    y = x, reshaped         x (B, ...)   y (B, N), N the product of the others; (B, 1) for x (B,)

With `data_format="channels_first"`, x (B, C, ...) first becomes (B, ..., C), so that y, and the
weights of what follows, do not depend on the format.

Backward, given dy = dL/dy: dx = dy, reshaped to the shape of x, and with the axes put back.

The values of a sparse x stay what they are, at other indices; those of a ragged x stay in their
row.
"""

import math

import keras
import tensorflow as tf

from custom_layers.base import Layer, shape_of
from custom_layers.convolutional.windows import standardize_data_format
from custom_layers.gradients import with_backward


def channels_last(rank):
    """The permutation (B, C, ...) -> (B, ..., C)."""
    return (0, *range(2, rank), 1)


def flatten_forward(x, *, data_format="channels_last"):
    """x (B, ...) -> y (B, N)."""
    shape, size = shape_of(x), x.shape[1:].num_elements()
    if x.shape.rank == 2:  # LiteRT would keep a reshape that changes nothing
        return tf.identity(x), (shape, 2)
    if data_format == "channels_first" and x.shape.rank > 2:
        x = tf.transpose(x, channels_last(x.shape.rank))
    if size:
        return tf.reshape(x, (-1, size)), (shape, x.shape.rank)
    # Where nothing tells the size, an empty batch would leave -1 undetermined.
    size = tf.reduce_prod(shape[1:]) if size is None else size
    return tf.reshape(x, (shape[0], size)), (shape, x.shape.rank)


def flatten_backward(dy, cache, *, data_format="channels_last"):
    """dy (B, N) -> dx (B, ...)."""
    shape, rank = cache
    if data_format == "channels_first" and rank > 2:
        order = channels_last(rank)
        inverse = [order.index(axis) for axis in range(rank)]
        return tf.transpose(tf.reshape(dy, tf.gather(shape, order)), inverse)
    return tf.reshape(dy, shape)


flatten = with_backward(flatten_forward, flatten_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class Flatten(Layer):
    """All axes but the batch as one, for a `Dense` layer behind a convolution, say.

    Input `(B, ...)`, output `(B, N)`, N the product of the other sizes; sparse or ragged if the
    input is. `data_format="channels_first"` puts the channels last before. Arguments are those of
    `keras.layers.Flatten`, which moves the numbers of ragged rows into other rows; here each row
    keeps its own.

    Raises:
        ValueError: `data_format` is not valid, or not that of a ragged input: channels last.
    """

    def __init__(self, data_format: str | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(min_ndim=1)

    def call(self, inputs):
        rank, shape = inputs.shape.rank, self.compute_output_shape(inputs.shape)
        if isinstance(inputs, tf.RaggedTensor):
            return self._flatten_rows(inputs)
        if isinstance(inputs, tf.SparseTensor):
            if self.data_format == "channels_first" and rank > 2:
                inputs = tf.sparse.transpose(inputs, channels_last(rank))
            sizes = tf.cast(inputs.dense_shape, tf.int64)
            return tf.sparse.reshape(inputs, tf.stack([sizes[0], tf.reduce_prod(sizes[1:])]))
        y = flatten(inputs, data_format=self.data_format)
        y.set_shape(shape)
        return y

    def _flatten_rows(self, x):
        """Ragged x (B, ...) -> y (B, N), with another N for each row."""
        if self.data_format == "channels_first" and x.shape.rank > 2:
            raise ValueError(
                "Flatten takes ragged inputs only with their channels last. "
                f"Received: data_format={self.data_format}"
            )
        return x.merge_dims(1, x.shape.rank - 1)

    def compute_output_shape(self, input_shape):
        batch, *sizes = input_shape
        return (batch, None if None in sizes else math.prod(sizes))

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, inputs.dtype, sparse=inputs.sparse, ragged=inputs.ragged)
