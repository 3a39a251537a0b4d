"""Graph inputs: what every graph layer does at its entrance and at its exit.

    flat        nodes (N, F)        edges (E, 2)        values (E, ...), optional
    batched     nodes (B, N, F)     edges (B, E, 2)     values (B, E, ...), optional

An edge is a row (source, target) of integers; a row with a negative entry is padding. Several
graphs in one flat input are a disjoint union; batched graphs become one by shifting the indices of
graph b by b N. A node that the Keras mask leaves out is as if it were not in the graph: every edge
that touches it becomes padding, and its output row is 0.

An edge to a node that is not there raises an InvalidArgumentError. XLA cannot raise, and would
take the last node instead: there, every output is NaN. `custom_layers.graphs.check_edges` names
the edge.
"""

import typing

import tensorflow as tf

from custom_layers.base import check_mask


class Graph(typing.NamedTuple):
    """One flat graph, and what is needed to give its nodes their first shape back."""

    nodes: tf.Tensor  # (N, F)
    edges: tf.Tensor  # (E, 2), a row of padding is (-1, -1)
    values: tf.Tensor | None  # (E, ...)
    node_mask: tf.Tensor | None  # (N,)
    poison: tf.Tensor  # 0, or NaN if an index is out of range
    shape: tuple  # of the nodes as given, without F


def node_mask(mask):
    """The mask of the nodes; Keras hands one for each input, `[None, None]` where there is none."""
    return mask[0] if isinstance(mask, (list, tuple)) else mask


def node_features(layer, input_shape):
    """F, from the shapes of the inputs."""
    name = type(layer).__name__
    shapes = list(input_shape) if isinstance(input_shape, (list, tuple)) else [input_shape]
    if not 2 <= len(shapes) <= 3 or not all(isinstance(s, (list, tuple)) for s in shapes):
        raise ValueError(
            f"{name} is called on a list [nodes, edges] or [nodes, edges, values]. "
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
        raise ValueError(
            f"The edges of {name} must have the shape {expected}, since the nodes have the shape "
            f"{nodes}. Received: {edges}"
        )
    if len(nodes) == 3 and None not in (nodes[0], edges[0]) and nodes[0] != edges[0]:
        raise ValueError(f"{name}: batch of nodes and of edges. Received: {nodes} and {edges}")
    for shape in map(tuple, shapes[2:]):
        axes = getattr(layer, "value_axes", ())  # of the value of one edge; mostly it is a number
        expected = edges[:-1] + (None,) * len(axes)
        if len(shape) != len(expected) or any(
            None not in (m, n) and m != n for m, n in zip(shape, expected, strict=True)
        ):
            expected = ", ".join(("B", "E")[3 - len(nodes) :] + axes)
            raise ValueError(
                f"The third input of {name} must have a value for each edge and so the shape "
                f"({expected}). Received: edges {edges}, values {shape}"
            )
    return nodes[-1]


def checked(x, ok, message, *data):
    """x, and 0 to add to the output; an error, or in XLA NaN instead of 0, unless `ok`."""
    assertion = tf.debugging.Assert(ok, [message, *data])
    with tf.control_dependencies([] if assertion is None else [assertion]):
        return tf.identity(x), tf.where(ok, 0.0, float("nan"))


def as_index(x, name):
    """x as int32 or int64."""
    if not x.dtype.is_integer:
        raise ValueError(f"{name} must be integers. Received: dtype={x.dtype.name}")
    return x if x.dtype in (tf.int32, tf.int64) else tf.cast(x, tf.int32)


def disjoint_union(layer, inputs, mask=None):
    """The inputs of `layer`, flat or batched, as one flat Graph."""
    nodes, edges, *values = inputs
    name = type(layer).__name__
    if any(x.shape.rank is None for x in inputs):
        raise ValueError(
            f"{name} must know whether its inputs are flat or batched. "
            f"Received: tensors of unknown rank, {[str(x.shape) for x in inputs]}"
        )
    if node_features(layer, [tuple(x.shape) for x in inputs]) != layer.features:
        raise ValueError(
            f"{name} was built for nodes of {layer.features} features. "
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
        mask = tf.broadcast_to(mask, tf.shape(nodes)[:-1])
    values = values[0] if values else None
    size = tf.shape(nodes, edges.dtype)[-2]
    edges, poison = checked(
        edges,
        tf.reduce_all(edges < size),
        f"{name}: an edge points at a node that is not there (check_edges names it). "
        "Largest index, number of nodes:",
        tf.reduce_max(edges),
        size,
    )
    padding = tf.reduce_any(edges < 0, -1)
    shape = tf.unstack(tf.shape(nodes))[:-1]
    if nodes.shape.rank == 3:
        tf.debugging.assert_equal(
            tf.shape(nodes)[0], tf.shape(edges)[0], f"{name}: batch of nodes and of edges"
        )
        edges += tf.range(tf.shape(nodes, edges.dtype)[0])[:, None, None] * size
        edges, padding = tf.reshape(edges, (-1, 2)), tf.reshape(padding, (-1,))
        nodes = tf.reshape(nodes, (-1, layer.features))
        mask = None if mask is None else tf.reshape(mask, (-1,))
        if values is not None:
            values = tf.reshape(values, (-1, *values.shape[2:]))
    if mask is not None:
        mask = tf.cast(mask, tf.bool)
        present = tf.gather(mask, tf.where(padding[:, None], tf.zeros_like(edges), edges))
        padding |= ~tf.reduce_all(present, -1)
    edges = tf.where(padding[:, None], tf.constant(-1, edges.dtype), edges)
    return Graph(nodes, edges, values, mask, poison, shape)


def restore(y, graph):
    """Output rows y (N, O) in the shape that the nodes had: (N, O) or (B, N, O)."""
    if graph.node_mask is not None:
        y = tf.where(graph.node_mask[:, None], y, tf.zeros((), y.dtype))
    y += tf.cast(graph.poison, y.dtype)
    return y if len(graph.shape) == 1 else tf.reshape(y, (*graph.shape, y.shape[-1]))
