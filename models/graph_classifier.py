"""graph_classifier: classifies whole graphs by graph isomorphism convolutions (GIN).

    block     GINConv(Dense) -> BatchNorm -> ReLU -> Dense -> BatchNorm -> ReLU
    head      sums over the nodes of each graph, before the first block and after every block
              -> concatenated (-> Dense -> ReLU) -> Dropout -> Dense -> softmax

Xu, Hu, Leskovec & Jegelka, How powerful are graph neural networks?, ICLR 2019.
"""

import keras

import custom_layers
from custom_layers import EmbeddingBag, GINConv, GraphSumPooling
from models.penalty import penalty


def graph_classifier(
    features,
    classes,
    *,
    conv=GINConv,
    units=(32, 32, 32),
    categorical=None,
    tasks=False,
    hidden=None,
    dropout=0.5,
    l1=0.0,
    l2=0.0,
    pooling=GraphSumPooling,
    layers=custom_layers,
):
    """A classifier of the graphs of a packed batch (`custom_layers.graphs.pack`).

    Args:
        features: F, the features of a node.
        classes: number of classes.
        conv: `GINConv`, or a layer whose first argument is `units`, such as `GraphConv`; the rest
            of the block is the same.
        units: width of each block.
        categorical: C, where nodes are ids (N, C) into a table of `features` rows; a node then
            starts as the sum of its C embeddings. None: nodes (N, F) are numbers.
        tasks: whether the classes are T independent yes-no questions.
        hidden: width of an extra layer between pooling and the last one; the paper has none.
        dropout: fraction dropped before the last layer.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        pooling: the layer that reduces the nodes of a graph to one row.
        layers: where the layers that Keras has come from; `keras.layers` gives the reference, in
            which only the graph layers are ours.

    Returns:
        A `keras.Model` from `{"nodes": (N, F), "edges": (E, 2), "graph_ids": (N,), "num_nodes":
        (G,)}` to probabilities `(G, classes)`, or `(G, classes, 1)` with `tasks`.
    """

    def dense(width, name, **options):
        regularizer = penalty(l1, l2, layers)
        return layers.Dense(width, kernel_regularizer=regularizer, name=name, **options)

    def normalized(x, name):
        """Padded nodes take no part in mean and variance."""
        x = layers.BatchNormalization(name=f"{name}_norm")(x, mask=real)
        return layers.ReLU(name=f"{name}_relu")(x)

    inputs = {
        "nodes": keras.Input(
            batch_shape=(None, categorical or features),
            dtype="float32" if categorical is None else "int32",
            name="nodes",
        ),
        "edges": keras.Input(batch_shape=(None, 2), dtype="int32", name="edges"),
        "graph_ids": keras.Input(batch_shape=(None,), dtype="int32", name="graph_ids"),
        "num_nodes": keras.Input(batch_shape=(None,), dtype="int32", name="num_nodes"),
    }
    edges, graphs = inputs["edges"], [inputs["graph_ids"], inputs["num_nodes"]]
    real = inputs["graph_ids"] >= 0
    x = inputs["nodes"]
    if categorical is not None:
        x = EmbeddingBag(features, units[0], name="embedding")(x)
    pooled = [pooling(name="pool_0")([x, *graphs])]
    for i, width in enumerate(units, 1):
        if conv is GINConv:
            layer = GINConv(dense(width, f"map_{i}"), train_epsilon=True, name=f"conv_{i}")
        else:
            layer = conv(width, kernel_regularizer=penalty(l1, l2, layers), name=f"conv_{i}")
        x = normalized(layer([x, edges]), f"inner_{i}")
        x = normalized(dense(width, f"dense_{i}")(x), f"outer_{i}")
        pooled.append(pooling(name=f"pool_{i}")([x, *graphs]))
    x = keras.layers.Concatenate(name="all_blocks")(pooled)
    if hidden is not None:
        x = layers.ReLU(name="hidden_relu")(dense(hidden, "hidden")(x))
    x = layers.Dropout(dropout, name="dropout")(x)
    if tasks:
        x = dense(classes, "answers", activation="sigmoid")(x)
        outputs = keras.layers.Reshape((classes, 1), name="probabilities")(x)
    else:
        outputs = dense(classes, "probabilities", activation="softmax")(x)
    return keras.Model(inputs, outputs, name="graph_classifier")
