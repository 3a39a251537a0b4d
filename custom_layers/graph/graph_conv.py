"""GraphConv: a graph convolution, the normalized sum over a node's neighbors after a linear map.

    y = Â x W + b       x (N, F)   W (F, O)   b (O,)   y (N, O)

    Ã = A + I           A[t, s] = Σ of the weights of the edges from s to t
    d_t = Σ_s Ã[t, s]
    Â = D^-½ Ã D^-½     normalize="symmetric"
    Â = D^-1 Ã          normalize="row"
    Â = Ã               normalize=None

Backward, given dy = dL/dy:

    dx = Âᵀ dy Wᵀ       dW = (Â x)ᵀ dy = xᵀ (Âᵀ dy)       db = Σ_n dy_n

Âᵀ propagates along the reversed edges. D^-½ Ã D^-½ z is computed as l ⊙ Ã (l ⊙ z), l = d^-½, which
without weights keeps nothing for an edge; with them, dL/dw_e is <l x[s_e], l dy[t_e]>, plus what
comes through d. Â x W is (Â x) W or Â (x W), whichever propagates fewer numbers.

Its backward is composed of those of `propagate` and `segment_sum` (segments.py) and `affine`
(dense.py).

Kipf & Welling, Semi-supervised classification with graph convolutional networks, ICLR 2017.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer
from custom_layers.core.dense import affine
from custom_layers.gradients import wide
from custom_layers.graph.graph_layer import AffineGraphLayer, add_bias
from custom_layers.graph.segments import propagate, segment_sum

NORMALIZE = ("symmetric", "row", None)


def check_normalize(normalize):
    if normalize not in NORMALIZE:
        raise ValueError(
            f"Invalid value for argument `normalize`. Expected one of {NORMALIZE}. "
            f"Received: normalize={normalize!r}"
        )


def inverse_power(d, power):
    """d^power (N,) where d is positive, else 0: an isolated node has nothing to normalize."""
    return tf.where(d > 0, tf.pow(tf.where(d > 0, d, 1), power), 0)


def adjacency(graph, normalize, add_self_loops):
    """The function z (N, ...) -> Â z, whose result has the dtype that sums are taken in."""
    edges, w = graph.edges, graph.values
    left = right = None
    # Without nodes there is no degree, and TensorFlow's folding of its graph would end the process.
    if normalize is not None and graph.nodes.shape[0] != 0:
        ones = tf.ones(tf.shape(edges)[:1], wide(graph.nodes).dtype)
        d = segment_sum(
            ones if w is None else wide(w), edges[:, 1], num_segments=tf.shape(graph.nodes)[0]
        )
        d = d + 1 if add_self_loops else d
        left = inverse_power(d, -1 if normalize == "row" else -0.5)[:, None]
        right = left if normalize == "symmetric" else None

    def apply(z):
        z = wide(z) if right is None else right * wide(z)
        if right is not None and (w is not None or not add_self_loops):
            z = tf.where(right > 0, z, tf.zeros((), z.dtype))  # 0 times NaN would be NaN
        y = propagate(z, edges, w)
        y = y + z if add_self_loops else y
        return y if left is None else left * y

    return apply


@keras.saving.register_keras_serializable(package="custom_layers")
class GraphConv(AffineGraphLayer):
    """Graph convolution (GCN): `activation(Â x W + b)`, the formula at the top of this file.

    Called on `[nodes, edges]` or `[nodes, edges, edge_weights]`: nodes `(N, F)`, edges `(E, 2)`
    integer rows (source, target), edge_weights `(E,)`; or batched, with one more axis in front of
    each. Output `(N, units)` or `(B, N, units)`. Weights `kernel (F, units)` and `bias (units,)`.

    Repeated edges add up. A row of edges with a negative entry is padding. Masked nodes
    take no part, and their output is 0; the mask is passed on. A node without incoming edges
    (after self loops) gets the bias alone.

    Args:
        units: O, features of an output node.
        activation: applied to the output.
        use_bias: whether to add b.
        normalize: `"symmetric"`, `"row"` or None. The degree d is that of incoming edges; where it
            is not positive, the row of Â is 0.
        add_self_loops: whether I is added to A, even to loops that are already there.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above, edges are not rows of two integers, or
            nodes, edges and weights do not fit each other.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = None, use_bias: bool = True,
        normalize: str | None = "symmetric", add_self_loops: bool = True,
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
        check_normalize(normalize)
        self.normalize = normalize
        self.add_self_loops = add_self_loops

    def convolve(self, graph):
        x, (W, b) = graph.nodes, self.kernel_and_bias()
        A = adjacency(graph, self.normalize, self.add_self_loops)  # Â
        if self.features <= self.units:
            return affine(tf.cast(A(x), x.dtype), W, b)
        y = tf.cast(A(affine(x, W, None)), x.dtype)
        return y if b is None else add_bias(y, b)
