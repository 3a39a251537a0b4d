"""digits: scikit-learn's 1797 images of 8 x 8 pixels, as a data set of tfds."""

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits


def split(labels):
    """Indices of each part: of each class, a fifth to test, a tenth to validate, the rest to train.

    `RandomState` never changes its numbers, unlike `default_rng`: the split never changes.
    """
    parts = {"train": [], "validation": [], "test": []}
    random = np.random.RandomState(0)
    for label in range(10):
        mine = random.permutation(np.flatnonzero(labels == label))
        fifth, tenth = round(len(mine) / 5), round(len(mine) / 10)
        parts["test"].extend(mine[:fifth])
        parts["validation"].extend(mine[fifth : fifth + tenth])
        parts["train"].extend(mine[fifth + tenth :])
    return {name: sorted(int(i) for i in indices) for name, indices in parts.items()}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `digits`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1259 images to train, 179 to validate, 359 to test."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
        )

    def _split_generators(self, dl_manager):
        digits = load_digits()
        return {
            name: self._generate_examples(digits, indices)
            for name, indices in split(digits.target).items()
        }

    def _generate_examples(self, digits, indices):
        for i in indices:
            image = np.round(digits.images[i] * (255 / 16)).astype("uint8")
            yield i, {"image": image[..., None], "label": int(digits.target[i])}
