"""graphs: many small graphs with a class each, as three tf.data pipelines of packed batches.

    ({"nodes": (N, F), "edges": (E, 2), "graph_ids": (N,), "num_nodes": (G,)}, labels (G,))

One pipeline for all data sets with the names of `graph_examples`: in order -> shuffled (training
only) -> packed as a disjoint union, sizes padded to powers of two -> prefetched.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from custom_layers.graphs import pack
from scripts.data.prepare import parts, prepare


@dataclasses.dataclass(frozen=True)
class Graphs:
    """train, validation, test: as above; labels are `(G, T, 1)` for T tasks instead of classes.

    features: F. classes: their names, or those of the tasks, yes-no questions about each graph.
    found: of one's own data, what they hold.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    features: int
    classes: tuple[str, ...]
    found: dict | None = None


def load_graphs(name, *, batch_size, seed, data_dir=None, download_dir=None, kinds=None):
    """The pipelines of a data set of graphs.

    Args:
        name: of a tfds data set with the features of `graph_examples.graph_features`.
        batch_size: G, of all three parts.
        seed: of the order of the training part.
        data_dir, download_dir: see `prepare`.
        kinds: for nodes with several columns of categories, the number of categories in each; the
            nodes are then ids into one table, column after column.
    """
    builder = prepare(name, data_dir, download_dir)
    features = builder.info.features
    feature = features["labels"]
    tasks = not hasattr(feature, "names")
    starts = None if kinds is None else np.cumsum([0, *kinds[:-1]])

    def read(example):
        nodes = example["node_feat"]
        if kinds is not None:
            nodes = tf.cast(nodes, tf.int32) + tf.constant(starts, tf.int32)
        graph = {"nodes": nodes, "edges": tf.cast(example["edge_index"], tf.int32)}
        return graph, example["labels"]

    def answered(graphs, labels):
        """A question without an answer (NaN) weighs nothing."""
        known = ~tf.math.is_nan(labels)
        labels = tf.where(known, labels, tf.zeros_like(labels))
        return graphs, labels[..., tf.newaxis], tf.cast(known, tf.float32)

    def pipeline(part, split):
        examples = builder.as_dataset(split=split, shuffle_files=False)
        examples = examples.map(read, tf.data.AUTOTUNE).cache()
        if part == "train":
            count = builder.info.splits[split].num_examples
            examples = examples.shuffle(min(count, 50_000), seed=seed)
        batches = pack(examples, batch_size)
        batches = batches.map(answered) if tasks else batches
        return batches.prefetch(tf.data.AUTOTUNE)

    names = ("train", "validation", "test")
    splits = zip(names, parts(builder.info.splits), strict=True)
    return Graphs(
        name=name,
        **{part: pipeline(part, split) for part, split in splits},
        features=features["node_feat"].shape[-1] if kinds is None else sum(kinds),
        classes=tuple(builder.info.metadata["tasks"] if tasks else feature.names),
    )
