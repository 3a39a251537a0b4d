"""What the benchmark measures of graphs, which Keras does not have: beside PyG.

A case makes its arrays (handed to PyG's process in a file), and of them functions of nothing, one
for each pass. The graphs are generated with the sizes of the data sets that they are named after:
what is timed does not depend on what the words of a paper are.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import custom_layers
from custom_layers.graphs import pack
from models.graph_classifier import graph_classifier
from models.node_classifier import node_classifier
from scripts.benchmark.timing import functions


@dataclasses.dataclass(frozen=True)
class GraphCase:
    """name: of the model or layer. size: how it is written in the table.

    arrays: () -> {name: array}, the data. ours: (arrays, mode) -> {pass: function}.
    small: whether it belongs to `--sizes small`.
    """

    name: str
    size: str
    arrays: Callable
    ours: Callable
    small: bool = True


def citations(nodes=2708, edges=10556, words=1433, each=18, classes=7):
    """A graph as large as Cora, with sparse features: the words of a paper and their weights."""
    rng = np.random.default_rng(0)
    ids = rng.random((nodes, words), dtype="float32").argpartition(each, 1)[:, :each]
    half = rng.integers(0, nodes, (edges // 2, 2), dtype="int32")
    return {
        "ids": ids.astype("int32"),
        "weights": np.full((nodes, each), 1 / each, "float32"),
        "edges": np.concatenate([half, half[:, ::-1]]),
        "labels": rng.integers(0, classes, nodes, dtype="int32"),
        "known": np.arange(nodes) < 140,
        "words": np.int32(words),
        "steps": np.int32(10),
    }


def train_steps(conv, **options):
    """What `fit` runs for some batches: forward, loss, backward, Adam, in one execution.

    What `fit` does around an execution takes a fifth of the time of one such step.
    """

    def ours(a, mode):
        steps = int(a["steps"])
        model = node_classifier(int(a["words"]), 1 + int(a["labels"].max()), conv=conv, **options)
        model.compile(
            keras.optimizers.Adam(0.01),
            "sparse_categorical_crossentropy",
            jit_compile=mode == "xla",
            run_eagerly=mode == "eager",
            steps_per_execution=steps,
        )
        weights = a["known"] * np.float32(len(a["known"]) / a["known"].sum())
        batch = (tuple(a[k] for k in ("ids", "weights", "edges")), a["labels"], weights)
        batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
        model.train_on_batch(*batch)  # makes optimizer and metrics, for functions of one step
        model.make_train_function(force=True)
        return {f"{steps} steps": lambda: model.train_function(batches)}

    return ours


def big_graph(nodes=169_000, edges=1_200_000, features=128):
    """As large as ogbn-arxiv."""
    rng = np.random.default_rng(0)
    return {
        "nodes": rng.standard_normal((nodes, features), dtype="float32"),
        "edges": rng.integers(0, nodes, (edges, 2), dtype="int32"),
    }


def layer_passes(build):
    def ours(a, mode):
        inputs = [tf.constant(a["nodes"]), tf.constant(a["edges"])]
        return dict(zip(("forward", "step"), functions(build(), inputs, mode), strict=True))

    return ours


def many_graphs(count, nodes, edges, features, classes):
    """`count` graphs of about so many nodes and edges: all rows, and where each graph ends."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(nodes // 2, nodes + (nodes + 1) // 2, count, endpoint=True)
    half = np.maximum(1, sizes * edges // (2 * nodes))
    ends = [rng.integers(0, n, (m, 2), dtype="int32") for n, m in zip(sizes, half, strict=True)]
    both = [np.concatenate([e, e[:, ::-1]]) for e in ends]
    return {
        "nodes": rng.standard_normal((sizes.sum(), features), dtype="float32"),
        "edges": np.concatenate(both),
        "node_counts": sizes,
        "edge_counts": 2 * half,
        "labels": rng.integers(0, classes, count, dtype="int32"),
        "batch_size": np.int32(32),
        "epochs": np.int32(10),
    }


def gin_epochs(a, mode):
    """`fit` over all graphs, in another order each epoch, as it is fast for small batches.

    One pipeline without end, since to begin it anew takes most of an epoch's time, and one
    execution for all steps of an epoch, since `fit` takes as long around a step as the step does.
    """
    rows = {
        name: tf.RaggedTensor.from_row_lengths(a[f"{name}s"], a[f"{name}_counts"])
        for name in ("node", "edge")
    }
    data = tf.data.Dataset.from_tensor_slices(
        ({"nodes": rows["node"], "edges": rows["edge"]}, a["labels"])
    )
    data = data.map(
        lambda graph, label: (
            {k: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v for k, v in graph.items()},
            label,
        )
    )
    count = len(a["labels"])
    size, epochs = int(a["batch_size"]), int(a["epochs"])
    steps = -(-count // size)
    # Sizes that nearly all batches fit in: three deviations above what they have on average.
    counts = np.stack([a["node_counts"], a["edge_counts"]])
    sizes = np.ceil(size * counts.mean(1) + 3 * np.sqrt(size) * counts.std(1)).astype(int)
    packed = pack(data.cache().shuffle(count), size, pad_to=sizes.tolist())
    batches = packed.repeat().prefetch(tf.data.AUTOTUNE)
    model = graph_classifier(a["nodes"].shape[1], 1 + int(a["labels"].max()), units=(32,) * 4)
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        jit_compile=mode == "xla",
        run_eagerly=mode == "eager",
        steps_per_execution=steps,
    )
    run = functools.partial(
        model.fit, batches, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0
    )
    return {f"{epochs} epochs": lambda: run().history["loss"][0]}


def every_graph_case():
    cora, big = "2708 nodes, 10556 edges, 18 of 1433 words", "169k nodes, 1.2M edges, 128"
    attention = {"units": 8, "heads": 8, "dropout": 0.6, "l2": 2.5e-4}
    gcn, gat = train_steps(custom_layers.GraphConv), train_steps(custom_layers.GATConv, **attention)
    return [
        GraphCase("GCN", cora, citations, gcn),
        GraphCase("GAT", cora, citations, gat),
        GraphCase(
            "GraphConv",
            f"{big} -> 128",
            big_graph,
            layer_passes(lambda: custom_layers.GraphConv(128)),
            small=False,
        ),
        GraphCase(
            "GATConv",
            f"{big} -> 8x8",
            big_graph,
            layer_passes(lambda: custom_layers.GATConv(8, heads=8)),
            small=False,
        ),
        GraphCase(
            "GIN",
            "600 graphs of 33 nodes, 124 edges (ENZYMES)",
            lambda: many_graphs(600, 33, 124, 3, 6),
            gin_epochs,
        ),
        GraphCase(
            "GIN",
            "1113 graphs of 39 nodes, 146 edges (PROTEINS)",
            lambda: many_graphs(1113, 39, 146, 3, 2),
            gin_epochs,
        ),
    ]
