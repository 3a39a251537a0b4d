"""SGConv: K propagations and one linear map; graph convolutions without anything in between.

    y = Â^K x W + b         x (N, F)   W (F, O)   b (O,)   y (N, O)

with the Â of `GraphConv`. Backward, given dy = dL/dy:

    dx = (Âᵀ)^K dy Wᵀ       dW = (Â^K x)ᵀ dy = xᵀ ((Âᵀ)^K dy)       db = Σ_n dy_n

Its backward is composed of those of `adjacency` (graph_conv.py), K times, and `affine` (dense.py).

Wu et al., Simplifying graph convolutional networks, ICML 2019.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer, check_positive
from custom_layers.core.dense import affine
from custom_layers.graph.graph_conv import adjacency, check_normalize
from custom_layers.graph.graph_layer import AffineGraphLayer, add_bias


@keras.saving.register_keras_serializable(package="custom_layers")
class SGConv(AffineGraphLayer):
    """Simple graph convolution (SGC): `activation(Â^K x W + b)`.

    Inputs, output, weights, padding, masks and edges out of range as in `GraphConv`.

    Args:
        units: O, features of an output node.
        K: how many times to propagate.
        activation: applied to the output.
        use_bias: whether to add b.
        normalize, add_self_loops: as in `GraphConv`.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above, or inputs do not fit each other.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    # fmt: off
    def __init__(
        self, units: int, K: int = 1, activation: str | Callable | None = None,
        use_bias: bool = True, normalize: str | None = "symmetric", add_self_loops: bool = True,
        kernel_initializer: Initializer = "glorot_uniform", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None, **kwargs,
    ):
        super().__init__(
            units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
        # fmt: on
        check_positive(K=K)
        check_normalize(normalize)
        self.K = K
        self.normalize = normalize
        self.add_self_loops = add_self_loops

    def convolve(self, graph):
        x, (W, b) = graph.nodes, self.kernel_and_bias()
        A = adjacency(graph, self.normalize, self.add_self_loops)  # Â
        map_first = self.units < self.features
        y = affine(x, W, None) if map_first else x
        for _ in range(self.K):
            y = A(y)
        y = tf.cast(y, x.dtype)
        y = y if map_first else affine(y, W, None)
        return y if b is None else add_bias(y, b)
