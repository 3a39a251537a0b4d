"""GraphLayer: what every graph layer does with its inputs and its output.

    flat        nodes (N, F)        edges (E, 2)        values (E, ...), optional
    batched     nodes (B, N, F)     edges (B, E, 2)     values (B, E, ...), optional

An edge is a row (source, target) of integers; a row with a negative entry is padding. Several
graphs in one flat input are a disjoint union; batched graphs become one by shifting the indices of
graph b by b N. A node that the Keras mask leaves out is as if it were not in the graph: every edge
that touches it becomes padding, and its output row is 0. What masked nodes and padded edges hold
has no influence, NaN included: both enter the formula as zeros.

An edge to a node that does not exist raises an InvalidArgumentError. XLA cannot raise, and would
take the last node instead: there, every output is NaN. `custom_layers.graphs.check_edges` names
the edge.

A layer is then its weights and its formula: `convolve(graph)` maps the nodes x (N, F) of a flat
graph to y (N, O). `AffineGraphLayer` adds what most of them share, W, b and an activation.
"""

import typing

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_mask, check_positive
from custom_layers.gradients import sum_places, with_backward
from custom_layers.graph.segments import per_row


class Graph(typing.NamedTuple):
    """One flat graph, and what is needed to restore the shape of its nodes."""

    nodes: tf.Tensor  # x (N, F), 0 where masked
    edges: tf.Tensor  # (E, 2), a row of padding is (-1, -1)
    values: tf.Tensor | None  # (E, ...), 0 at padding
    node_mask: tf.Tensor | None  # (N,)
    zero_or_nan: tf.Tensor  # NaN if an index is out of range
    shape: tuple  # of the nodes as given, without F


def node_mask(mask):
    """The mask of the nodes; Keras hands one for each input, `[None, None]` where there is none."""
    return mask[0] if isinstance(mask, (list, tuple)) else mask


def as_index(x: tf.Tensor, name: str) -> tf.Tensor:
    """x as int32 or int64."""
    if not x.dtype.is_integer:
        raise ValueError(f"{name} must be integers. Received: dtype={x.dtype.name}")
    return x if x.dtype in (tf.int32, tf.int64) else tf.cast(x, tf.int32)


def check_arrays(layer, inputs):
    """Raise a ValueError that says how to make arrays of graphs and lists."""
    name = type(layer).__name__
    for x in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        if hasattr(x, "is_directed") or hasattr(x, "tocoo") or isinstance(x, tf.SparseTensor):
            raise ValueError(
                f"{name} takes edges as rows (source, target) of an array. "
                "`edges, edge_weights = custom_layers.graphs.to_edges(graph)` makes them of a "
                f"matrix, numpy or scipy, and of a networkx graph. Received: {type(x)}"
            )
        if isinstance(x, (list, tuple)):
            raise ValueError(
                f"{name} is called on a list of arrays. `numpy.array(...)` makes one of a list. "
                f"Received: a {type(x).__name__} of length {len(x)} in the place of an array"
            )


def check_range(indices, size, message):
    """An error with `message` unless all indices are below `size`.

    Returns the indices, and 0 to be added to the output: NaN in XLA, which cannot raise.
    """
    valid = tf.reduce_all(indices < tf.cast(size, indices.dtype))
    assertion = tf.debugging.Assert(valid, [message, tf.reduce_max(indices), size])
    with tf.control_dependencies([] if assertion is None else [assertion]):
        # 0 / 0: a constant NaN would set off tf.debugging.enable_check_numerics.
        return tf.identity(indices), tf.zeros(()) / tf.cast(valid, tf.float32)


def add_bias_forward(x, b):
    """x (N, O), b (O,) -> y (N, O), y_n = x_n + b."""
    return tf.nn.bias_add(x, b), None


def add_bias_backward(dy, cache):
    """dx = dy and db = Σ_n dy_n."""
    return dy, sum_places(dy)


add_bias = with_backward(add_bias_forward, add_bias_backward)


class GraphLayer(Layer):
    """A layer of nodes and edges: a subclass writes `convolve` and, with weights, `build`.

    Attributes:
        third_input: name of the third input, or None if the layer takes two only.
        value_axes: names of the axes of its value for one edge; most have none.
    """

    third_input = "edge_weights"
    value_axes = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def __call__(self, inputs, *args, **kwargs):
        check_arrays(self, inputs)  # before Keras takes a list apart
        return super().__call__(inputs, *args, **kwargs)

    def convolve(self, graph):
        """The formula: a flat `Graph` -> y (N, O)."""
        raise NotImplementedError(f"{type(self).__name__} must implement `convolve(graph)`.")

    def build(self, input_shape):
        self.features = self.node_features(input_shape)

    def call(self, inputs, mask=None):
        graph = self.disjoint_union(inputs, mask)
        return self.restore(self.convolve(graph), graph)

    def compute_mask(self, inputs, mask=None):
        return node_mask(mask)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def node_features(self, input_shape):
        """F, from the shapes of the inputs; a ValueError unless they fit each other."""
        name = type(self).__name__
        shapes = list(input_shape) if isinstance(input_shape, (list, tuple)) else [input_shape]
        if not 2 <= len(shapes) <= 3 or not all(isinstance(s, (list, tuple)) for s in shapes):
            third = f" or [nodes, edges, {self.third_input}]" if self.third_input else ""
            raise ValueError(
                f"{name} is called on a list [nodes, edges]{third}. "
                f"Received: input_shape={input_shape}"
            )
        if len(shapes) == 3 and self.third_input is None:
            raise ValueError(
                f"{name} is called on [nodes, edges], without edge weights. "
                f"Received: input_shape={input_shape}"
            )
        nodes, edges = map(tuple, shapes[:2])
        if len(nodes) not in (2, 3) or nodes[-1] is None:
            raise ValueError(
                f"The nodes of {name} must have the shape (N, F) or (B, N, F), with a known F. "
                f"Received: {nodes}"
            )
        if len(edges) != len(nodes) or edges[-1] != 2:
            expected = "(E, 2)" if len(nodes) == 2 else "(B, E, 2)"
            advice = ""
            if len(edges) == len(nodes) == 2 and edges[0] == 2:
                advice = " These look like two rows, sources and targets: pass `edges.T`."
            elif len(edges) == len(nodes) and edges[-2:] == (nodes[-2],) * 2:
                advice = " `custom_layers.graphs.to_edges` makes them of an adjacency matrix."
            raise ValueError(
                f"The edges of {name} must have the shape {expected}, since the nodes have the "
                f"shape {nodes}. Received: {edges}.{advice}"
            )
        if len(nodes) == 3 and None not in (nodes[0], edges[0]) and nodes[0] != edges[0]:
            raise ValueError(f"{name}: batch of nodes and of edges. Received: {nodes} and {edges}")
        for shape in map(tuple, shapes[2:]):
            expected = edges[:-1] + (None,) * len(self.value_axes)
            if len(shape) != len(expected) or any(
                None not in (m, n) and m != n for m, n in zip(shape, expected, strict=True)
            ):
                expected = ", ".join(("B", "E")[3 - len(nodes) :] + self.value_axes)
                raise ValueError(
                    f"The third input of {name} must have a value for each edge and so the shape "
                    f"({expected}). Received: edges {edges}, values {shape}"
                )
        return nodes[-1]

    def disjoint_union(self, inputs, mask=None):
        """The inputs, flat or batched, as one flat `Graph`."""
        nodes, edges, *values = inputs
        name = type(self).__name__
        if any(x.shape.rank is None for x in inputs):
            raise ValueError(
                f"{name} must know whether its inputs are flat or batched. "
                f"Received: tensors of unknown rank, {[str(x.shape) for x in inputs]}"
            )
        if self.node_features([tuple(x.shape) for x in inputs]) != self.features:
            raise ValueError(
                f"{name} was built for nodes of {self.features} features. "
                f"Received: nodes of shape {tuple(nodes.shape)}"
            )
        if not nodes.dtype.is_floating:
            raise ValueError(
                f"The nodes of {name} must be floating point (Embedding turns ids into such). "
                f"Received: dtype={nodes.dtype.name}"
            )
        edges = as_index(edges, f"The edges of {name}")
        mask = node_mask(mask)
        if mask is not None:
            check_mask(mask, nodes.shape[:-1], "(N,)" if nodes.shape.rank == 2 else "(B, N)")
            mask = tf.broadcast_to(tf.cast(mask, tf.bool), tf.shape(nodes)[:-1])
        values = self.cast_values(values[0], nodes) if values else None
        size = tf.shape(nodes, edges.dtype)[-2]
        edges, zero_or_nan = check_range(
            edges,
            size,
            f"{name}: an edge points at a node that does not exist (check_edges names it). Nodes "
            "are numbered from 0: subtract 1 from edges that count from 1. "
            "Largest index, number of nodes:",
        )
        padding = tf.reduce_any(edges < 0, -1)
        shape = tf.unstack(tf.shape(nodes))[:-1]
        if nodes.shape.rank == 3:
            tf.debugging.assert_equal(
                tf.shape(nodes)[0], tf.shape(edges)[0], f"{name}: batch of nodes and of edges"
            )
            edges += tf.range(tf.shape(nodes, edges.dtype)[0])[:, None, None] * size
            edges, padding = tf.reshape(edges, (-1, 2)), tf.reshape(padding, (-1,))
            nodes = tf.reshape(nodes, (shape[0] * shape[1], self.features))
            mask = None if mask is None else tf.reshape(mask, (-1,))
            if values is not None:
                values = tf.reshape(values, (tf.shape(edges)[0], *values.shape[2:]))
        if mask is not None:
            nodes = tf.where(mask[:, None], nodes, tf.zeros((), nodes.dtype))
            present = tf.gather(mask, tf.where(padding[:, None], tf.zeros_like(edges), edges))
            padding |= ~tf.reduce_all(present, -1)
        edges = tf.where(padding[:, None], tf.constant(-1, edges.dtype), edges)
        if values is not None:
            values = tf.where(per_row(padding, values), tf.zeros((), values.dtype), values)
        return Graph(nodes, edges, values, mask, zero_or_nan, shape)

    def cast_values(self, values, nodes):
        """The third input as numbers of the type of the nodes: weights may be integers, or bool."""
        if not (values.dtype.is_floating or values.dtype.is_integer or values.dtype.is_bool):
            raise ValueError(
                f"The {self.third_input} of {type(self).__name__} must be numbers. "
                f"Received: dtype={values.dtype.name}"
            )
        return tf.cast(values, nodes.dtype)

    def restore(self, y, graph):
        """Output rows y (N, O) in the shape that the nodes had: (N, O) or (B, N, O)."""
        if graph.node_mask is not None:
            y = tf.where(graph.node_mask[:, None], y, tf.zeros((), y.dtype))
        y += tf.cast(graph.zero_or_nan, y.dtype)
        return y if len(graph.shape) == 1 else tf.reshape(y, (*graph.shape, y.shape[-1]))


class AffineGraphLayer(GraphLayer):
    """A graph layer with a kernel W, a bias b, and an activation after its formula."""

    # fmt: off
    def __init__(
        self, units, activation, use_bias, kernel_initializer, bias_initializer,
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
        bias_constraint, **kwargs,
    ):
        # fmt: on
        check_positive(units=units)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)

    def kernel_shape(self):
        return self.features, self.units

    def build(self, input_shape):
        super().build(input_shape)
        self.kernel = self.add_kernel(*self.kernel_shape())
        self.bias = self.add_bias()

    def add_kernel(self, *shape, name="kernel"):
        return self.add_weight(name=name, shape=shape, **self.weight_options("kernel"))

    def add_bias(self, width=None):
        """b (width,), by default (units,), or None without bias."""
        if not self.use_bias:
            return None
        shape = (self.units if width is None else width,)
        return self.add_weight(name="bias", shape=shape, **self.weight_options("bias"))

    def kernel_and_bias(self):
        """W, and b or None, as tensors."""
        b = None if self.bias is None else tf.convert_to_tensor(self.bias)
        return tf.convert_to_tensor(self.kernel), b

    def restore(self, y, graph):
        return super().restore(y if self.activation is None else self.activation(y), graph)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.units)


class NetworkGraphLayer(GraphLayer):
    """A graph layer with a network f, a Keras layer or model, in its formula."""

    def __init__(self, network, **kwargs):
        if not isinstance(network, keras.layers.Layer):
            raise ValueError(
                f"`network` must be a Keras layer or model. Received: network={network!r}"
            )
        super().__init__(**kwargs)
        self.network = network

    def network_features(self, input_shape):
        """How many features f is called on."""
        raise NotImplementedError(f"{type(self).__name__} must implement `network_features`.")

    def build(self, input_shape):
        super().build(input_shape)
        if not self.network.built:
            self.network.build((None, self.network_features(input_shape)))

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return super().from_config({**config, "network": network})

    def compute_output_shape(self, input_shape):
        shape = self.network.compute_output_shape((None, self.network_features(input_shape)))
        return (*input_shape[0][:-1], shape[-1])
