"""segmentation: which class each pixel belongs to.

The figure is the mean over the classes of the intersection over union: of the pixels that truth or
prediction give to the class, the share that both do.
"""

import keras
import numpy as np
from matplotlib import colormaps
from matplotlib.patches import Patch

from scripts.tasks import plots


def objective(data):
    overlap = keras.metrics.MeanIoU(len(data.classes), sparse_y_pred=False, name="mean_iou")
    return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy", overlap]}


def baseline(data):
    """Each pixel is background; the mean is over the classes that occur."""
    counts = sum(
        np.bincount(masks.ravel(), minlength=len(data.classes))
        for _, masks in data.test.as_numpy_iterator()
    )
    return "all background", float(counts[0] / counts.sum() / np.count_nonzero(counts))


def pictures(model, data):
    """Images, the true class of each pixel, and the predicted one."""
    images, truth = plots.first(data.test)
    predicted = model.predict(images, verbose=0).argmax(-1)
    picture, axes = plots.grid(3, len(images))
    colors = {"cmap": "tab20", "vmin": 0, "vmax": 19, "interpolation": "nearest"}
    for column, (image, true, guess) in enumerate(zip(images, truth, predicted, strict=True)):
        plots.show(axes[0, column], image)
        axes[1, column].imshow(true, **colors)
        axes[2, column].imshow(guess, **colors)
    for row, name in enumerate(("image", "truth", "predicted")):
        axes[row, 0].set_ylabel(name)
    picture.suptitle(f"{data.name}, test")
    palette = colormaps["tab20"]
    patches = [Patch(color=palette(i), label=label) for i, label in enumerate(data.classes[:20])]
    picture.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 8))
    return {"masks.png": picture}
