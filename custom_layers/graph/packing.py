"""pack: a tf.data pipeline of small graphs, batched as one graph of separate parts.

Nodes stand one below the other, edges are shifted by the nodes before their graph's, and both are
padded to a few sizes: XLA compiles once for each shape, and each compilation takes seconds.

Batches of PyG and DGL are such unions too, of their exact sizes.
"""

import tensorflow as tf

from custom_layers.base import check_positive


def _padded(x, value, least):
    """x (n, ...) with rows of `value` up to `least`, or else to the next power of two."""
    sizes = [least, *(2**i for i in range(31) if 2**i > least)]
    more = tf.constant(sizes)[tf.searchsorted(sizes, tf.shape(x)[:1])[0]] - tf.shape(x)[0]
    return tf.pad(x, [[0, more]] + [[0, 0]] * (x.shape.rank - 1), constant_values=value)


def pack(dataset, num_graphs, *, drop_remainder=False, pad_to=(1, 1)):
    """Batch small graphs as a disjoint union: a few sizes only, so XLA compiles few times.

    Args:
        dataset: a `tf.data.Dataset` of dicts, or of tuples that start with a dict (labels follow).
            The dict holds "nodes" (n, F) and "edges" (e, 2), and whatever else: a name that starts
            with "node_" or "edge_" has a row for each node or edge, any other one belongs to the
            graph and has the same shape in all.
        num_graphs: G, how many in a batch.
        drop_remainder: whether a smaller last batch is dropped.
        pad_to: (N, E) for the batches that fit in them. If nearly all do, nearly all have the same
            shape, and less padding.

    Returns:
        A dataset of the same structure: "nodes" (N, F), "edges" (E, 2) and their companions with N
        and E padded to powers of two, the rest with G in front; and besides "graph_ids" (N,),
        -1 at padding, and "num_nodes" (G,), the third input of the graph pooling layers. The rows
        of such a batch belong together: a `tf.distribute` strategy must not split it again, but
        take whole batches, `distribute_datasets_from_function` with one `pack` for each replica.

    Raises:
        ValueError: `pad_to` is not two positive sizes; there are no nodes or edges.
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
        flat = {k: _padded(x.values, 0, least[k]) for k, x in rows.items() if k != "edges"}
        flat["edges"] = _padded(tf.where(padding, tf.cast(-1, edges.dtype), shifted), -1, pad_to[1])
        flat["graph_ids"] = _padded(tf.cast(nodes.value_rowids(), tf.int32), -1, pad_to[0])
        flat["num_nodes"] = tf.cast(nodes.row_lengths(), tf.int32)
        flat = {**features, **flat}
        return (flat, *labels) if labels else flat

    return dataset.ragged_batch(num_graphs, drop_remainder).map(flatten, tf.data.AUTOTUNE)
