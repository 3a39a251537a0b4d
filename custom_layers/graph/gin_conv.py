"""GINConv: the sum over a node and its neighbors, through a network.

    y_n = f( (1 + ε) x_n + Σ_{t_e = n} w_e x[s_e] )         x (N, F)   y (N, O)   w = 1 if not given

Backward, given the gradient dz (N, F) of what f is applied to:

    dx_n = (1 + ε) dz_n + Σ_{s_e = n} w_e dz[t_e]           dε = Σ_n <x_n, dz_n>

The sum (rather than a mean or maximum) tells multisets of neighbors apart, which makes this as
strong as the Weisfeiler-Lehman test of isomorphism.

Xu, Hu, Leskovec & Jegelka, How powerful are graph neural networks?, ICLR 2019.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_number
from custom_layers.gradients import wide
from custom_layers.graph.graph_inputs import disjoint_union, node_features, node_mask, restore
from custom_layers.graph.segments import propagate


@keras.saving.register_keras_serializable(package="custom_layers")
class GINConv(Layer):
    """Graph isomorphism convolution: the formula at the top of this file.

    Called on `[nodes, edges]` or `[nodes, edges, edge_weights]`, flat or batched; padding, masks
    and edges out of range as in `GraphConv`. Output `(N, O)` or `(B, N, O)`, where O is what
    `network` makes. Weights: those of `network`, and `epsilon ()` if it is trained.

    Args:
        network: f, a Keras layer or model from `(N, F)` to `(N, O)`, such as
            `keras.Sequential([Dense(16, "relu"), Dense(16)])`. It sees the rows of all nodes,
            padded ones too: BatchNormalization inside takes its statistics over all of them.
        epsilon: ε, where it starts.
        train_epsilon: whether ε is trained.

    Raises:
        ValueError: `network` is not a Keras layer; inputs that do not fit each other.
        InvalidArgumentError: an edge points at a node that is not there (NaN in XLA).
    """

    def __init__(self, network, epsilon=0.0, train_epsilon=False, **kwargs):
        if not isinstance(network, keras.layers.Layer):
            raise ValueError(
                f"`network` must be a Keras layer or model. Received: network={network!r}"
            )
        check_number(epsilon=epsilon)
        super().__init__(**kwargs)
        self.network = network
        self.epsilon = epsilon
        self.train_epsilon = train_epsilon
        self.supports_masking = True

    def build(self, input_shape):
        self.features = node_features(self, input_shape)
        if not self.network.built:
            self.network.build((None, self.features))
        self.epsilon_weight = None
        if self.train_epsilon:
            self.epsilon_weight = self.add_weight(
                name="epsilon", shape=(), initializer=keras.initializers.Constant(self.epsilon)
            )

    def call(self, inputs, mask=None):
        graph = disjoint_union(self, inputs, mask)
        x, epsilon = wide(graph.nodes), self.epsilon
        if self.epsilon_weight is not None:
            epsilon = wide(tf.convert_to_tensor(self.epsilon_weight))
        z = (1 + epsilon) * x + propagate(x, graph.edges, graph.values)
        return restore(self.network(tf.cast(z, graph.nodes.dtype)), graph)

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return super().from_config({**config, "network": network})

    def compute_mask(self, inputs, mask=None):
        return node_mask(mask)

    def compute_output_shape(self, input_shape):
        shape = self.network.compute_output_shape((None, input_shape[0][-1]))
        return (*input_shape[0][:-1], shape[-1])
