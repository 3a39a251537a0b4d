"""detection: how good the detected boxes are, and how good guesses would be.

A detection is a hit if it overlaps a true box of its class, in its image, that no more probable
detection has taken. Going from the most to the least probable detection of a class, precision
(share of hits) falls while recall (share of true boxes hit) rises; the average precision is the
area under the falling envelope of precision over recall, and its mean is taken over the classes.

Everingham et al., The PASCAL visual object classes challenge, IJCV 2010.
"""

import keras
import numpy as np
from matplotlib.patches import Rectangle

from models.detector import detections
from scripts.tasks import plots

# Of a label: readable on any image.
NAME = {"size": 7, "clip_on": True, "bbox": {"facecolor": "black", "alpha": 0.6, "pad": 1, "lw": 0}}


def overlaps(boxes, others):
    """Intersection over union: boxes `(n, 4)`, others `(m, 4)` -> `(n, m)`."""
    boxes, others = boxes[:, None], others[None]
    top_left = np.maximum(boxes[..., :2], others[..., :2])
    bottom_right = np.minimum(boxes[..., 2:], others[..., 2:])
    both = np.prod(np.maximum(bottom_right - top_left, 0), -1)
    area, other_area = (np.prod(b[..., 2:] - b[..., :2], -1) for b in (boxes, others))
    return both / np.maximum(area + other_area - both, 1e-12)


def average_precision(hits, total):
    """The area under precision over recall.

    Args:
        hits: whether each detection is a hit, the most probable first.
        total: number of true boxes.
    """
    hits = np.cumsum(hits)
    recall = hits / total
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def mean_average_precision(truth, found, overlap=0.5):
    """The mean of the average precision over the classes that occur.

    Args:
        truth: for each image, the boxes `(n, 4)` and labels `(n,)`.
        found: for each image, the boxes `(m, 4)`, labels `(m,)` and scores `(m,)`.
        overlap: the least intersection over union of a hit and its box.
    """
    scores, hits, totals = {}, {}, {}  # by class
    for (boxes, labels), (found_boxes, found_labels, found_scores) in zip(
        truth, found, strict=True
    ):
        for label in set(labels.tolist()) | set(found_labels.tolist()):
            mine, chosen = boxes[labels == label], found_labels == label
            totals[label] = totals.get(label, 0) + len(mine)
            order = np.argsort(-found_scores[chosen], kind="stable")
            scores.setdefault(label, []).extend(found_scores[chosen][order])
            table = overlaps(found_boxes[chosen][order], mine)
            for row in table:
                best = row.argmax() if len(mine) else None
                hit = best is not None and row[best] >= overlap
                hits.setdefault(label, []).append(hit)
                if hit:
                    table[:, best] = -1  # taken
    figures = []
    for label, total in totals.items():
        if total:
            order = np.argsort(-np.array(scores.get(label, ())), kind="stable")
            figures.append(average_precision(np.array(hits.get(label, ()), bool)[order], total))
    return float(np.mean(figures))


def objective(data):
    cells = data.grid[0] * data.grid[1]  # Keras's losses are means over cells, these are sums
    return {
        "loss": {"classes": "binary_focal_crossentropy", "boxes": "mean_absolute_error"},
        "loss_weights": {"classes": cells * len(data.classes), "boxes": cells * 4},
    }


def detect(model, images):
    """The boxes, labels and scores that a detector finds in each image."""
    found = detections(model).predict(images, verbose=0)
    columns = found["boxes"], found["labels"], found["scores"], found["count"]
    return [
        (boxes[:count], labels[:count], scores[:count])
        for boxes, labels, scores, count in zip(*columns, strict=True)
    ]


def measure(model, data, part="test"):
    precision = mean_average_precision(data.truth[part], detect(model, getattr(data, part)))
    return {"mean_average_precision": precision}


def callbacks(data, folder):
    """Log the figure of the validation part."""

    def log(epoch, logs):
        figures = measure(callback.model, data, "validation")
        logs.update({f"val_{name}": value for name, value in figures.items()})

    callback = keras.callbacks.LambdaCallback(on_epoch_end=log)
    return [callback]


def baseline(data):
    """The same guesses for every image.

    Tiles of the size of the mean training box, each for every class, scored by the share of the
    class.
    """
    boxes = np.concatenate([boxes for boxes, _ in data.truth["train"]])
    labels = np.concatenate([labels for _, labels in data.truth["train"]])
    size = (boxes[:, 2:] - boxes[:, :2]).mean(0)
    rows, columns = np.maximum(np.round(1 / size).astype(int), 1)
    at = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1)
    centers = (at.reshape(-1, 2) + 0.5) / (rows, columns)
    guesses = np.concatenate([centers - size / 2, centers + size / 2], -1)
    common = np.bincount(labels, minlength=len(data.classes)) / len(labels)
    guess = (
        np.repeat(guesses, len(common), 0),
        np.tile(np.arange(len(common)), len(guesses)),
        np.tile(common, len(guesses)),
    )
    truth = data.truth["test"]
    return "the same boxes in every image", mean_average_precision(truth, [guess] * len(truth))


def pictures(model, data, score=0.3):
    """True boxes dashed, their class below; detected ones solid, class and probability above."""
    images, _ = plots.first(data.test)
    picture, axes = plots.grid(2, len(images) // 2, side=2.4)
    size = np.tile(data.shape[:2], 2)

    def draw(axes, box, **style):
        top, left, bottom, right = box * size - 0.5
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))
        return left, top

    truths, detected = data.truth["test"][: len(images)], detect(model, images)
    for one, image, truth, found in zip(axes.flat, images, truths, detected, strict=True):
        plots.show(one, image)
        for box, label in zip(*truth, strict=True):
            draw(one, box, color="tab:green", ls="--", lw=2)
            bottom, left = (box * size)[[2, 1]]
            one.text(left, bottom, data.classes[label], color="lightgreen", va="top", **NAME)
        for box, label, probability in zip(*found, strict=True):
            if probability >= score:
                left, top = draw(one, box, color="tab:red")
                text = f"{data.classes[label]} {probability:.0%}"
                one.text(left, top, text, color="yellow", va="bottom", **NAME)
    picture.suptitle(f"{data.name}, test: true (dashed) and detected, at least {score:.0%}")
    return {"boxes.png": picture}
