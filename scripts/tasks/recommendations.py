"""recommendations: recall and NDCG of the first 20 items, beside the most popular ones."""

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ndcg_score

LENGTH = 20


def objective(data):
    return {
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy"],  # the share of pairs in which the liked one scores higher
    }


def scores(model, data, users):
    """Scores (len(users), items) of all items."""
    items = np.arange(data.users, data.users + data.items, dtype="int32")
    nodes = np.arange(data.users + data.items, dtype="int32")
    rows = []
    for some in np.array_split(users.astype("int32"), -(-len(users) // 64)):
        wanted = np.broadcast_to(items, (len(some), len(items)))
        rows.append(model.predict_on_batch([some, wanted, nodes, data.edges]))
    return np.concatenate(rows)


def best(scores, seen, length=LENGTH):
    """The `length` unseen items of the highest scores (rows, length), best first."""
    return np.argsort(-np.where(seen, -np.inf, scores), 1, kind="stable")[:, :length]


def rank_figures(found, liked):
    """Recall and NDCG, means over the users who like anything.

    recall = liked ones found / liked ones (at most `length`)
    NDCG = Σ over liked ones, found at place p = 0, 1, ..., of 1 / log2(p + 2), over its best value

    Args:
        found: items (users, length), best first.
        liked: booleans (users, items).
    """
    hits = np.take_along_axis(liked, found, 1)
    recall = hits.sum(1) / np.minimum(liked.sum(1), found.shape[1])
    order = np.zeros(liked.shape)  # scores that rank the items as found
    np.put_along_axis(order, found, np.arange(found.shape[1], 0, -1.0), 1)
    ndcg = ndcg_score(liked, order, k=found.shape[1], ignore_ties=True)
    return {f"recall_{LENGTH}": float(recall.mean()), f"ndcg_{LENGTH}": float(ndcg)}


def testers(data):
    """The users of the test part, and which items (users, items) they like in it."""
    liked = np.zeros((data.users, data.items), bool)
    users, items = data.pairs["test"].T
    liked[users, items - data.users] = True
    chosen = np.flatnonzero(liked.any(1))
    return chosen, liked[chosen]


def measure(model, data):
    users, liked = testers(data)
    found = best(scores(model, data, users), data.seen[users])
    return rank_figures(found, liked) | {
        f"popular_{name}": value for name, value in popular(data).items()
    }


def popular(data):
    """The figures of recommending the most liked items of the training part to everybody."""
    users, liked = testers(data)
    count = np.bincount(data.pairs["train"][:, 1] - data.users, minlength=data.items)
    found = best(np.broadcast_to(count, liked.shape).astype(float), data.seen[users])
    return rank_figures(found, liked)


def baseline(data):
    return "most popular", popular(data)[f"recall_{LENGTH}"]


def pictures(model, data, length=8):
    """What some users liked, and what is recommended to them; * marks what they did like."""
    users, liked = testers(data)
    chosen = np.linspace(0, len(users) - 1, 3).astype(int)
    found = best(scores(model, data, users[chosen]), data.seen[users[chosen]], length)
    picture = Figure(figsize=(13, 7), layout="constrained")
    for axes, row, items in zip(picture.subplots(3, 1), chosen, found, strict=True):
        before = np.flatnonzero(data.seen[users[row]])[-length:]
        left = "\n".join(["liked:", *(data.titles[i] for i in before)])
        marks = ["* " if liked[row, i] else "  " for i in items]
        right = [mark + data.titles[i] for mark, i in zip(marks, items, strict=True)]
        axes.text(0, 1, left.replace("$", r"\$"), va="top", size=9)
        axes.text(0.5, 1, "\n".join(["recommended:", *right]).replace("$", r"\$"), va="top", size=9)
        axes.axis("off")
    return {"recommendations.png": picture}
