"""What recipes of graphs are measured by: baselines without layers, and pictures."""

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score

from scripts.tasks import plots


def objective(data):
    """The loss of node classes, where the sample weights say whose count."""
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
    # Whom no label reaches is of the commonest class.
    shares[shares.sum(1) == 0] = one_hot.mean(0)
    return "label propagation", accuracy(data, shares.argmax(1))


def commonest_class(data):
    commonest = np.bincount(data.labels[data.of("train")]).argmax()
    return "commonest class", accuracy(data, np.full(len(data.labels), commonest))


def most_followed(data):
    """The accounts with the most followers, as many as there are influencers in training."""
    followers = np.bincount(data.edges[:, 1], minlength=len(data.labels))
    known = data.of("train")
    least = np.quantile(followers[known], 1 - data.labels[known].mean())
    return "most followers", accuracy(data, (followers > least).astype(int))


def node_pictures(model, data):
    """Which class was taken for which, and the test nodes as the last hidden layer sees them."""
    test = data.of("test")
    inputs = [data.ids, data.weights, data.edges]
    predicted = model.predict_on_batch(inputs).argmax(-1)
    truth = data.labels[test]
    return {
        "confusion.png": plots.confusion(truth, predicted[test], data.classes, data.name),
        "nodes.png": scatter(model, data, inputs),
    }


def scatter(model, data, inputs):
    """The nodes in the two directions in which their hidden features differ the most.

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


def graph_pictures(model, data):
    """Which class of graph was taken for which."""
    return {
        "confusion.png": plots.confusion(
            *graph_predictions(model, data.test), data.classes, data.name
        )
    }


def graph_predictions(model, part):
    """Labels and predicted classes of all graphs of a pipeline, whose batches have many sizes."""
    pairs = [(y, model.predict_on_batch(x).argmax(-1)) for x, y in part.as_numpy_iterator()]
    return tuple(np.concatenate(column) for column in zip(*pairs, strict=True))


def answers(data, part, model=None):
    """Truth, weights and, with a model, probabilities (graphs, tasks) of the yes-no questions."""
    columns = []
    for x, labels, weights in getattr(data, part).as_numpy_iterator():
        guesses = labels if model is None else model.predict_on_batch(x)
        columns.append((labels[..., 0], weights, guesses[..., 0]))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


def by_task(truth, weights, guesses):
    """Average precision of each task, NaN where the answers are not of both kinds."""
    figures = np.full(truth.shape[1], np.nan)
    for i in range(truth.shape[1]):
        known = weights[:, i] > 0
        if 0 < truth[known, i].sum() < known.sum():
            figures[i] = average_precision_score(truth[known, i], guesses[known, i])
    return figures


def average_precision(model, data):
    """The mean over tasks, the figure of the Open Graph Benchmark."""
    figures = by_task(*answers(data, "test", model))
    return {"average_precision": float(np.nanmean(figures))}


def share_of_yes(data):
    """The average precision of guesses at random."""
    truth, weights, _ = answers(data, "test")
    shares = truth.sum(0) / np.maximum(weights.sum(0), 1)
    return "guessing", float(shares[shares > 0].mean())


def task_pictures(model, data):
    """The average precision of each task, from the best to the worst."""
    figures = np.sort(by_task(*answers(data, "test", model)))[::-1]  # NaN comes first
    figures = figures[~np.isnan(figures)]
    picture = Figure(figsize=(9, 4), layout="constrained")
    axes = picture.subplots()
    axes.bar(range(len(figures)), figures)
    axes.set(title=f"{data.name}, test", xlabel="task, by rank", ylabel="average precision")
    return {"tasks.png": picture}
