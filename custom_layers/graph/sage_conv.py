"""SAGEConv: a node beside the aggregate of its neighbors, through one linear map.

    y_n = [x_n, m_n] W + b             x (N, F)   W (2F, O)   b (O,)   y (N, O)

    m_n = Σ_{t_e = n} w_e x[s_e] / Σ_{t_e = n} w_e        aggregate="mean"  (w = 1 without weights)
    m_n = Σ_{t_e = n} w_e x[s_e]                          aggregate="sum"
    m_n = max_{t_e = n} x[s_e]                            aggregate="max", entry by entry

    y_n / |y_n|                                           normalize=True, before the activation

Backward, given dy = dL/dy, with W = [U; V] (the upper half meets x, the lower half m):

    dU = xᵀ dy         dV = mᵀ dy       db = Σ_n dy_n     dx = dy Uᵀ + (aggregation)ᵀ (dy Vᵀ)

and of z = y / |y|:    dy = (dz - z <z, dz>) / |y|.

Sum and mean are linear, so M x V is (M x) V or M (x V), whichever propagates fewer numbers.
Hamilton, Ying & Leskovec, Inductive representation learning on large graphs, NeurIPS 2017.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer
from custom_layers.core.dense import affine
from custom_layers.gradients import wide, with_backward
from custom_layers.graph.graph_conv import adjacency
from custom_layers.graph.graph_layer import AffineGraphLayer
from custom_layers.graph.segments import propagate_max


def normalize_rows_forward(x, epsilon=1e-12):
    """x (N, F) -> x / |x|, rows of length 1; a length counts as at least `epsilon`."""
    largest = tf.reduce_max(tf.abs(wide(x)), -1, keepdims=True)
    scale = tf.where(largest > 0, largest, tf.ones_like(largest))
    unit = wide(x) / scale  # x itself may be too large, or too small, to be squared
    square = tf.reduce_sum(tf.square(unit), -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.where(square == 0, tf.ones_like(square), square))
    most = tf.minimum(scale, 1) / epsilon
    short = (square == 0) | (inverse > most)
    inverse = tf.where(short, most, inverse)
    return tf.cast(unit * inverse, x.dtype), (x, scale, inverse, short)


def normalize_rows_backward(dy, cache, epsilon=1e-12):
    """(dz - z <z, dz>) / |y|; in a row shorter than `epsilon`, dz / epsilon."""
    x, scale, inverse, short = cache
    z, dz = wide(x) / scale * inverse, wide(dy)
    along = tf.reduce_sum(z * dz, -1, keepdims=True)
    along = tf.where(short, tf.zeros_like(along), along)
    return tf.cast((dz - z * along) * inverse / scale, dy.dtype)


normalize_rows = with_backward(normalize_rows_forward, normalize_rows_backward)


AGGREGATE = ("mean", "sum", "max")


@keras.saving.register_keras_serializable(package="custom_layers")
class SAGEConv(AffineGraphLayer):
    """GraphSAGE convolution: `activation([x, m] W + b)`, the formula at the top of this file.

    Called on `[nodes, edges]` or, with mean and sum, on `[nodes, edges, edge_weights]`: nodes
    `(N, F)`, edges `(E, 2)` integer rows (source, target), edge_weights `(E,)`; or batched, with
    one more axis in front of each. Output `(N, units)` or `(B, N, units)`. Weights
    `kernel (2F, units)`, upper half for the node itself, and `bias (units,)`.

    Padding, masks and edges out of range as in `GraphConv`. Without neighbors, m is 0. On a graph
    of `custom_layers.graphs.sample_neighbors` this is the mini-batch training of the paper.

    Args:
        units: O, features of an output node.
        activation: applied to the output.
        use_bias: whether to add b.
        aggregate: `"mean"`, `"sum"` or `"max"`. The paper's max has a dense layer below it:
            put a `Dense(..., activation="relu")` in front.
        normalize: whether output rows are scaled to length 1. The paper does so after the
            activation: with `relu`, set it on the last layer only.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above, edge weights are given to a maximum, or
            inputs do not fit each other.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = None, use_bias: bool = True,
        aggregate: str = "mean", normalize: bool = False,
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
        if aggregate not in AGGREGATE:
            raise ValueError(
                f"Invalid value for argument `aggregate`. Expected one of {AGGREGATE}. "
                f"Received: aggregate={aggregate!r}"
            )
        self.aggregate = aggregate
        self.normalize = normalize

    def build(self, input_shape):
        if self.aggregate == "max" and len(input_shape) == 3:
            raise ValueError(
                "SAGEConv with aggregate='max' does not use edge weights. "
                f"Received: input_shape={input_shape}"
            )
        super().build(input_shape)

    def kernel_shape(self):
        return 2 * self.features, self.units

    def convolve(self, graph):
        x, (W, b) = graph.nodes, self.kernel_and_bias()
        U, V = W[: self.features], W[self.features :]
        y = affine(x, U, b)
        if self.aggregate == "max":
            y += affine(propagate_max(x, graph.edges), V, None)
        else:
            M = adjacency(graph, "row" if self.aggregate == "mean" else None, add_self_loops=False)
            if self.features <= self.units:
                y += affine(tf.cast(M(x), x.dtype), V, None)
            else:
                y += tf.cast(M(affine(x, V, None)), x.dtype)
        return normalize_rows(y) if self.normalize else y
