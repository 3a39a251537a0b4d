"""The recipes of graphs: classes of nodes, classes of whole graphs, recommendations."""

import functools

from scripts.recipes.recipe import Data, Recipe, lazy, of_task


def nodes(name, **options):
    load = lazy("scripts.data.nodes", "load_nodes", **options)
    if name == "influencers":  # its baseline counts followers
        return Data(name, load, {name: {}}, {})
    return Data(name, load, {"karate_club": {}}, {"planetoid/cora": {}, "planetoid/citeseer": {}})


def node_classifier(conv, **fixed):
    """The model of the convolution of that name in `custom_layers`."""

    def model(data, **options):
        import custom_layers
        from models.node_classifier import node_classifier

        layer = getattr(custom_layers, conv)
        return node_classifier(data.features, len(data.classes), conv=layer, **fixed, **options)

    return model


node_classification = functools.partial(
    Recipe,
    task="node classification",
    rival="label propagation",
    loss=None,
    metrics=(),
    figure="accuracy",
    **of_task("nodes", "objective", "pictures", baseline="label_propagation"),
    divisible=False,
    decay=False,
    epochs=200,
    batch_size=1,
    learning_rate=0.01,
    dropout=0.5,
    l2=2.5e-4,
)


graphs = functools.partial(
    Data,
    load=lazy("scripts.data.graphs", "load_graphs"),
    offline={"graph_atlas": {}},
    own={"graphs": (lazy("scripts.data.own.graphs", "load_own_graphs"), ())},
    tfds={"tu/mutag": {}, "tu/enzymes": {}},
)


def only(name, load):
    """A data set that goes with one model only."""
    return Data(name, load, {}, {name: {}})


def graph_classifier(pooling="GraphSumPooling", **fixed):
    """The model with the pooling of that name in `custom_layers`."""

    def model(data, **options):
        import custom_layers
        from models.graph_classifier import graph_classifier

        layer = getattr(custom_layers, pooling)
        return graph_classifier(data.features, len(data.classes), pooling=layer, **fixed, **options)

    return model


graph_classification = functools.partial(
    Recipe,
    task="graph classification",
    shows=("GINConv", "GraphSumPooling"),
    rival="commonest class",
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    **of_task("classes", "pictures", baseline="commonest_class"),
    divisible=False,
    epochs=60,
    batch_size=32,
    learning_rate=0.01,
    l2=0.0,
)

# How many values each of the nine columns of an atom has in the Open Graph Benchmark: its number,
# chirality, degree, charge, hydrogens, radical electrons, hybridization, aromatic, in a ring.
ATOMS = (119, 5, 12, 12, 10, 6, 6, 2, 2)


def recommender(**fixed):
    make = lazy("models.recommender", "recommender", **fixed)
    return lambda data, **options: make(data.users + data.items, **options)


GRAPH_RECIPES = {
    "karate-gcn": node_classification(
        about="which leader 32 members of a karate club followed (from networkx), GCN",
        data=nodes("karate_club"),
        model=node_classifier("GraphConv"),
        shows=("GraphConv",),
        **of_task("nodes", baseline="commonest_class"),
        rival="commonest class",
        short=100,
    ),
    "influencers-sage": node_classification(
        about="who is influential in a social network (2000 generated accounts), GraphSAGE",
        data=nodes("influencers"),
        model=node_classifier("SAGEConv", units=32),
        shows=("SAGEConv",),
        **of_task("nodes", baseline="most_followed"),
        rival="most followers",
        dropout=0.0,
        short=100,
    ),
    "cora-gcn": node_classification(
        about="subjects of 2708 papers that cite each other, 140 of them known, GCN",
        data=nodes("planetoid/cora"),
        model=node_classifier("GraphConv"),
        shows=("GraphConv",),
    ),
    "cora-gat": node_classification(
        about="subjects of 2708 papers that cite each other, 140 of them known, GAT",
        data=nodes("planetoid/cora"),
        model=node_classifier("GATConv", units=8),
        shows=("GATConv",),
        learning_rate=0.005,
        dropout=0.6,
        epochs=1000,
        patience=100,
    ),
    "cora-sgc": node_classification(
        about="subjects of 2708 papers that cite each other, 140 of them known, SGC",
        data=nodes("planetoid/cora"),
        model=node_classifier("SGConv"),
        shows=("APPNP",),  # with alpha=0 it is SGConv behind the sparse product
        learning_rate=0.2,
        dropout=0.0,
        l2=6.5e-6,
        epochs=100,
    ),
    "cora-appnp": node_classification(
        about="subjects of 2708 papers that cite each other, 140 of them known, APPNP",
        data=nodes("planetoid/cora"),
        model=node_classifier("APPNP", units=64),
        shows=("APPNP", "Dense"),
        l2=2.5e-3,
        epochs=1000,
        patience=100,
    ),
    "cora-sage": node_classification(
        about="subjects of 2708 papers that cite each other, 140 of them known, GraphSAGE",
        data=nodes("planetoid/cora"),
        model=node_classifier("SAGEConv"),
        shows=("SAGEConv",),
    ),
    "cora-sage-sampled": node_classification(
        about="subjects of 2708 papers, trained on sampled neighborhoods, GraphSAGE",
        data=nodes("planetoid/cora", sizes=(10, 10)),
        model=node_classifier("SAGEConv"),
        shows=("SAGEConv",),
        batch_size=70,
        epochs=100,
    ),
    "citeseer-gcn": node_classification(
        about="subjects of 3327 papers that cite each other, 120 of them known, GCN",
        data=nodes("planetoid/citeseer"),
        model=node_classifier("GraphConv"),
        shows=("GraphConv",),
    ),
    "citeseer-gat": node_classification(
        about="subjects of 3327 papers that cite each other, 120 of them known, GAT",
        data=nodes("planetoid/citeseer"),
        model=node_classifier("GATConv", units=8),
        shows=("GATConv",),
        learning_rate=0.005,
        dropout=0.6,
        epochs=1000,
        patience=100,
    ),
    "atlas-gin": graph_classification(
        about="which graphs of up to 7 nodes have a triangle (1253, from networkx), GIN",
        data=graphs("graph_atlas"),
        shows=("GINConv", "GraphAveragePooling"),
        # Whether something exists anywhere is not a sum over nodes: one more layer after pooling.
        model=graph_classifier("GraphAveragePooling", hidden=64),
        epochs=40,
        short=30,
        dropout=0.0,
    ),
    "mutag-gin": graph_classification(
        about="which molecules are mutagenic (188), GIN",
        data=graphs("tu/mutag"),
        model=graph_classifier(units=(16,) * 4),
    ),
    "enzymes-gin": graph_classification(
        about="six classes of enzymes, from how proteins are folded (600), GIN",
        data=graphs("tu/enzymes"),
        model=graph_classifier(units=(32,) * 4),
        epochs=150,
    ),
    "molpcba-gin": graph_classification(
        about="what 437,929 molecules do in 128 experiments, GIN",
        data=only("ogbg_molpcba", lazy("scripts.data.graphs", "load_graphs", kinds=ATOMS)),
        model=graph_classifier(units=(256,) * 5, categorical=len(ATOMS), tasks=True),
        loss=None,
        metrics=(),
        figure="average_precision",
        rival="guessing",
        **of_task("questions", "objective", "measure", "baseline", "pictures"),
        epochs=50,
        batch_size=256,
        learning_rate=1e-3,
    ),
    "movielens-lightgcn": Recipe(
        task="recommendation",
        shows=("GraphConv", "Embedding"),
        rival="most popular",
        about="what people will like (MovieLens, 100,836 ratings of 610 people), LightGCN",
        data=only("movielens/latest-small-ratings", lazy("scripts.data.likes", "load_likes")),
        model=recommender(),
        loss=None,
        metrics=(),
        figure="recall_20",
        **of_task("recommendations", "objective", "measure", "baseline", "pictures"),
        divisible=False,
        epochs=40,
        batch_size=2048,
        learning_rate=0.01,
        dropout=0.0,
        l2=1e-6,
    ),
}
