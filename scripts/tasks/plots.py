"""plots: the figures that several tasks draw, with matplotlib; nothing is shown on a screen."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from sklearn.metrics import confusion_matrix

TRAIN, VALIDATION, BEST = "tab:blue", "tab:orange", "0.5"
MANY = 40  # classes


def curves(history, best, figure, title, baseline=None):
    """Loss and figure of merit by epoch.

    Args:
        history: `{name: one value an epoch}` as `fit` logs it.
        best: the epoch, counted from 0, whose weights are kept.
        figure: the metric drawn beside the loss.
        title: of the picture.
        baseline: `(name, figure)`, drawn as a line.
    """
    epochs = range(1, len(history["loss"]) + 1)
    picture = Figure(figsize=(10, 4), layout="constrained")
    picture.suptitle(title)
    for axes, name in zip(picture.subplots(1, 2), ("loss", figure), strict=True):
        if name in history:  # some figures are measured on the validation part only
            axes.plot(epochs, history[name], "o-", ms=3, color=TRAIN, label="training")
        axes.plot(epochs, history[f"val_{name}"], "o-", ms=3, color=VALIDATION, label="validation")
        axes.axvline(best + 1, color=BEST, ls=":", label=f"kept: epoch {best + 1}")
        if name == figure and baseline is not None:
            axes.axhline(baseline[1], color="tab:green", ls="--", label=f"{baseline[0]} (test)")
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if name == "loss":
            readable_log(axes)
    # Below both, where it covers nothing; the second has whatever the first has, and the baseline.
    lines = {}
    for axes in picture.axes:
        lines.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    picture.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines))
    return picture


def readable_log(axes):
    """A logarithmic scale with plain numbers at 1, 2 and 5 times each power of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high < 2.5 * low:  # fewer than two of them would be seen
        axes.yaxis.set_major_locator(MaxNLocator(5))


def confusion(labels, predicted, classes, name):
    """The confusion matrix; a color is a share of the true class, the row.

    The picture grows with the number of classes and the length of their names; with more than MANY
    classes, no counts are shown.
    """
    matrix = confusion_matrix(labels, predicted, labels=range(len(classes)))
    counts = matrix.sum(1)
    shares = matrix / np.maximum(counts, 1)[:, None]
    many, longest = len(classes) > MANY, max(map(len, classes))
    size = 6 if many else 10  # of a letter, in points
    side = (0.14 if many else 0.5) * len(classes)
    names = 0.6 * size / 72 * longest  # inches
    width, height = side + 0.6 * size / 72 * (longest + 15) + 2, side + names + 1.5
    picture = Figure(figsize=(max(width, 7), max(height, 3)), layout="constrained")
    axes = picture.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in () if many else zip(*np.nonzero(matrix), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color)
    right = int(np.trace(matrix))
    axes.set(
        title=f"{name}, test: {right} of {counts.sum()} right ({right / counts.sum():.2%})",
        xlabel="predicted class",
        ylabel="true class (how many, share found)",
        xticks=range(len(classes)),
        yticks=range(len(classes)),
        xticklabels=classes,
        yticklabels=[
            f"{label}  (n={count}, {share:.0%})"
            for label, count, share in zip(classes, counts, shares.diagonal(), strict=True)
        ],
    )
    axes.tick_params(labelsize=size)
    if longest > 2:  # upright where they would overlap, and each ends below its own column
        angle = 90 if len(classes) > 10 else 45
        for text in axes.get_xticklabels():
            text.set(rotation=angle, ha="right", va="center", rotation_mode="anchor")
    picture.colorbar(image, label="share of the true class")
    return picture


def grid(rows, columns, side=1.3):
    """A figure with rows x columns axes without ticks."""
    picture = Figure(figsize=(side * columns + 0.6, side * rows + 0.5), layout="constrained")
    axes = picture.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.set(xticks=[], yticks=[])
    return picture, axes


def show(axes, image):
    """An image with values from 0 to 1; gray if it has one channel."""
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)


def first(data, count=8):
    """The first images of a pipeline, and what comes with them (the first tensor of it)."""
    images, answers = [], []
    for x, y, *_ in data.as_numpy_iterator():
        images.extend(x)
        answers.extend(y if isinstance(y, np.ndarray) else [None] * len(x))
        if len(images) >= count:
            break
    return np.array(images[:count]), answers[:count]


def mosaic(images, title, columns=12):
    """Images side by side in one picture; their number is a multiple of `columns`."""
    images = np.pad(images, [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=1)  # white lines
    count, height, width, channels = images.shape
    rows = images.reshape(-1, columns, height, width, channels).swapaxes(1, 2)
    mosaic = rows.reshape(-1, columns * width, channels)
    picture, axes = grid(1, 1, side=1)
    picture.set_size_inches(0.7 * columns, 0.7 * count / columns + 0.4)
    show(axes[0, 0], mosaic)
    axes[0, 0].set_title(title)
    return picture
