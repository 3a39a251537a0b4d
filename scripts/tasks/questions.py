"""questions: many yes-no questions about each graph, not all of them answered."""

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score


def objective(data):
    return {"loss": "binary_crossentropy"}


def answers(data, part, model=None):
    """Truth, weights and, with a model, probabilities (graphs, tasks) of the yes-no questions."""
    columns = []
    for x, labels, weights in getattr(data, part).as_numpy_iterator():
        guesses = labels if model is None else model.predict_on_batch(x)
        columns.append((labels[..., 0], weights, guesses[..., 0]))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


def by_task(truth, weights, guesses):
    """Average precision of each task, NaN where all answers are the same."""
    figures = np.full(truth.shape[1], np.nan)
    for i in range(truth.shape[1]):
        known = weights[:, i] > 0
        if 0 < truth[known, i].sum() < known.sum():
            figures[i] = average_precision_score(truth[known, i], guesses[known, i])
    return figures


def measure(model, data):
    """The mean over tasks, the figure of the Open Graph Benchmark."""
    figures = by_task(*answers(data, "test", model))
    return {"average_precision": float(np.nanmean(figures))}


def baseline(data):
    """The average precision of random guesses."""
    truth, weights, _ = answers(data, "test")
    shares = truth.sum(0) / np.maximum(weights.sum(0), 1)
    return "guessing", float(shares[shares > 0].mean())


def pictures(model, data):
    """The average precision of each task, from the best to the worst."""
    figures = np.sort(by_task(*answers(data, "test", model)))[::-1]  # NaN comes first
    figures = figures[~np.isnan(figures)]
    picture = Figure(figsize=(9, 4), layout="constrained")
    axes = picture.subplots()
    axes.bar(range(len(figures)), figures)
    axes.set(
        title=f"{data.name}, test",
        xlabel=f"task, by rank ({len(figures)} tasks)",
        ylabel="average precision",
    )
    return {"tasks.png": picture}
