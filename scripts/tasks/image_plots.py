"""Pictures of what models of images answer, beside the truth."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


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


def masks(model, data):
    """Images, the true class of each pixel, and the predicted one."""
    images, truth = first(data.test)
    predicted = model.predict(images, verbose=0).argmax(-1)
    picture, axes = grid(3, len(images))
    colors = {"cmap": "tab20", "vmin": 0, "vmax": 19, "interpolation": "nearest"}
    for column, (image, true, guess) in enumerate(zip(images, truth, predicted, strict=True)):
        show(axes[0, column], image)
        axes[1, column].imshow(true, **colors)
        axes[2, column].imshow(guess, **colors)
    for row, name in enumerate(("image", "truth", "predicted")):
        axes[row, 0].set_ylabel(name)
    picture.suptitle(f"{data.name}, test")
    return picture


def boxes(data, images, detected, score=0.3):
    """True boxes dashed, found ones in full with class and probability.

    Args:
        images: the first ones of the test part.
        detected: boxes, labels and scores in each.
        score: the least one that is drawn.
    """
    picture, axes = grid(2, len(images) // 2, side=2.4)
    size = np.tile(data.shape[:2], 2)

    def draw(axes, box, **style):
        top, left, bottom, right = box * size - 0.5
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))
        return left, top

    truths = data.truth["test"][: len(images)]
    for one, image, truth, found in zip(axes.flat, images, truths, detected, strict=True):
        show(one, image)
        for box in truth[0]:
            draw(one, box, color="tab:green", ls="--", lw=2)
        for box, label, probability in zip(*found, strict=True):
            if probability >= score:
                left, top = draw(one, box, color="tab:red")
                text = f"{data.classes[label]} {probability:.0%}"
                one.text(left, top, text, color="yellow", size=7, va="bottom", clip_on=True)
    picture.suptitle(f"{data.name}, test: true (dashed) and found, from {score:.0%} on")
    return picture


def reconstructions(model, data):
    """Images and what an autoencoder makes of them."""
    images, _ = first(data.test, 12)
    again = model.predict(images, verbose=0)
    picture, axes = grid(2, len(images), side=0.9)
    for column, pair in enumerate(zip(images, again, strict=True)):
        for row, image in enumerate(pair):
            show(axes[row, column], image)
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel("again")
    picture.suptitle(f"{data.name}, test")
    return picture


def invented(images, title, columns=12):
    """Invented images, as one mosaic; their number is a multiple of `columns`."""
    images = np.pad(images, [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=1)  # white lines
    count, height, width, channels = images.shape
    rows = images.reshape(-1, columns, height, width, channels).swapaxes(1, 2)
    mosaic = rows.reshape(-1, columns * width, channels)
    picture, axes = grid(1, 1, side=1)
    picture.set_size_inches(0.7 * columns, 0.7 * count / columns + 0.4)
    show(axes[0, 0], mosaic)
    axes[0, 0].set_title(title)
    return picture
