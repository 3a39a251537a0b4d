"""ChebConv: a polynomial of the graph Laplacian, in the basis of Chebyshev.

    y = Σ_{k<K} T_k x W_k + b          x (N, F)   W (K, F, O)   b (O,)   y (N, O)

    L = 2/λ (I - D^-½ A D^-½) - I      T_0 x = x   T_1 x = L x   T_k x = 2 L T_{k-1} x - T_{k-2} x

with A and D as in `GraphConv` but without self loops, and λ the largest eigenvalue of
I - D^-½ A D^-½. Backward, given dy = dL/dy: each T_k is linear, so

    dx = Σ_k T_kᵀ (dy W_kᵀ)            dW_k = (T_k x)ᵀ dy              db = Σ_n dy_n

Defferrard, Bresson & Vandergheynst, Convolutional neural networks on graphs with fast localized
spectral filtering, NeurIPS 2016.
"""

import math

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_number, check_positive
from custom_layers.core.dense import affine
from custom_layers.gradients import wide
from custom_layers.graph.graph_conv import adjacency
from custom_layers.graph.graph_inputs import disjoint_union, node_features, node_mask, restore


@keras.saving.register_keras_serializable(package="custom_layers")
class ChebConv(Layer):
    """Chebyshev convolution: the formula at the top of this file, then an activation.

    Called on `[nodes, edges]` or `[nodes, edges, edge_weights]`, flat or batched; output, padding,
    masks and edges out of range as in `GraphConv`. Weights `kernel (K, F, units)` and
    `bias (units,)`.

    Args:
        units: O, features of an output node.
        K: how many polynomials; the outputs reach K - 1 edges far.
        activation: applied to the output.
        use_bias: whether b is there.
        lambda_max: λ. At most 2, which holds for any graph; with 2, L = -D^-½ A D^-½.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above; inputs that do not fit each other.
        InvalidArgumentError: an edge points at a node that is not there (NaN in XLA).
    """

    def __init__(
        self,
        units,
        K,
        activation=None,
        use_bias=True,
        lambda_max=2.0,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        check_positive(units=units, K=K)
        check_number("positive", lambda number: 0 < number < math.inf, lambda_max=lambda_max)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = units
        self.K = K
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.lambda_max = lambda_max
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.supports_masking = True

    def build(self, input_shape):
        self.features = node_features(self, input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.K, self.features, self.units),
            **self.weight_options("kernel"),
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), **self.weight_options("bias")
            )

    def call(self, inputs, mask=None):
        graph = disjoint_union(self, inputs, mask)
        kernel = tf.convert_to_tensor(self.kernel)
        send = adjacency(graph, "symmetric", False, graph.values)

        def laplacian(x):
            return (2 / self.lambda_max - 1) * x - (2 / self.lambda_max) * send(x)

        terms = [wide(graph.nodes)]
        if self.K > 1:
            terms.append(laplacian(terms[0]))
        for _ in range(2, self.K):
            terms.append(2 * laplacian(terms[-1]) - terms[-2])
        # One product: [T_0 x, T_1 x, ...] with the W_k on top of each other.
        rows = tf.cast(tf.concat(terms, -1), kernel.dtype)
        bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
        y = affine(rows, tf.reshape(kernel, (self.K * self.features, self.units)), bias)
        y = y if self.activation is None else self.activation(y)
        return restore(y, graph)

    def compute_mask(self, inputs, mask=None):
        return node_mask(mask)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.units)
