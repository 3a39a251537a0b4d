"""ChebConv: a polynomial of the graph Laplacian, in the Chebyshev basis.

    y = Σ_{k<K} T_k x W_k + b          x (N, F)   W (K, F, O)   b (O,)   y (N, O)

    L = 2/λ (I - D^-½ A D^-½) - I      T_0 x = x   T_1 x = L x   T_k x = 2 L T_{k-1} x - T_{k-2} x

with A and D as in `GraphConv` but without self loops, and λ the largest eigenvalue of
I - D^-½ A D^-½. Backward, given dy = dL/dy: each T_k is linear, so

    dx = Σ_k T_kᵀ (dy W_kᵀ)            dW_k = (T_k x)ᵀ dy              db = Σ_n dy_n

It is composed of the backwards of `adjacency` (graph_conv.py) and `affine` (dense.py).

Defferrard, Bresson & Vandergheynst, Convolutional neural networks on graphs with fast localized
spectral filtering, NeurIPS 2016.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer, check_number, check_positive
from custom_layers.core.dense import affine
from custom_layers.gradients import wide
from custom_layers.graph.graph_conv import adjacency
from custom_layers.graph.graph_layer import AffineGraphLayer


@keras.saving.register_keras_serializable(package="custom_layers")
class ChebConv(AffineGraphLayer):
    """Chebyshev convolution: the formula at the top of this file, then an activation.

    Called on `[nodes, edges]` or `[nodes, edges, edge_weights]`, flat or batched; output, padding,
    masks and edges out of range as in `GraphConv`. Weights `kernel (K, F, units)` and
    `bias (units,)`.

    Args:
        units: O, features of an output node.
        K: number of polynomials; an output depends on nodes up to K - 1 edges away.
        activation: applied to the output.
        use_bias: whether to add b.
        lambda_max: λ. It is at most 2 for any graph; with 2, L = -D^-½ A D^-½.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above, or inputs do not fit each other.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    # fmt: off
    def __init__(
        self, units: int, K: int, activation: str | Callable | None = None, use_bias: bool = True,
        lambda_max: float = 2.0, kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros", kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None, activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None, bias_constraint: Constraint = None, **kwargs,
    ):
        super().__init__(
            units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
        # fmt: on
        check_positive(K=K)
        check_number("positive", lambda number: 0 < number < math.inf, lambda_max=lambda_max)
        self.K = K
        self.lambda_max = lambda_max

    def kernel_shape(self):
        return self.K, self.features, self.units

    def convolve(self, graph):
        W, b = self.kernel_and_bias()
        A = adjacency(graph, "symmetric", add_self_loops=False)  # D^-½ A D^-½

        def L(z):
            y = -(2 / self.lambda_max) * A(z)
            # With λ = 2 a node does not see itself: 0 times its NaN would be NaN.
            return y if self.lambda_max == 2 else y + (2 / self.lambda_max - 1) * z

        T = [wide(graph.nodes)]  # T_k x
        if self.K > 1:
            T.append(L(T[0]))
        while len(T) < self.K:
            T.append(2 * L(T[-1]) - T[-2])
        # One product: [T_0 x, T_1 x, ...] with the stacked W_k.
        rows = tf.cast(tf.concat(T, -1), graph.nodes.dtype)
        return affine(rows, tf.reshape(W, (self.K * self.features, self.units)), b)
