"""RGCNConv: a convolution over edges of several relations, each with a linear map of its own.

    y_n = x_n W_0 + Σ_r m_nr W_r + b           x (N, F)   W_0 (F, O)   W (R, F, O)   b (O,)

    m_nr = 1/c_nr Σ_{t_e = n, r_e = r} x[s_e]      c_nr: number of such edges; m = 0 if none

    W_r = Σ_b a_rb V_b                         with `num_bases`: V (num_bases, F, O)

Backward, given dy = dL/dy:

    dm_nr = dy_n W_rᵀ       dx_n = dy_n W_0ᵀ + Σ_{s_e = n} dm[t_e, r_e] / c[t_e, r_e]
    dW_r = Σ_n m_nrᵀ dy_n   dW_0 = xᵀ dy       db = Σ_n dy_n
    dV_b = Σ_r a_rb dW_r    da_rb = <V_b, dW_r>

The means form a table (N R, F): one sum over the edges with t_e R + r_e as the target, and one
product, whatever R is. Its size limits N and R.

Its backward is composed of those of `propagate` (segments.py) and `affine` (dense.py).

Schlichtkrull et al., Modeling relational data with graph convolutional networks, ESWC 2018.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer, check_positive
from custom_layers.core.dense import affine
from custom_layers.gradients import wide
from custom_layers.graph.graph_layer import AffineGraphLayer, GraphLayer, as_index, check_range
from custom_layers.graph.segments import counts, per_row, propagate


@keras.saving.register_keras_serializable(package="custom_layers")
class RGCNConv(AffineGraphLayer):
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
        num_bases: number of V that the W_r are made of, or None for independent W_r.
        activation: applied to the output.
        use_bias: whether to add b.
        kernel_initializer, kernel_regularizer, kernel_constraint: of W, V, W_0 and a.
        bias_initializer, bias_regularizer, activity_regularizer, bias_constraint: as in `Dense`.

    Raises:
        ValueError: an argument is not one of the above, or inputs do not fit each other.
        InvalidArgumentError: an edge or relation is out of range (NaN in XLA).
    """

    third_input = "relations"

    # fmt: off
    def __init__(
        self, units: int, num_relations: int, num_bases: int | None = None,
        activation: str | Callable | None = None, use_bias: bool = True,
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
        check_positive(num_relations=num_relations)
        if num_bases is not None:
            check_positive(num_bases=num_bases)
        self.num_relations = num_relations
        self.num_bases = num_bases

    def build(self, input_shape):
        GraphLayer.build(self, input_shape)
        if len(input_shape) != 3:
            raise ValueError(
                "RGCNConv is called on [nodes, edges, relations], with relations (E,) or (B, E). "
                f"Received: input_shape={input_shape}"
            )
        R, F, O = self.num_relations, self.features, self.units
        self.self_kernel = self.add_kernel(F, O, name="self_kernel")
        self.kernel = self.add_kernel(self.num_bases or R, F, O)
        self.coefficients = None
        if self.num_bases is not None:
            self.coefficients = self.add_kernel(R, self.num_bases, name="coefficients")
        self.bias = self.add_bias()

    def cast_values(self, values, nodes):
        return as_index(values, "The relations of RGCNConv")

    def convolve(self, graph):
        x, (s, t) = graph.nodes, tf.unstack(graph.edges, axis=1)
        r, zero_or_nan = check_range(
            tf.cast(graph.values, t.dtype),
            self.num_relations,
            f"RGCNConv: a relation is not below num_relations={self.num_relations}. Both:",
        )
        W, b = self.kernel_and_bias()
        if self.coefficients is not None:
            W = tf.tensordot(tf.convert_to_tensor(self.coefficients), W, 1)  # (R, F, O)
        W_0 = tf.convert_to_tensor(self.self_kernel)
        R, F, O = self.num_relations, self.features, self.units

        slots = tf.where((t < 0) | (r < 0), tf.constant(-1, t.dtype), t * R + r)
        size = tf.shape(x)[0] * R
        total = propagate(wide(x), tf.stack([s, slots], 1), None, num_targets=size)
        m = tf.cast(total / per_row(counts(slots, size, total.dtype), total), x.dtype)  # (N R, F)
        y = affine(tf.reshape(m, (tf.shape(x)[0], R * F)), tf.reshape(W, (R * F, O)), b)
        return y + affine(x, W_0, None) + tf.cast(zero_or_nan, y.dtype)
