"""nodes: the class of each node of a graph, where some are known."""

import keras
import numpy as np
from matplotlib.figure import Figure

from scripts.tasks import classes, plots


def objective(data):
    """The loss over nodes; the sample weights say which ones count."""
    return {"loss": "sparse_categorical_crossentropy", "weighted_metrics": ["accuracy"]}


def accuracy(data, classes):
    """The share of test nodes whose class is the one given in `classes` (N,)."""
    test = data.of("test")
    return float((classes[test] == data.labels[test]).mean())


def label_propagation(data, steps=50):
    """Each node takes the mean of its neighbors' classes, again and again; known ones stay.

    Zhu & Ghahramani, Learning from labeled and unlabeled data with label propagation, 2002.
    """
    known = data.of("train")
    one_hot = np.eye(len(data.classes))[data.labels[known]]
    sources, targets = data.edges.T
    degree = np.maximum(np.bincount(targets, minlength=len(data.labels)), 1)[:, None]
    shares = np.zeros((len(data.labels), len(data.classes)))
    for _ in range(steps):
        shares[known] = one_hot
        received = np.zeros_like(shares)
        np.add.at(received, targets, shares[sources])
        shares = received / degree
    # A node that no label reaches gets the most common class.
    shares[shares.sum(1) == 0] = one_hot.mean(0)
    return "label propagation", accuracy(data, shares.argmax(1))


def commonest_class(data):
    return classes.commonest(data.labels[data.of("train")], data.labels[data.of("test")])


def most_followed(data):
    """The accounts with the most followers, as many as there are influencers in training."""
    followers = np.bincount(data.edges[:, 1], minlength=len(data.labels))
    known = data.of("train")
    least = np.quantile(followers[known], 1 - data.labels[known].mean())
    return "most followers", accuracy(data, (followers > least).astype(int))


def pictures(model, data):
    """The confusion matrix, and the test nodes as the last hidden layer sees them."""
    test = data.of("test")
    inputs = [data.ids, data.weights, data.edges]
    predicted = model.predict_on_batch(inputs).argmax(-1)
    truth = data.labels[test]
    return {
        "confusion.png": plots.confusion(truth, predicted[test], data.classes, data.name),
        "nodes.png": scatter(model, data, inputs),
    }


def scatter(model, data, inputs):
    """The nodes along the two directions in which their hidden features vary the most.

    A model without a hidden layer (SGC) shows its scores.
    """
    last = {"dropout_2", "neighbors"} & {layer.name for layer in model.layers}
    hidden = keras.Model(model.inputs, model.get_layer(min(last)).output)
    x = hidden.predict_on_batch(inputs)
    x = x - x.mean(0)
    places = x @ np.linalg.svd(x, full_matrices=False)[2][:2].T
    picture = Figure(figsize=(8, 6), layout="constrained")
    axes = picture.subplots()
    if len(data.edges) < 1000:  # more lines would hide the nodes
        for s, t in data.edges:
            axes.plot(*places[[s, t]].T, color="0.85", lw=0.7, zorder=0)
    for i, name in enumerate(data.classes):
        own = data.labels == i
        axes.scatter(*places[own].T, s=12, color=f"C{i}", label=name)
    known = data.of("train")
    axes.scatter(*places[known].T, s=40, facecolors="none", edgecolors="black", label="known")
    axes.set(title=f"{data.name}: hidden features of the nodes, two main directions")
    axes.legend(fontsize="small")
    return picture
