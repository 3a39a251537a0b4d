"""moving_digits: short videos of digits that move in one of four directions."""

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from scripts.data.builders.digits.digits_dataset_builder import split

FRAMES, SIZE = 8, 16
MOTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  # rows, columns
COUNTS = {"train": 1200, "validation": 200, "test": 400}


def move(digit, motion, random):
    """A video (FRAMES, SIZE, SIZE) of a digit (8, 8) with values in [0, 1], as bytes."""
    canvas = np.zeros((SIZE, SIZE))
    canvas[:8, :8] = digit
    start, speed = random.randint(0, SIZE, 2), random.randint(1, 3)
    video = np.stack(
        [
            np.roll(canvas, start + speed * time * np.array(MOTIONS[motion]), (0, 1))
            for time in range(FRAMES)
        ]
    )
    video = 0.9 * video + np.abs(random.normal(0, 0.1, video.shape))
    return np.round(255 * np.clip(video, 0, 1)).astype("uint8")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `moving_digits`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1200 videos to train, 200 to validate, 400 to test."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "video": tfds.features.Video(shape=(FRAMES, SIZE, SIZE, 1)),
                    "label": tfds.features.ClassLabel(names=list(MOTIONS)),
                }
            ),
            supervised_keys=("video", "label"),
            homepage="https://doi.org/10.24432/C50P49",
        )

    def _split_generators(self, dl_manager):
        digits = load_digits()
        return {
            name: self._generate_examples(digits.images[chosen] / 16, name)
            for name, chosen in split(digits.target).items()
        }

    def _generate_examples(self, images, name):
        # `RandomState` never changes its numbers, unlike `default_rng`.
        random = np.random.RandomState(list(COUNTS).index(name))
        for i in range(COUNTS[name]):
            motion = list(MOTIONS)[i % len(MOTIONS)]
            digit = images[random.randint(len(images))]
            yield i, {"video": move(digit, motion, random)[..., None], "label": motion}
