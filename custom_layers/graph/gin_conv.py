"""GINConv: the sum over a node and its neighbors, through a network.

    y_n = f( (1 + ε) x_n + Σ_{t_e = n} w_e x[s_e] )         x (N, F)   y (N, O)   w = 1 if not given

Backward, given the gradient dz (N, F) of what f is applied to:

    dx_n = (1 + ε) dz_n + Σ_{s_e = n} w_e dz[t_e]           dε = Σ_n <x_n, dz_n>

It is composed of the backwards of `propagate` (segments.py) and of the network.

The sum (rather than a mean or maximum) tells multisets of neighbors apart, which makes this as
strong as the Weisfeiler-Lehman test of isomorphism.

Xu, Hu, Leskovec & Jegelka, How powerful are graph neural networks?, ICLR 2019.
"""

import keras
import tensorflow as tf

from custom_layers.base import check_number
from custom_layers.gradients import wide
from custom_layers.graph.graph_layer import NetworkGraphLayer
from custom_layers.graph.segments import propagate


@keras.saving.register_keras_serializable(package="custom_layers")
class GINConv(NetworkGraphLayer):
    """Graph isomorphism convolution: the formula at the top of this file.

    Called on `[nodes, edges]` or `[nodes, edges, edge_weights]`, flat or batched; padding, masks
    and edges out of range as in `GraphConv`. Output `(N, O)` or `(B, N, O)`, where O is the
    width of `network`'s output. Weights are those of `network`, and `epsilon ()` if it is trained.

    Args:
        network: f, a Keras layer or model from `(N, F)` to `(N, O)`, such as
            `keras.Sequential([Dense(16, "relu"), Dense(16)])`. It sees the rows of all nodes,
            padded ones too, which enter the statistics of a BatchNormalization in it.
        epsilon: ε, the initial value if it is trained.
        train_epsilon: whether ε is trained.

    Raises:
        ValueError: `network` is not a Keras layer, or inputs do not fit each other.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        epsilon: float = 0.0,
        train_epsilon: bool = False,
        **kwargs,
    ):
        check_number(epsilon=epsilon)
        super().__init__(network, **kwargs)
        self.epsilon = epsilon
        self.train_epsilon = train_epsilon

    def build(self, input_shape):
        super().build(input_shape)
        self.epsilon_weight = None
        if self.train_epsilon:
            self.epsilon_weight = self.add_weight(
                name="epsilon", shape=(), initializer=keras.initializers.Constant(self.epsilon)
            )

    def convolve(self, graph):
        x, epsilon = wide(graph.nodes), self.epsilon
        if self.epsilon_weight is not None:
            epsilon = wide(tf.convert_to_tensor(self.epsilon_weight))
        z = (1 + epsilon) * x + propagate(x, graph.edges, graph.values)
        return self.network(tf.cast(z, graph.nodes.dtype))

    def network_features(self, input_shape):
        return input_shape[0][-1]
