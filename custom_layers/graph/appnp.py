"""APPNP: propagates features along the edges K times, each time with a part of the start.

    z_0 = x        z_k = (1 - α) Â z_{k-1} + α x        y = z_K        x, y (N, F)

with the Â of `GraphConv`. This is personalized PageRank with restart probability α, cut off after K
steps. With α = 0 it is y = Â^K x: the aggregation of `GraphConv` (K = 1) without its kernel.

Backward, given dy = dL/dy: the same along the reversed edges,

    g_0 = dy       g_k = (1 - α) Âᵀ g_{k-1}             dx = g_K + α Σ_{k<K} g_k

It is composed of the backward of `adjacency` (graph_conv.py), K times.

Gasteiger, Bojchevski & Günnemann, Predict then propagate: graph neural networks meet personalized
PageRank, ICLR 2019.
"""

import keras
import tensorflow as tf

from custom_layers.base import check_number, check_positive
from custom_layers.gradients import wide
from custom_layers.graph.graph_conv import adjacency, check_normalize
from custom_layers.graph.graph_layer import GraphLayer


@keras.saving.register_keras_serializable(package="custom_layers")
class APPNP(GraphLayer):
    """Propagation without weights: the formula at the top of this file.

    Called on `[nodes, edges]` or `[nodes, edges, edge_weights]`: nodes `(N, F)`, edges `(E, 2)`
    integer rows (source, target), edge_weights `(E,)`; or batched, with one more axis in front of
    each. The output has the shape of the nodes. Padding, masks and edges out of range as in
    `GraphConv`.

    `APPNP(1, alpha=0)` after an `EmbeddingBag` is a graph convolution of sparse features, and
    `APPNP(K, alpha=0)` is what SGC computes before its linear map.

    Args:
        K: number of propagations.
        alpha: α in [0, 1], the share of the start in each.
        normalize, add_self_loops: as in `GraphConv`. The paper's dropout on the entries of Â is
            a `Dropout` on the weights of `custom_layers.graphs.normalize_edges`, with
            `normalize=None` and `add_self_loops=False` here.

    Raises:
        ValueError: an argument is not one of the above, or inputs do not fit each other.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    # fmt: off
    def __init__(
        self, K: int = 10, alpha: float = 0.1, normalize: str | None = "symmetric",
        add_self_loops: bool = True, **kwargs,
    ):
        # fmt: on
        check_positive(K=K)
        check_normalize(normalize)
        check_number("from 0 to 1", lambda a: 0 <= a <= 1, alpha=alpha)
        super().__init__(**kwargs)
        self.K = K
        self.alpha = alpha
        self.normalize = normalize
        self.add_self_loops = add_self_loops

    def convolve(self, graph):
        A = adjacency(graph, self.normalize, self.add_self_loops)  # Â
        x = z = wide(graph.nodes)
        for _ in range(self.K):
            z = (1 - self.alpha) * A(z) + self.alpha * x
        return tf.cast(z, graph.nodes.dtype)
