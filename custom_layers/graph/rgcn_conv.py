"""RGCNConv: a convolution over edges of several relations, each with a linear map of its own.

    y_n = x_n W_0 + Σ_r m_nr W_r + b           x (N, F)   W_0 (F, O)   W (R, F, O)   b (O,)

    m_nr = 1/c_nr Σ_{t_e = n, r_e = r} x[s_e]      c_nr: how many such edges; m = 0 without any

    W_r = Σ_b a_rb V_b                         with `num_bases`: V (num_bases, F, O)

Backward, given dy = dL/dy:

    dm_nr = dy_n W_rᵀ       dx_n = dy_n W_0ᵀ + Σ_{s_e = n} dm[t_e, r_e] / c[t_e, r_e]
    dW_r = Σ_n m_nrᵀ dy_n   dW_0 = xᵀ dy       db = Σ_n dy_n
    dV_b = Σ_r a_rb dW_r    da_rb = <V_b, dW_r>

The means form a table (N R, F): one sum over the edges with t_e R + r_e as the target, and one
product, whatever R is. Its size is what limits N and R.

Schlichtkrull et al., Modeling relational data with graph convolutional networks, ESWC 2018.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_positive
from custom_layers.core.dense import affine
from custom_layers.gradients import wide
from custom_layers.graph.graph_inputs import (
    as_index,
    checked,
    disjoint_union,
    node_features,
    node_mask,
    restore,
)
from custom_layers.graph.segments import counts, per_row, propagate


@keras.saving.register_keras_serializable(package="custom_layers")
class RGCNConv(Layer):
    """Relational graph convolution (R-GCN): the formula at the top of this file.

    Called on `[nodes, edges, relations]`: nodes `(N, F)`, edges `(E, 2)` integer rows (source,
    target), relations `(E,)` integers from 0 to num_relations - 1; or batched, with one more axis
    in front of each. Output `(N, units)` or `(B, N, units)`. Weights `self_kernel (F, units)` for
    W_0, `kernel (num_relations, F, units)` for W or, with bases, `kernel (num_bases, F, units)`
    for V and `coefficients (num_relations, num_bases)` for a, and `bias (units,)`.

    Padding, masks and edges out of range as in `GraphConv`; a relation out of range is treated
    like an edge out of range, a negative one is padding. A relation and its inverse are two
    relations: the paper adds each edge reversed, under the relation r + num_relations / 2.

    Args:
        units: O, features of an output node.
        num_relations: R.
        num_bases: how many V share out W, or None for a W_r of its own for each relation.
        activation: applied to the output.
        use_bias: whether b is there.
        kernel_initializer, kernel_regularizer, kernel_constraint: of W, V, W_0 and a.
        bias_initializer, bias_regularizer, activity_regularizer, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above; inputs that do not fit each other.
        InvalidArgumentError: an edge or relation is out of range (NaN in XLA).
    """

    def __init__(
        self,
        units,
        num_relations,
        num_bases=None,
        activation=None,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        check_positive(units=units, num_relations=num_relations)
        if num_bases is not None:
            check_positive(num_bases=num_bases)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = units
        self.num_relations = num_relations
        self.num_bases = num_bases
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.supports_masking = True

    def build(self, input_shape):
        self.features = node_features(self, input_shape)
        if len(input_shape) != 3 or len(input_shape[2]) != len(input_shape[1]) - 1:
            raise ValueError(
                "RGCNConv is called on [nodes, edges, relations], with relations (E,) or (B, E). "
                f"Received: input_shape={input_shape}"
            )
        options, shape = self.weight_options("kernel"), (self.features, self.units)
        count = self.num_relations if self.num_bases is None else self.num_bases
        self.self_kernel = self.add_weight(name="self_kernel", shape=shape, **options)
        self.kernel = self.add_weight(name="kernel", shape=(count, *shape), **options)
        self.coefficients = self.bias = None
        if self.num_bases is not None:
            self.coefficients = self.add_weight(
                name="coefficients", shape=(self.num_relations, count), **options
            )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), **self.weight_options("bias")
            )

    def call(self, inputs, mask=None):
        graph = disjoint_union(self, inputs, mask)
        x, (sources, targets) = graph.nodes, tf.unstack(graph.edges, axis=1)
        relations = tf.cast(as_index(graph.values, "The relations of RGCNConv"), targets.dtype)
        relations, poison = checked(
            relations,
            tf.reduce_all(relations < self.num_relations),
            f"RGCNConv: a relation is not below num_relations={self.num_relations}. Largest:",
            tf.reduce_max(relations),
        )
        kernel = tf.convert_to_tensor(self.kernel)
        if self.coefficients is not None:
            coefficients = tf.convert_to_tensor(self.coefficients)
            kernel = tf.tensordot(coefficients, kernel, 1)  # (R, F, O)

        slots = targets * self.num_relations + relations
        slots = tf.where((targets < 0) | (relations < 0), tf.constant(-1, slots.dtype), slots)
        num_slots = tf.shape(x)[0] * self.num_relations
        total = propagate(wide(x), tf.stack([sources, slots], 1), None, num_targets=num_slots)
        means = tf.cast(total / per_row(counts(slots, num_slots, total.dtype), total), x.dtype)
        width = self.num_relations * self.features
        bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
        y = affine(tf.reshape(means, (-1, width)), tf.reshape(kernel, (width, self.units)), bias)
        y += affine(x, tf.convert_to_tensor(self.self_kernel), None) + tf.cast(poison, y.dtype)
        y = y if self.activation is None else self.activation(y)
        return restore(y, graph)

    def compute_mask(self, inputs, mask=None):
        return node_mask(mask)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.units)
