"""EdgeConv: a network on each edge, which sees both ends and the features of the edge itself.

    m_e = f( [x[t_e], x[s_e] - x[t_e], a_e] )        x (N, F)   a (E, D), optional   m (E, O)

    y_n = max, mean or sum of m_e over t_e = n                                       y (N, O)

Backward, given the gradient [u_e, v_e, a'_e] of what f is applied to:

    dx_n = Σ_{t_e = n} (u_e - v_e) + Σ_{s_e = n} v_e          da_e = a'_e

It is composed of the backwards of the network, of `gather`, and of the sum, mean or maximum
(segments.py).

Wang et al., Dynamic graph CNN for learning on point clouds, ACM Transactions on Graphics 2019; with
edge features and a sum it is the message passing of Gilmer et al., Neural message passing for
quantum chemistry, ICML 2017.
"""

import keras
import tensorflow as tf

from custom_layers.graph.graph_layer import NetworkGraphLayer
from custom_layers.graph.segments import gather, segment_max, segment_mean, segment_sum

AGGREGATE = {"max": segment_max, "mean": segment_mean, "sum": segment_sum}


@keras.saving.register_keras_serializable(package="custom_layers")
class EdgeConv(NetworkGraphLayer):
    """Edge convolution: the formula at the top of this file.

    Called on `[nodes, edges]` or `[nodes, edges, edge_features]`: nodes `(N, F)`, edges `(E, 2)`
    integer rows (source, target), edge_features `(E, D)`; or batched, with one more axis in front
    of each. Output `(N, O)` or `(B, N, O)`, where O is the width of `network`'s output. The
    weights are those of `network`. Padding, masks and edges out of range as in `GraphConv`. A node
    without incoming edges gets 0.

    Args:
        network: f, a Keras layer or model from `(E, 2F + D)` to `(E, O)`. It sees the rows of all
            edges, padded ones too, which enter the statistics of a BatchNormalization in it.
        aggregate: `"max"`, `"mean"` or `"sum"`.

    Raises:
        ValueError: an argument is not one of the above, or inputs do not fit each other.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    third_input = "edge_features"
    value_axes = ("D",)

    def __init__(self, network: keras.layers.Layer, aggregate: str = "max", **kwargs):
        if aggregate not in AGGREGATE:
            raise ValueError(
                f"Invalid value for argument `aggregate`. Expected one of {tuple(AGGREGATE)}. "
                f"Received: aggregate={aggregate!r}"
            )
        super().__init__(network, **kwargs)
        self.aggregate = aggregate

    def network_features(self, input_shape):
        edge_features = input_shape[2][-1] if len(input_shape) == 3 else 0
        return 2 * input_shape[0][-1] + edge_features

    def convolve(self, graph):
        x, (s, t), a = graph.nodes, tf.unstack(graph.edges, axis=1), graph.values
        x_s, x_t = gather(x, s), gather(x, t)
        m = self.network(tf.concat([x_t, x_s - x_t, *([] if a is None else [a])], -1))
        return AGGREGATE[self.aggregate](m, t, num_segments=tf.shape(x)[0])
