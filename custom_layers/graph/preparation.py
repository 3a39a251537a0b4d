"""Graphs: prepares edges once, outside of a model.

    to_edges            edges and weights of a matrix (numpy, scipy) or a networkx graph
    check_edges         raises unless every edge joins existing nodes
    add_reverse_edges   each edge in both directions
    normalize_edges     the weights of GraphConv's Â, computed once instead of at each step
    incoming_edges      edges sorted by target, for
    sample_neighbors    the random neighborhood of some nodes, a mini-batch of GraphSAGE
    pack                many small graphs in one flat batch, as a tf.data pipeline

Edges are rows (source, target) of integers; a row with a negative entry is padding.
"""

import numbers
import typing
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from custom_layers.base import check_positive

__all__ = [
    "add_reverse_edges",
    "check_edges",
    "incoming_edges",
    "normalize_edges",
    "pack",
    "sample_neighbors",
    "to_edges",
]


def to_edges(graph: Any) -> tuple[np.ndarray, np.ndarray]:
    """The edges (E, 2) int32 and weights (E,) float32 of a graph.

    Args:
        graph: a square matrix, numpy or scipy.sparse, whose entry [s, t] is the weight of an edge
            from s to t; or a networkx graph, whose nodes are numbered in its order and whose
            edges go both ways if it is undirected, with its attribute `weight`, else 1.

    Raises:
        ValueError: the matrix is not square.
    """
    if hasattr(graph, "is_directed"):  # networkx
        number = {node: i for i, node in enumerate(graph.nodes)}
        rows, weights = [], []
        for s, t, weight in graph.edges(data="weight", default=1):
            rows.append((number[s], number[t]))
            weights.append(weight)
            if s != t and not graph.is_directed():
                rows.append((number[t], number[s]))
                weights.append(weight)
        return np.array(rows, "int32").reshape(-1, 2), np.array(weights, "float32")
    matrix = graph if hasattr(graph, "tocoo") else np.asarray(graph)
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"The matrix of a graph must be square. Received: shape={matrix.shape}")
    if hasattr(matrix, "tocoo"):  # scipy.sparse
        matrix = matrix.tocoo()
        sources, targets, weights = matrix.row, matrix.col, matrix.data
    else:
        sources, targets = np.nonzero(matrix)
        weights = matrix[sources, targets]
    return np.stack([sources, targets], 1).astype("int32"), np.asarray(weights, "float32")


def check_edges(edges: ArrayLike, num_nodes: int) -> None:
    """Raise a ValueError that names the first edge (..., E, 2) of a node that does not exist.

    The layers raise too, but later and without naming the edge, and not under XLA.
    """
    edges = _rows(edges)
    if not isinstance(num_nodes, (int, np.integer)) or num_nodes < 0:
        raise ValueError(f"`num_nodes` must be an integer of at least 0. Received: {num_nodes!r}")
    wrong = np.argwhere((edges >= num_nodes).any(-1))
    if len(wrong):
        place = tuple(map(int, wrong[0]))
        raise ValueError(
            f"Edge {place[0] if len(place) == 1 else place} is {edges[place].tolist()}, but there "
            f"are {num_nodes} nodes, 0 to {num_nodes - 1} ({len(wrong)} such edges)."
            + (
                " They seem to count from 1: subtract 1."
                if edges[edges >= 0].min() == 1 and edges.max() == num_nodes
                else ""
            )
        )


def _rows(edges, edge_weights=None):
    """The edges as an array; a ValueError unless they are one, with a weight for each."""
    edges = np.asarray(edges)
    if edges.ndim < 2 or edges.shape[-1] != 2 or not np.issubdtype(edges.dtype, np.integer):
        raise ValueError(
            "Edges are rows (source, target) of integers. "
            f"Received: shape={edges.shape}, dtype={edges.dtype}"
        )
    if edge_weights is not None and np.shape(edge_weights) != edges.shape[:-1]:
        raise ValueError(
            "`edge_weights` must hold a weight for each edge. "
            f"Received: {np.shape(edge_weights)} weights, {edges.shape} edges"
        )
    return edges


def add_reverse_edges(
    edges: ArrayLike, edge_weights: ArrayLike | None = None
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Each edge in both directions, without duplicates: the edges, and the weights if given.

    Where an edge already exists, in either direction, the first one's weight stays.
    """
    edges = _rows(edges, edge_weights)
    both = np.concatenate([edges, edges[:, ::-1]])
    first = np.sort(np.unique(both, axis=0, return_index=True)[1])
    if edge_weights is None:
        return both[first]
    return both[first], np.tile(edge_weights, 2)[first]


def normalize_edges(
    edges: ArrayLike,
    num_nodes: int,
    edge_weights: ArrayLike | None = None,
    *,
    normalize: str | None = "symmetric",
    add_self_loops: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """The edges and weights of Â of `GraphConv`, self loops included.

    `GraphConv(..., normalize=None, add_self_loops=False)([nodes, edges, edge_weights])` on the
    result equals `GraphConv(...)` on the arguments.
    """
    edges = _rows(edges, edge_weights)
    check_edges(edges, num_nodes)
    weights = np.ones(len(edges)) if edge_weights is None else np.asarray(edge_weights, "float64")
    weights = np.where((edges < 0).any(1), 0, weights)
    if add_self_loops:
        loops = np.arange(num_nodes, dtype=edges.dtype)
        edges = np.concatenate([edges, np.stack([loops, loops], 1)])
        weights = np.concatenate([weights, np.ones(num_nodes)])
    sources, targets = np.maximum(edges, 0).T
    degree = np.bincount(targets, weights, num_nodes)
    inverse = np.divide(1, degree, out=np.zeros(num_nodes), where=degree > 0)
    if normalize == "symmetric":
        weights = weights * np.sqrt(inverse[sources] * inverse[targets])
    elif normalize == "row":
        weights = weights * inverse[targets]
    elif normalize is not None:
        raise ValueError(
            "Invalid value for argument `normalize`. Expected 'symmetric', 'row' or None. "
            f"Received: normalize={normalize!r}"
        )
    return edges, weights.astype("float32")


class IncomingEdges(typing.NamedTuple):
    """Edges sorted by target: those into node n are starts[n] to starts[n + 1]."""

    starts: np.ndarray  # (N + 1,)
    sources: np.ndarray  # (E,)
    rows: np.ndarray  # (E,), the edge's row before sorting


def incoming_edges(edges: ArrayLike, num_nodes: int) -> IncomingEdges:
    """Sort edges (E, 2) by target, once, for `sample_neighbors`; padding is dropped."""
    edges = np.asarray(edges)
    check_edges(edges, num_nodes)
    rows = np.flatnonzero((edges >= 0).all(1))
    rows = rows[np.argsort(edges[rows, 1], kind="stable")]
    starts = np.searchsorted(edges[rows, 1], np.arange(num_nodes + 1))
    return IncomingEdges(starts, edges[rows, 0], rows)


def sample_neighbors(
    incoming: IncomingEdges,
    seeds: ArrayLike,
    sizes: Sequence[int | None],
    *,
    seed: int | np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The graph that `len(sizes)` convolutions need to compute the rows of `seeds`, at random.

        index = incoming_edges(edges, len(features))
        seeds = tf.data.Dataset.from_tensor_slices(train_nodes).shuffle(10_000).batch(512)
        types = [tf.int64, tf.int64, tf.int64]
        batches = seeds.map(
            lambda s: tf.numpy_function(lambda s: sample_neighbors(index, s, [10, 5]), [s], types)
        )

    The seeds are the first rows of the batch; the loss is taken there only.

    Args:
        incoming: what `incoming_edges` returns.
        seeds: (S,) different nodes.
        sizes: numbers of incoming edges to sample of each node, without replacement: of the
            seeds, of their neighbors, and so on. None keeps all.
        seed: of the draw, an integer or a `numpy.random.Generator`.

    Returns:
        nodes (n,), the node that each row stands for, seeds first; edges (m, 2) among the rows;
        and each edge's row in the whole graph, for weights. All int64.

    Hamilton, Ying & Leskovec, Inductive representation learning on large graphs, NeurIPS 2017.
    """
    rng = np.random.default_rng(seed)
    row_of = np.full(len(incoming.starts) - 1, -1)  # of each node, in the batch
    if len(set(seeds)) < len(seeds) or not np.isin(seeds, np.arange(len(row_of))).all():
        raise ValueError(f"`seeds` must be different nodes below {len(row_of)}. Received: {seeds}")
    whole = [size for size in sizes if size is not None]
    if not all(isinstance(size, numbers.Integral) and size >= 0 for size in whole):
        raise ValueError(f"`sizes` must be numbers of edges or None. Received: {sizes!r}")
    seeds = np.asarray(seeds, "int64")
    row_of[seeds] = np.arange(len(seeds))
    nodes, kept, targets, frontier = [seeds], [], [], seeds
    for size in sizes:
        first, last = incoming.starts[frontier], incoming.starts[frontier + 1]
        count = last - first
        owner = np.repeat(np.arange(len(frontier)), count)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        edge = first[owner] + place
        if size is not None:
            # The first ones in a random order within each owner; owners stay in order.
            edge = edge[np.lexsort((rng.random(len(edge)), owner))]
            edge, owner = edge[place < size], owner[place < size]
        kept.append(edge)
        targets.append(row_of[frontier[owner]])
        found = np.unique(incoming.sources[edge])
        frontier = found[row_of[found] < 0].astype("int64")
        row_of[frontier] = np.arange(len(frontier)) + sum(map(len, nodes))
        nodes.append(frontier)
    kept = np.concatenate([*kept, np.zeros(0, "int64")]).astype("int64")
    sources = row_of[incoming.sources[kept]]
    edges = np.stack([sources, np.concatenate([*targets, sources[:0]])], 1)
    return np.concatenate(nodes), edges.astype("int64"), incoming.rows[kept].astype("int64")


def pad_rows(x, value, least):
    """x (n, ...) with rows of `value` up to `least`, or else to the next power of two."""
    sizes = [least, *(2**i for i in range(31) if 2**i > least)]
    missing = tf.constant(sizes)[tf.searchsorted(sizes, tf.shape(x)[:1])[0]] - tf.shape(x)[0]
    return tf.pad(x, [[0, missing]] + [[0, 0]] * (x.shape.rank - 1), constant_values=value)


def as_dataset(examples):
    """A dataset of graphs that differ in their numbers of nodes and edges.

    Args:
        examples: dicts, or tuples that start with a dict, of arrays or nested lists.
    """
    if not examples:
        raise ValueError("There is no graph to pack: the list is empty.")

    def specification(x, name=""):
        rows = name in ("nodes", "edges") or name.startswith(("node_", "edge_"))
        return tf.TensorSpec((None, *x.shape[1:]) if rows else x.shape, x.dtype)

    first = as_arrays(examples[0])
    features, *labels = first if isinstance(first, tuple) else (first,)
    signature = {name: specification(x, name) for name, x in features.items()}
    signature = (signature, *map(specification, labels)) if labels else signature
    return tf.data.Dataset.from_generator(
        lambda: map(as_arrays, examples), output_signature=signature
    ).apply(tf.data.experimental.assert_cardinality(len(examples)))


def as_arrays(example):
    """An example with arrays in the place of lists: edges of int32, decimal numbers of float32."""

    def array(x):
        x = np.asarray(x)
        return x.astype("float32") if x.dtype == "float64" else x

    features, *labels = example if isinstance(example, tuple) else (example,)
    features = {name: array(x) for name, x in features.items()}
    if "edges" in features:
        features["edges"] = features["edges"].astype("int32").reshape(-1, 2)
    return (features, *map(array, labels)) if labels else features


def pack(
    dataset: tf.data.Dataset | list,
    num_graphs: int,
    *,
    drop_remainder: bool = False,
    pad_to: tuple[int, int] = (1, 1),
) -> tf.data.Dataset:
    """Batch small graphs as a disjoint union: a few sizes only, so XLA compiles few times.

    Args:
        dataset: a `tf.data.Dataset`, or a list, of dicts, or of tuples that start with a dict
            (labels follow). The dict holds "nodes" (n, F) and "edges" (e, 2), and may hold more: an
            entry whose name starts with "node_" or "edge_" has a row for each node or edge, any
            other one belongs to the graph and has the same shape in all.
        num_graphs: G, the number of graphs in a batch.
        drop_remainder: whether a smaller last batch is dropped.
        pad_to: sizes (N, E) for the batches that fit into them. If nearly all do, nearly all have
            the same shape, and less padding.

    Returns:
        A dataset of the same structure: "nodes" (N, F), "edges" (E, 2) and their companions with N
        and E padded to powers of two, the rest with G in front; and also "graph_ids" (N,),
        -1 at padding, and "num_nodes" (G,), the third input of the graph pooling layers. The rows
        of such a batch belong together: a `tf.distribute` strategy must not split it again, but
        take whole batches, `distribute_datasets_from_function` with one `pack` for each replica.

    Raises:
        ValueError: `pad_to` is not two positive sizes, or there are no nodes or edges.
    """
    if not isinstance(pad_to, (tuple, list)) or len(pad_to) != 2:
        raise ValueError(f"`pad_to` must be two sizes, (N, E). Received: pad_to={pad_to!r}")
    check_positive(**{"pad_to[0]": pad_to[0], "pad_to[1]": pad_to[1]})

    def flatten(features, *labels):
        rows = {}
        for name, x in features.items():
            if name in ("nodes", "edges") or name.startswith(("node_", "edge_")):
                # All graphs of one size come as a dense tensor.
                x = tf.RaggedTensor.from_tensor(x) if isinstance(x, tf.Tensor) else x
                rows[name] = x
        if not {"nodes", "edges"} <= rows.keys():
            raise ValueError(f"pack needs `nodes` and `edges`. Received: {sorted(features)}")
        nodes, edges = rows["nodes"], rows["edges"]
        starts = tf.cast(nodes.row_starts(), edges.dtype)
        shifted = edges.values + tf.gather(starts, edges.value_rowids())[:, tf.newaxis]
        padding = tf.reduce_any(edges.values < 0, 1, keepdims=True)
        least = {name: pad_to[name.startswith("edge")] for name in rows}
        flat = {k: pad_rows(x.values, 0, least[k]) for k, x in rows.items() if k != "edges"}
        flat["edges"] = pad_rows(
            tf.where(padding, tf.cast(-1, edges.dtype), shifted), -1, pad_to[1]
        )
        flat["graph_ids"] = pad_rows(tf.cast(nodes.value_rowids(), tf.int32), -1, pad_to[0])
        flat["num_nodes"] = tf.cast(nodes.row_lengths(), tf.int32)
        flat = {**features, **flat}
        return (flat, *labels) if labels else flat

    dataset = dataset if isinstance(dataset, tf.data.Dataset) else as_dataset(list(dataset))
    return dataset.ragged_batch(num_graphs, drop_remainder).map(flatten, tf.data.AUTOTUNE)
