"""SGConv: K propagations and one linear map; a graph convolution without anything between.

    y = Â^K x W + b         x (N, F)   W (F, O)   b (O,)   y (N, O)

with the Â of `GraphConv`. Backward, given dy = dL/dy:

    dx = (Âᵀ)^K dy Wᵀ       dW = (Â^K x)ᵀ dy = xᵀ ((Âᵀ)^K dy)       db = Σ_n dy_n

Wu et al., Simplifying graph convolutional networks, ICML 2019.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_positive
from custom_layers.core.dense import affine
from custom_layers.gradients import wide
from custom_layers.graph.graph_conv import adjacency, check_normalize
from custom_layers.graph.graph_inputs import disjoint_union, node_features, node_mask, restore


@keras.saving.register_keras_serializable(package="custom_layers")
class SGConv(Layer):
    """Simple graph convolution (SGC): `activation(Â^K x W + b)`.

    Inputs, output, weights, padding, masks and edges out of range as in `GraphConv`.

    Args:
        units: O, features of an output node.
        K: how many times to propagate.
        activation: applied to the output.
        use_bias: whether b is there.
        normalize, add_self_loops: as in `GraphConv`.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above; inputs that do not fit each other.
        InvalidArgumentError: an edge points at a node that is not there (NaN in XLA).
    """

    def __init__(
        self,
        units,
        K=1,
        activation=None,
        use_bias=True,
        normalize="symmetric",
        add_self_loops=True,
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
        check_normalize(normalize)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = units
        self.K = K
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.normalize = normalize
        self.add_self_loops = add_self_loops
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.supports_masking = True

    def build(self, input_shape):
        self.features = node_features(self, input_shape)
        self.kernel = self.add_weight(
            name="kernel", shape=(self.features, self.units), **self.weight_options("kernel")
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), **self.weight_options("bias")
            )

    def call(self, inputs, mask=None):
        graph = disjoint_union(self, inputs, mask)
        kernel = tf.convert_to_tensor(self.kernel)
        send = adjacency(graph, self.normalize, self.add_self_loops, graph.values)
        narrow_first = self.units < self.features  # propagate whichever has fewer columns
        y = wide(affine(graph.nodes, kernel, None) if narrow_first else graph.nodes)
        for _ in range(self.K):
            y = send(y)
        y = tf.cast(y, graph.nodes.dtype)
        y = y if narrow_first else affine(y, kernel, None)
        y = y if self.bias is None else tf.nn.bias_add(y, tf.convert_to_tensor(self.bias))
        y = y if self.activation is None else self.activation(y)
        return restore(y, graph)

    def compute_mask(self, inputs, mask=None):
        return node_mask(mask)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.units)
