"""segmentation: which class each pixel belongs to.

The figure is the mean over the classes of the intersection over union: of the pixels that truth or
prediction give to the class, the share that both do.
"""

import keras
import numpy as np

from scripts.tasks import image_plots


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
    return {"masks.png": image_plots.masks(model, data)}
