"""GATConv and GATv2Conv: each node attends to its neighbors, with several heads.

    y_n = Σ_{t_e = n} p_e h[s_e] + b             h = x W              x (N, F)   h (N, K, O)

    p_e = softmax of c_e over the edges into t_e                      c, p (E, K)

    c_e = leaky( <a, h[s_e]> + <a', h[t_e]> )    GATConv              W (F, K O)   a, a' (K, O)
    c_e = <a, leaky( h[s_e] + h'[t_e] )>         GATv2Conv            h' = x W'    a (K, O)

The heads are concatenated, y (N, K O), or averaged, y (N, O). Backward, given dy = dL/dy, for
each head (those of softmax, sum and gathering are in segments.py):

    dp_e = <h[s_e], dy[t_e]>                     dh_n = Σ_{s_e = n} p_e dy[t_e] + (through c)

    GATConv      q_e = dc_e leaky'(.)            q_e goes to <a, h[s_e]> and <a', h[t_e]>
    GATv2Conv    q_e = dc_e a leaky'(.) (O,)     dh_n += Σ_{s_e = n} q_e    dh'_n = Σ_{t_e = n} q_e
                                                 da = Σ_e dc_e leaky(.)

Of an edge only c and p are kept, K numbers each: what has K O numbers is computed again.

Velickovic et al., Graph attention networks, ICLR 2018; Brody, Alon & Yahav, How attentive are graph
attention networks?, ICLR 2022, where the ranking of the neighbors can depend on the attending node.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer, check_number, check_positive
from custom_layers.core.dense import affine
from custom_layers.gradients import wide, with_backward
from custom_layers.graph.graph_layer import AffineGraphLayer, GraphLayer, add_bias
from custom_layers.graph.segments import gather, propagate, rows_of, segment_softmax, segment_sum
from custom_layers.regularization.dropout import dropout, next_seed


def leaky_slope(z, slope):
    """The derivative of leaky(z) = max(z, 0) + slope min(z, 0)."""
    return tf.where(z > 0, tf.ones((), z.dtype), tf.constant(slope, z.dtype))


def gat_scores_forward(source, target, edges, slope):
    """source, target (N, K), edges (E, 2) -> c (E, K)."""
    z = rows_of(source, edges[:, 0]) + rows_of(target, edges[:, 1])
    return z * leaky_slope(z, slope), (z, source, edges)


def gat_scores_backward(dy, cache, slope):
    """q, which goes to the source and to the target of each edge."""
    z, source, edges = cache
    q, nodes = dy * leaky_slope(z, slope), tf.shape(source)[0]
    to_source = segment_sum(q, edges[:, 0], num_segments=nodes)
    return to_source, segment_sum(q, edges[:, 1], num_segments=nodes), None


gat_scores = with_backward(gat_scores_forward, gat_scores_backward)


def gatv2_scores_forward(source, target, attention, edges, slope):
    """source, target (N, K, O), attention (K, O), edges (E, 2) -> c (E, K), not in 16 bits."""
    z = wide(rows_of(source, edges[:, 0]) + rows_of(target, edges[:, 1]))
    c = tf.reduce_sum(wide(attention) * (z * leaky_slope(z, slope)), -1)
    return c, (source, target, attention, edges)


def gatv2_scores_backward(dy, cache, slope):
    """Σ_{s_e = n} q_e, Σ_{t_e = n} q_e and da."""
    source, target, attention, edges = cache
    nodes = tf.shape(source)[0]
    z = wide(gather(source, edges[:, 0]) + gather(target, edges[:, 1]))  # 0 at padding
    leaky = leaky_slope(z, slope)
    q = dy[..., tf.newaxis] * wide(attention) * leaky
    dattention = tf.reduce_sum(dy[..., tf.newaxis] * z * leaky, 0)
    sums = [segment_sum(q, edges[:, end], num_segments=nodes) for end in (0, 1)] + [dattention]
    return *(tf.cast(x, source.dtype) for x in sums), None


gatv2_scores = with_backward(gatv2_scores_forward, gatv2_scores_backward)


def mean_of_heads(y):
    """y (N, K, O) -> (N, O)."""
    return tf.cast(tf.reduce_mean(wide(y), 1), y.dtype)


class _GATConv(AffineGraphLayer):
    """What both versions share: all but the scores c."""

    third_input = None

    # fmt: off
    def __init__(
        self, units: int, heads: int = 1, concat: bool = True,
        activation: str | Callable | None = None, use_bias: bool = True,
        negative_slope: float = 0.2, dropout: float = 0.0, add_self_loops: bool = True,
        use_kernel: bool = True, kernel_initializer: Initializer = "glorot_uniform",
        attention_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros", kernel_regularizer: Regularizer = None,
        attention_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        attention_constraint: Constraint = None, bias_constraint: Constraint = None,
        seed: int | None = None, **kwargs,
    ):
        super().__init__(
            units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, **kwargs,
        )
        # fmt: on
        check_positive(heads=heads)
        check_number("in [0, 1)", lambda p: 0 <= p < 1, dropout=dropout)
        check_number(negative_slope=negative_slope)
        self.heads = heads
        self.concat = concat
        self.negative_slope = negative_slope
        self.dropout = dropout
        self.add_self_loops = add_self_loops
        self.use_kernel = use_kernel
        self.set_weight_options(
            "attention", attention_initializer, attention_regularizer, attention_constraint
        )
        self.seed = seed
        if dropout > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def width(self):
        """Features of an output node."""
        return self.units * (self.heads if self.concat else 1)

    def build(self, input_shape):
        GraphLayer.build(self, input_shape)
        if not self.use_kernel and self.features != self.heads * self.units:
            raise ValueError(
                f"Without a kernel, nodes must have heads * units features, not {self.features}."
            )
        self.kernel = self.add_head_kernel("kernel")
        self.build_attention()
        self.bias = self.add_bias(self.width)

    def add_head_kernel(self, name):
        if not self.use_kernel:
            return None
        return self.add_kernel(self.features, self.heads * self.units, name=name)

    def add_attention(self, name):
        shape = (self.heads, self.units)
        return self.add_weight(name=name, shape=shape, **self.weight_options("attention"))

    def heads_of(self, x, kernel):
        """h = x W (N, K, O), or x itself without a kernel."""
        h = x if kernel is None else affine(x, tf.convert_to_tensor(kernel), None)
        return tf.reshape(h, (-1, self.heads, self.units))

    def call(self, inputs, training=False, mask=None):
        graph = self.disjoint_union(inputs, mask)
        return self.restore(self.convolve(graph, training), graph)

    def convolve(self, graph, training=False):
        x, edges, N = graph.nodes, graph.edges, tf.shape(graph.nodes)[0]
        if self.add_self_loops:
            loops = tf.range(N, dtype=edges.dtype)
            edges = tf.concat([edges, tf.stack([loops, loops], 1)], 0)
        h = self.heads_of(x, self.kernel)
        # c and p in float32 at least: float16 cannot represent 1/50,000, the share of 50,000
        # neighbors, and as little of dp is the dc of one edge.
        p = segment_softmax(self.scores(x, h, edges), edges[:, 1], num_segments=N)
        if training and self.dropout > 0:
            p = dropout(p, next_seed(self.seed_generator), rate=self.dropout)
        y = propagate(h, edges, p)  # (N, K, O)
        y = tf.reshape(y, (-1, self.width)) if self.concat else mean_of_heads(y)
        return y if self.bias is None else add_bias(y, tf.convert_to_tensor(self.bias))

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.width)


@keras.saving.register_keras_serializable(package="custom_layers")
class GATConv(_GATConv):
    """Graph attention (GAT): the first formula at the top of this file.

    Weights `kernel (F, heads * units)`, `attention_source` and `attention_target (heads, units)`,
    and `bias`.

    Called on `[nodes, edges]`: nodes `(N, F)`, edges `(E, 2)` integer rows (source, target); or
    batched, with one more axis in front of each. Output `(N, heads * units)`, or `(N, units)`
    without `concat`; batched, `(B, N, ...)`.

    Padding, masks and edges out of range as in `GraphConv`. A node without incoming edges (after
    self loops) gets the bias alone.

    Args:
        units: O, features of an output node in one head.
        heads: K.
        concat: whether heads are concatenated, or averaged as in the paper's last layer.
        activation: applied to the output.
        use_bias: whether to add b.
        negative_slope: of the leaky rectifier.
        dropout: the fraction of the p dropped in training, so that a node sees a random sample of
            its neighbors.
        add_self_loops: whether each node gets an edge to itself, even if it has one already.
        use_kernel: False if the nodes are already h and h' (N, K O), from an `EmbeddingBag`, say.
        kernel_initializer, attention_initializer, bias_initializer, and the same with
            `_regularizer` and `_constraint`: of the kernels, of a, of b.
        activity_regularizer: as in `Dense`.
        seed: of the dropout.

    Raises:
        ValueError: an argument is not one of the above, inputs do not fit each other, or there
            are edge weights, which attention does not use.
        InvalidArgumentError: an edge points at a node that does not exist (NaN in XLA).
    """

    def build_attention(self):
        self.attention_source = self.add_attention("attention_source")
        self.attention_target = self.add_attention("attention_target")

    def scores(self, x, h, edges):
        """c (E, K), of nodes x (N, F) and h (N, K, O)."""
        source, target = (
            tf.reduce_sum(wide(h) * wide(tf.convert_to_tensor(a)), -1)
            for a in (self.attention_source, self.attention_target)
        )
        return gat_scores(source, target, edges, slope=self.negative_slope)


@keras.saving.register_keras_serializable(package="custom_layers")
class GATv2Conv(_GATConv):
    """Graph attention, version 2 (GATv2): the second formula at the top of this file.

    Weights `kernel` and `target_kernel (F, heads * units)`, `attention (heads, units)` and
    `bias`. Inputs, output, arguments and errors are those of `GATConv`.
    """

    def build_attention(self):
        self.target_kernel = self.add_head_kernel("target_kernel")
        self.attention = self.add_attention("attention")

    def scores(self, x, h, edges):
        """c (E, K), of nodes x (N, F) and h (N, K, O)."""
        a = tf.convert_to_tensor(self.attention)
        h_target = self.heads_of(x, self.target_kernel)
        return gatv2_scores(h, h_target, a, edges, slope=self.negative_slope)
