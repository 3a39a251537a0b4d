"""nodes: one graph whose nodes have classes, as three tf.data pipelines.

    ((ids, weights, edges), labels, sample_weights)        ids, weights (N, L)    edges (E, 2)

Row n of ids and weights lists the nonzero features of node n and their values, so that no matrix of
all nodes by all features is ever made; dense features are the case in which all columns are listed.
A part is one element, the whole graph. The parts differ in their sample weights, which are 0 except
where the label belongs to the part. Keras divides a loss by the number of all nodes, so a node of
the part weighs N / (nodes of the part): the loss is then their mean.

With `sizes`, training runs on sampled neighborhoods of batches of nodes instead (GraphSAGE).
"""

import dataclasses

import numpy as np
import tensorflow as tf

from custom_layers.graphs import check_edges, incoming_edges, sample_neighbors
from scripts.data.graph_examples import PARTS
from scripts.data.prepare import prepare
from scripts.training.command_line import InputError


@dataclasses.dataclass(frozen=True)
class Nodes:
    """train, validation, test: as above. features: number of columns. classes: their names.

    ids, weights, edges, labels: of the whole graph. split: of each node, the index in PARTS.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    features: int
    classes: tuple[str, ...]
    ids: np.ndarray
    weights: np.ndarray
    edges: np.ndarray
    labels: np.ndarray
    split: np.ndarray

    def of(self, part):
        """The nodes whose label belongs to `part`."""
        return np.flatnonzero(self.split == PARTS.index(part))


def load_nodes(name, *, batch_size, seed, data_dir=None, download_dir=None, sizes=None):
    """The pipelines of a data set that is one graph.

    Args:
        name: of a tfds data set with the features of `graph_examples.node_features`.
        batch_size: labeled nodes in a batch of training; only with `sizes`.
        seed: of the order and of the samples.
        data_dir, download_dir: see `prepare`.
        sizes: of `sample_neighbors`; None trains on the whole graph.
    """
    builder = prepare(name, data_dir, download_dir)
    if "split" not in builder.info.features:
        raise InputError(f"data set {name} is not one graph with a class for each node")
    example = next(iter(builder.as_dataset(split="train").as_numpy_iterator()))
    if "node_feat" in example:
        weights = example["node_feat"]
        ids = np.broadcast_to(np.arange(weights.shape[1], dtype="int32"), weights.shape)
    else:
        ids, weights = example["node_ids"], example["node_weights"]
        weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)  # rows of sum 1
    edges = example["edge_index"].astype("int32")
    check_edges(edges, len(ids))
    labels, split = example["labels"], example["split"]

    def whole(part):
        inside = split == PARTS.index(part)
        sample_weights = (inside * len(ids) / inside.sum()).astype("float32")
        element = (ids, weights, edges), labels, sample_weights
        return tf.data.Dataset.from_tensors(element)

    graph = ids, weights, edges, labels
    seeds = np.flatnonzero(split == PARTS.index("train"))
    return Nodes(
        name=name,
        train=whole("train") if sizes is None else sampled(*graph, seeds, sizes, batch_size, seed),
        validation=whole("validation"),
        test=whole("test"),
        features=builder.info.metadata["features"],
        classes=tuple(builder.info.features["labels"].feature.names),
        ids=ids,
        weights=weights,
        edges=edges,
        labels=labels,
        split=split,
    )


def sampled(ids, weights, edges, labels, seeds, sizes, batch_size, seed):
    """Neighborhoods of batches of `seeds`, in a new order and with new samples each epoch.

    Nodes and edges are padded to powers of two: a few shapes, each compiled once by XLA.
    """
    index = incoming_edges(edges, len(ids))

    def neighborhood(chosen, draw):
        nodes, kept, _ = sample_neighbors(index, chosen, sizes, seed=int(draw))
        rows, columns = power_of_two(len(nodes)), power_of_two(len(kept))
        own = np.zeros(rows, "float32")
        own[: len(chosen)] = rows / len(chosen)  # the seeds are the first nodes
        more = rows - len(nodes)
        return (
            np.pad(ids[nodes], [(0, more), (0, 0)], constant_values=-1),
            np.pad(weights[nodes], [(0, more), (0, 0)]),
            np.pad(kept, [(0, columns - len(kept)), (0, 0)], constant_values=-1).astype("int32"),
            np.pad(labels[nodes], (0, more)),
            own,
        )

    types = [tf.int32, tf.float32, tf.int32, tf.int64, tf.float32]
    width = ids.shape[1]
    shapes = [(None, width), (None, width), (None, 2), (None,), (None,)]

    def as_element(chosen, draw):
        parts = tf.numpy_function(neighborhood, [chosen, draw], types, stateful=False)
        for part, shape in zip(parts, shapes, strict=True):
            part.set_shape(shape)
        ids, weights, edges, labels, own = parts
        return (ids, weights, edges), labels, own

    batches = tf.data.Dataset.from_tensor_slices(seeds).shuffle(len(seeds), seed=seed)
    draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    pairs = tf.data.Dataset.zip(batches.batch(batch_size), draws)
    return pairs.map(as_element, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def power_of_two(count):
    """The smallest power of two that is at least `count`."""
    return 1 << (count - 1).bit_length() if count else 1
