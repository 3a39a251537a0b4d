"""node_classifier: classifies the nodes of a graph whose features are sparse.

    GraphConv    Dropout -> Â (x W) -> ReLU -> Dropout -> GraphConv                 2 layers
    GATConv      Dropout -> x W -> attention, 8 heads -> ELU -> Dropout -> GATConv
    SAGEConv     Dropout -> x U + mean of neighbors' x V -> ReLU -> Dropout -> SAGEConv
    SGConv       Dropout -> Â Â (x W)                                                1 layer
    APPNP        Dropout -> x W -> ReLU -> Dropout -> Dense -> APPNP

then a softmax. Features enter as the nonzero columns and their values, so that x W is an
`EmbeddingBag` and dropout of x drops those entries: nothing of size nodes x features is made. Each
is the model of the paper that its layer's file names, with that paper's penalty.
"""

import keras

import custom_layers
from custom_layers import APPNP, EmbeddingBag, GATConv, GraphConv, SAGEConv, SGConv
from models.penalty import penalty


def node_classifier(
    features,
    classes,
    *,
    conv=GraphConv,
    units=16,
    dropout=0.5,
    l1=0.0,
    l2=2.5e-4,
    layers=custom_layers,
    **options,
):
    """A classifier of nodes.

    Args:
        features: F, the number of columns.
        classes: number of classes.
        conv: one of the layers above, which decides the kind of model.
        units: width between the layers; of each head with GATConv; none with SGConv.
        dropout: fraction dropped at each Dropout in the table above.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W². As in the papers it covers only
            the first kernel with GraphConv and APPNP, and all kernels with the others.
        layers: where the layers that Keras has come from; `keras.layers` gives the reference, in
            which only the graph layers are ours.
        options: of that kind of model: `heads` and `last_heads` of GATConv, `K` of SGConv, `K` and
            `alpha` of APPNP.

    Returns:
        A `keras.Model` from `[ids (N, L), weights (N, L), edges (E, 2)]`, ids with -1 as padding,
        to probabilities `(N, classes)`.
    """
    if conv not in KINDS:
        names = ", ".join(kind.__name__ for kind in KINDS)
        raise ValueError(f"`conv` must be one of {names}. Received: conv={conv!r}")
    ids = keras.Input(batch_shape=(None, None), dtype="int32", name="ids")
    weights = keras.Input(batch_shape=(None, None), name="weights")
    edges = keras.Input(batch_shape=(None, 2), dtype="int32", name="edges")
    regularizer = penalty(l1, l2, layers)
    kept = layers.Dropout(dropout, name="dropout_1")(weights)

    def linear(width, name="first"):
        return EmbeddingBag(features, width, embeddings_regularizer=regularizer, name=name)(
            [ids, kept]
        )

    scores = KINDS[conv](linear, edges, units, classes, dropout, regularizer, layers, **options)
    outputs = layers.Softmax(name="probabilities")(scores)
    return keras.Model([ids, weights, edges], outputs, name="node_classifier")


def gcn(linear, edges, units, classes, dropout, regularizer, layers):
    x = APPNP(1, alpha=0, name="neighbors")([linear(units), edges])
    x = layers.ReLU(name="relu")(x)
    x = layers.Dropout(dropout, name="dropout_2")(x)
    return GraphConv(classes, use_bias=False, name="second")([x, edges])


def gat(linear, edges, units, classes, dropout, regularizer, layers, heads=8, last_heads=1):
    knobs = {"kernel_regularizer": regularizer, "attention_regularizer": regularizer}
    x = GATConv(
        units, heads, use_kernel=False, dropout=dropout, activation="elu", name="attention", **knobs
    )([linear(heads * units), edges])
    x = layers.Dropout(dropout, name="dropout_2")(x)
    return GATConv(classes, last_heads, concat=False, dropout=dropout, name="second", **knobs)(
        [x, edges]
    )


def sage(linear, edges, units, classes, dropout, regularizer, layers):
    mean = APPNP(1, alpha=0, normalize="row", add_self_loops=False, name="neighbors")
    x = keras.layers.Add(name="first")(
        [linear(units, "own"), mean([linear(units, "others"), edges])]
    )
    x = layers.ReLU(name="relu")(x)
    x = layers.Dropout(dropout, name="dropout_2")(x)
    return SAGEConv(classes, kernel_regularizer=regularizer, name="second")([x, edges])


def sgc(linear, edges, units, classes, dropout, regularizer, layers, K=2):
    return APPNP(K, alpha=0, name="neighbors")([linear(classes), edges])


def appnp(linear, edges, units, classes, dropout, regularizer, layers, K=10, alpha=0.1):
    x = layers.ReLU(name="relu")(linear(units))
    x = layers.Dropout(dropout, name="dropout_2")(x)
    x = layers.Dense(classes, use_bias=False, name="second")(x)
    return APPNP(K, alpha, name="propagation")([x, edges])


KINDS = {GraphConv: gcn, GATConv: gat, SAGEConv: sage, SGConv: sgc, APPNP: appnp}
