"""What the benchmark measures of graphs, beside PyG: Keras has no graph layers.

The arrays of a case reach PyG's process in a file. The graphs are generated, with the sizes of the
data sets that they are named after: the time does not depend on what the words of a paper are.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from custom_layers.graphs import pack
from models.graph_classifier import graph_classifier
from models.node_classifier import node_classifier
from scripts.benchmark.timing import Case, passes, timers


def citations(nodes=2708, edges=10556, words=1433, each=18, classes=7):
    """A graph of Cora's size with sparse features: the words of a paper and their weights."""
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

    def make(a, layers, mode):
        words, classes, steps = int(a["words"]), 1 + int(a["labels"].max()), int(a["steps"])
        model = node_classifier(words, classes, conv=getattr(layers, conv), **options)
        compile_model(model, mode, steps)
        weights = a["known"] * np.float32(len(a["known"]) / a["known"].sum())
        batch = (tuple(a[k] for k in ("ids", "weights", "edges")), a["labels"], weights)
        batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
        model.train_on_batch(*batch)  # makes optimizer and metrics, for functions of one step
        model.make_train_function(force=True)
        return timers({f"{steps} steps": lambda: model.train_function(batches)})

    return make


def compile_model(model, mode, steps):
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        jit_compile=mode == "xla",
        run_eagerly=mode == "eager",
        steps_per_execution=steps,
    )


def big_graph(nodes=169_000, edges=1_200_000, features=128):
    """A graph of the size of ogbn-arxiv."""
    rng = np.random.default_rng(0)
    return {
        "nodes": rng.standard_normal((nodes, features), dtype="float32"),
        "edges": rng.integers(0, nodes, (edges, 2), dtype="int32"),
    }


def layer_timers(name, *arguments, **options):
    def make(a, layers, mode):
        layer = getattr(layers, name)(*arguments, **options)
        return timers(passes(layer, [tf.constant(a["nodes"]), tf.constant(a["edges"])], mode))

    return make


def many_graphs(count, nodes, edges, features, classes):
    """`count` graphs of about so many nodes and edges: all rows, and how many each graph has."""
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


def gin_epochs(a, layers, mode):
    """`fit` over all graphs, in a new order each epoch, in its fastest form for small batches.

    One endless pipeline, since starting one takes most of an epoch's time, and one execution
    for all steps of an epoch, since `fit` takes as long around a step as the step itself.
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
    # Sizes that hold nearly all batches: three deviations above the mean.
    counts = np.stack([a["node_counts"], a["edge_counts"]])
    sizes = np.ceil(size * counts.mean(1) + 3 * np.sqrt(size) * counts.std(1)).astype(int)
    packed = pack(data.cache().shuffle(count), size, pad_to=sizes.tolist())
    batches = packed.repeat().prefetch(tf.data.AUTOTUNE)
    model = graph_classifier(a["nodes"].shape[1], 1 + int(a["labels"].max()), units=(32,) * 4)
    compile_model(model, mode, steps)
    run = functools.partial(
        model.fit, batches, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0
    )
    return timers({f"{epochs} epochs": lambda: run().history["loss"][0]})


def every_graph_case():
    cora, big = "2708 nodes, 10556 edges, 18 of 1433 words", "169k nodes, 1.2M edges, 128"
    attention = {"units": 8, "heads": 8, "dropout": 0.6, "l2": 2.5e-4}
    enzymes, proteins = (600, 33, 124, 3, 6), (1113, 39, 146, 3, 2)

    def layer(name, size, *arguments, **options):
        make = layer_timers(name, *arguments, **options)
        return Case(name, f"{big} -> {size}", make, big_graph, small=False)

    def gin(data_set, sizes):
        size = f"{sizes[0]} graphs of {sizes[1]} nodes, {sizes[2]} edges ({data_set})"
        return Case("GIN", size, gin_epochs, functools.partial(many_graphs, *sizes))

    return [
        Case("GCN", cora, train_steps("GraphConv"), citations),
        Case("GAT", cora, train_steps("GATConv", **attention), citations),
        layer("GraphConv", "128", 128),
        layer("GATConv", "8x8", 8, heads=8),
        gin("ENZYMES", enzymes),
        gin("PROTEINS", proteins),
    ]
