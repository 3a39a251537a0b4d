"""Dense: an affine map of the last axis, then an activation.

    y = x W + b         x (..., I)   W (I, O)   b (O,)   y (..., O)

Backward, given dy = dL/dy (the sums run over every axis but the last):

    dx = dy Wᵀ          dW = Σ xᵀ dy             db = Σ dy

A sparse x (rank 2) keeps its values v at (row, column); the formula is the same, and

    dv = Σ_o dy[row, o] W[column, o]

Rumelhart, Hinton & Williams, Learning representations by back-propagating errors, Nature 1986.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Layer, Regularizer, check_positive
from custom_layers.gradients import matmul, sum_places, sum_rows, with_backward


def affine_forward(x, kernel, bias):
    """x (..., I), kernel (I, O), bias (O,) or None -> y (..., O)."""
    y = matmul(x, kernel)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    return y, (x, kernel, bias is not None)


def affine_backward(dy, cache):
    """dy (..., O) -> dx (..., I), dkernel (I, O), dbias (O,)."""
    x, kernel, biased = cache
    shape = None if x.shape.rank == 2 else tf.shape(x)
    if shape is not None:  # the leading axes as one
        x = tf.reshape(x, (-1, kernel.shape[0]))  # (N, I)
        dy = tf.reshape(dy, (-1, kernel.shape[1]))  # (N, O)
    dx = tf.matmul(dy, kernel, transpose_b=True)
    dkernel = tf.matmul(x, dy, transpose_a=True)
    dbias = sum_places(dy) if biased else None
    return dx if shape is None else tf.reshape(dx, shape), dkernel, dbias


affine = with_backward(affine_forward, affine_backward)


def sparse_affine_forward(values, indices, dense_shape, kernel, bias):
    """A sparse x (N, I) of E values (E,) at indices (E, 2) -> y (N, O)."""
    x = tf.SparseTensor(indices, values, dense_shape)
    y = tf.sparse.sparse_dense_matmul(x, kernel)
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    return y, (x, kernel, bias is not None)


def sparse_affine_backward(dy, cache):
    """dy (N, O) -> dvalues (E,), None, None, dkernel (I, O) as its rows, dbias (O,)."""
    x, kernel, biased = cache
    rows, columns = x.indices[:, 0], x.indices[:, 1]
    dvalues = tf.reduce_sum(tf.gather(dy, rows) * tf.gather(kernel, columns), 1)
    # The rows that x touches and no others, as of an embedding.
    touched = tf.gather(dy, rows) * x.values[:, tf.newaxis]
    dkernel = sum_rows(touched, columns, tf.shape(kernel, tf.int64))
    dbias = sum_places(dy) if biased else None
    return dvalues, None, None, dkernel, dbias


sparse_affine = with_backward(sparse_affine_forward, sparse_affine_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class Dense(Layer):
    """A fully connected layer: `activation(x W + b)` on the last axis.

    Input `(B, ..., I)`, output `(B, ..., units)`; a `tf.SparseTensor` `(B, I)` is accepted. Weights
    `kernel (I, units)` and `bias (units,)`. Arguments are those of `keras.layers.Dense`, without
    LoRA and quantization.

    Raises:
        ValueError: `units` is not a positive integer; the last axis of the input has no static
            size, or another one than at the first call.
    """

    def __init__(
        self,
        units: int,
        activation: str | Callable | None = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        **kwargs,
    ):
        check_positive(units=units)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        features = input_shape[-1]
        if features is None:
            raise ValueError(
                "The last axis of the input of Dense must have a known size. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self._kernel = self.add_weight(
            name="kernel", shape=(features, self.units), **self.weight_options("kernel")
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), **self.weight_options("bias")
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: features})

    @property
    def kernel(self):
        """The weight; a subclass may return another tensor of its shape, made of it."""
        if not hasattr(self, "_kernel"):
            raise AttributeError("You must build the layer before accessing `kernel`.")
        return self._kernel

    def call(self, inputs, training=None):
        kernel = tf.convert_to_tensor(self.kernel)
        bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
        if isinstance(inputs, tf.SparseTensor):
            y = sparse_affine(inputs.values, inputs.indices, inputs.dense_shape, kernel, bias)
        else:
            if not (inputs.dtype.is_floating or inputs.dtype.is_complex):
                inputs = tf.cast(inputs, self.compute_dtype)
            y = affine(inputs, kernel, bias)
        return y if self.activation is None else self.activation(y)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)
