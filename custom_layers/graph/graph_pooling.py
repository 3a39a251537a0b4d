"""Graph pooling: one row for each graph of a disjoint union.

    GraphSumPooling         y_g = Σ_{i_n = g} x_n           x (N, F)   ids i (N,)   y (G, F)
    GraphAveragePooling     y_g = 1/c_g Σ_{i_n = g} x_n     c_g nodes
    GraphMaxPooling         y_g = max_{i_n = g} x_n
    GraphAttentionPooling   y_g = Σ_{i_n = g} p_n x_n       p = softmax of <a, x_n> over graph g

The backward passes are those of the segments: dx_n is dy[i_n], dy[i_n] / c[i_n], dy[i_n] where x_n
is the maximum (evenly among equals), and with attention, by q_n = <x_n, dy[i_n]>,

    ds_n = p_n (q_n - Σ_{i_m = i_n} p_m q_m)     dx_n = p_n dy[i_n] + ds_n a     da = Σ_n ds_n x_n

Nodes with a negative id, and masked ones, take no part. A graph without nodes gets 0. Batched
graphs (B, N, F) are pooled as sequences are, e.g. by `GlobalAveragePooling1D`.

Li et al., Gated graph sequence neural networks, ICLR 2016 (attention, there with a sigmoid gate).
"""

import keras
import tensorflow as tf

from custom_layers.base import (
    Constraint,
    Initializer,
    Layer,
    Regularizer,
    check_mask,
    check_positive,
)
from custom_layers.core.dense import affine
from custom_layers.gradients import wide
from custom_layers.graph.graph_layer import as_index, check_range, node_mask
from custom_layers.graph.segments import (
    propagate,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    zero_padding,
)


class _GraphPooling(Layer):
    """What the four share: all but `pool(nodes, ids, size)`."""

    def __init__(self, num_graphs: int | None = None, **kwargs):
        if num_graphs is not None:
            check_positive(num_graphs=num_graphs)
        super().__init__(**kwargs)
        self.num_graphs = num_graphs
        self.supports_masking = True

    def build(self, input_shape):
        name = type(self).__name__
        if (
            not isinstance(input_shape, (list, tuple))
            or len(input_shape) not in (2, 3)
            or not all(isinstance(shape, (list, tuple)) for shape in input_shape)
            or [len(shape) for shape in input_shape[:2]] != [2, 1]
        ):
            raise ValueError(
                f"{name} is called on [nodes, graph_ids] or [nodes, graph_ids, per_graph] of the "
                f"shapes (N, F), (N,), (G, ...). Received: input_shape={input_shape}"
            )
        if (self.num_graphs is None) != (len(input_shape) == 3):
            raise ValueError(
                f"{name} needs either the argument `num_graphs` or a third input with one row for "
                f"each graph. Received: num_graphs={self.num_graphs}, input_shape={input_shape}"
            )

    def call(self, inputs, mask=None):
        nodes, ids, *per_graph = inputs
        if not nodes.shape[:1].is_compatible_with(ids.shape):
            raise ValueError(
                f"{type(self).__name__} needs a graph id for each node. "
                f"Received: nodes {tuple(nodes.shape)}, graph_ids {tuple(ids.shape)}"
            )
        ids, mask = as_index(ids, "graph_ids"), node_mask(mask)
        size = tf.shape(per_graph[0])[0] if per_graph else self.num_graphs
        ids, zero_or_nan = check_range(
            ids, size, f"{type(self).__name__}: a graph id is not below the number of graphs. Both:"
        )
        if mask is not None:
            check_mask(mask, nodes.shape[:1], "(N,)")
            ids = tf.where(tf.cast(mask, tf.bool), ids, tf.constant(-1, ids.dtype))
        y = self.pool(nodes, ids, size)
        return y + tf.cast(zero_or_nan, y.dtype)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        size = input_shape[2][0] if len(input_shape) == 3 else self.num_graphs
        return (size, input_shape[0][-1])


@keras.saving.register_keras_serializable(package="custom_layers")
class GraphSumPooling(_GraphPooling):
    """The sum over the nodes of each graph.

    Called on `[nodes, graph_ids]`, or on `[nodes, graph_ids, per_graph]`: nodes `(N, F)`,
    graph_ids `(N,)` integers, per_graph any tensor `(G, ...)` with one row for each graph, such as
    the `num_nodes` of `custom_layers.graphs.pack`; only its length is used. Output `(G, F)`.

    Args:
        num_graphs: G, if it is always the same. Otherwise the third input gives it: XLA must
            know it, and the largest id misses empty graphs at the end.

    Raises:
        ValueError: neither or both of `num_graphs` and the third input are given, or shapes or
            types are not the above.
        InvalidArgumentError: an id is not below G (NaN in XLA).
    """

    def pool(self, nodes, ids, size):
        return segment_sum(nodes, ids, num_segments=size)


@keras.saving.register_keras_serializable(package="custom_layers")
class GraphAveragePooling(_GraphPooling):
    """The mean over the nodes of each graph.

    Inputs, output, arguments and errors are those of `GraphSumPooling`.
    """

    def pool(self, nodes, ids, size):
        return segment_mean(nodes, ids, num_segments=size)


@keras.saving.register_keras_serializable(package="custom_layers")
class GraphMaxPooling(_GraphPooling):
    """The maximum over the nodes of each graph, feature by feature.

    Inputs, output, arguments and errors are those of `GraphSumPooling`.
    """

    def pool(self, nodes, ids, size):
        return segment_max(nodes, ids, num_segments=size)


@keras.saving.register_keras_serializable(package="custom_layers")
class GraphAttentionPooling(_GraphPooling):
    """The mean over the nodes of each graph, weighted by attention.

    Weight `kernel (F, 1)`, the a of the formula, with its initializer, regularizer and constraint.
    Inputs, output, the other argument and errors are those of `GraphSumPooling`.
    """

    def __init__(
        self,
        num_graphs: int | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        **kwargs,
    ):
        super().__init__(num_graphs, **kwargs)
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)

    def build(self, input_shape):
        super().build(input_shape)
        shape = (input_shape[0][-1], 1)
        self.kernel = self.add_weight(name="kernel", shape=shape, **self.weight_options("kernel"))

    def pool(self, nodes, ids, size):
        nodes = zero_padding(nodes, ids)  # or what padding holds enters da
        scores = affine(nodes, tf.convert_to_tensor(self.kernel), None)  # (N, 1)
        p = segment_softmax(wide(scores[:, 0]), ids, num_segments=size)
        rows = tf.range(tf.shape(ids)[0], dtype=ids.dtype)
        return propagate(nodes, tf.stack([rows, ids], 1), p, num_targets=size)
