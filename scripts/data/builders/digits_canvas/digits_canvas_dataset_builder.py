"""digits_canvas: digits scattered on a canvas, a class for each pixel, a box for each digit."""

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from scripts.data.builders.digits.digits_dataset_builder import split

SIZE = 48  # of the canvas
COUNTS = {"train": 1600, "validation": 200, "test": 400}
INK = 0.3  # the brightness from which a pixel belongs to the digit


def enlarge(image, size):
    """An image (8, 8) scaled to size x size pixels, by bilinear interpolation."""
    at = (np.arange(size) + 0.5) * len(image) / size - 0.5
    across = np.array([np.interp(at, range(len(image)), row) for row in image])
    return np.array([np.interp(at, range(len(image)), column) for column in across.T]).T


def touches(box, other):
    """Whether two boxes (top, left, bottom, right) have a pixel in common."""
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def scatter(images, labels, random):
    """A canvas with one to four of the digits: image and mask (SIZE, SIZE), boxes and labels."""
    slope = random.uniform(-0.15, 0.15, 2)
    rows, columns = np.mgrid[-0.5 : 0.5 : SIZE * 1j, -0.5 : 0.5 : SIZE * 1j]
    canvas = random.uniform(0.1, 0.3) + slope[0] * rows + slope[1] * columns
    mask = np.zeros((SIZE, SIZE), "uint8")
    boxes, names = [], []
    for _ in range(random.randint(1, 5)):
        which, size = random.randint(len(images)), random.randint(10, 19)
        digit = enlarge(images[which] / 16, size)
        ink = digit >= INK
        inked = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        for _ in range(20):  # places that might be free
            top, left = random.randint(0, SIZE - size + 1, 2)
            box = [top + inked[0][0], left + inked[1][0], top + inked[0][-1] + 1]
            box.append(left + inked[1][-1] + 1)
            if not any(touches(box, other) for other in boxes):
                there = np.s_[top : top + size, left : left + size]
                canvas[there] = np.maximum(canvas[there], digit)
                mask[there][ink] = 1 + labels[which]
                boxes.append(box)
                names.append(int(labels[which]))
                break
    canvas += random.normal(0, 0.05, canvas.shape)
    return np.round(255 * np.clip(canvas, 0, 1)).astype("uint8"), mask, boxes, names


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `digits_canvas`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1600 images to train, 200 to validate, 400 to test."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIZE, SIZE, 1)),
                    "segmentation_mask": tfds.features.Image(
                        shape=(SIZE, SIZE, 1), use_colormap=True
                    ),
                    "objects": tfds.features.Sequence(
                        {
                            "bbox": tfds.features.BBoxFeature(),
                            "label": tfds.features.ClassLabel(num_classes=10),
                        }
                    ),
                }
            ),
            homepage="https://doi.org/10.24432/C50P49",
        )

    def _split_generators(self, dl_manager):
        digits = load_digits()
        return {
            name: self._generate_examples(digits.images[chosen], digits.target[chosen], name)
            for name, chosen in split(digits.target).items()
        }

    def _generate_examples(self, images, labels, name):
        # `RandomState` never changes its numbers, unlike `default_rng`.
        random = np.random.RandomState(list(COUNTS).index(name))
        for i in range(COUNTS[name]):
            image, mask, boxes, names = scatter(images, labels, random)
            yield (
                i,
                {
                    "image": image[..., None],
                    "segmentation_mask": mask[..., None],
                    "objects": [
                        {
                            "bbox": tfds.features.BBox(*(float(x) / SIZE for x in box)),
                            "label": label,
                        }
                        for box, label in zip(boxes, names, strict=True)
                    ],
                },
            )
