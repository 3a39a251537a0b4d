"""tones: generated sounds whose class is their shape, whatever their pitch and loudness."""

import numpy as np
import tensorflow_datasets as tfds

RATE, LENGTH = 8000, 4000  # samples per second, and per sound
SIZES = {"train": 900, "validation": 300, "test": 300}
SHAPES = {
    "buzz": lambda phase: np.sign(np.sin(phase)) * (np.sin(phase / 7.3) > 0),
    "chirp down": np.sin,
    "chirp up": np.sin,
    "sine": np.sin,
    "square": lambda phase: np.sign(np.sin(phase)),
    "triangle": lambda phase: 2 / np.pi * np.arcsin(np.sin(phase)),
}


def tone(name, random):
    """One sound as 16-bit integers.

    `RandomState` never changes its numbers, unlike `default_rng`.
    """
    time = np.arange(LENGTH) / RATE
    pitch = 110 * 2 ** random.uniform(0, 3)
    change = {"chirp up": 1, "chirp down": -1}.get(name, 0) * random.uniform(0.5, 1.5)
    octaves = change * time / time[-1]
    phase = random.uniform(0, 2 * np.pi) + 2 * np.pi * np.cumsum(pitch * 2**octaves) / RATE
    sound = SHAPES[name](phase) * (time >= random.uniform(0, 0.25))
    sound = sound + random.uniform(0, 1) * random.standard_normal(LENGTH)
    sound = sound * random.uniform(0.1, 1) / np.abs(sound).max()
    return np.round(sound * 32767).astype("int64")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `tones`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "250 sounds of each of 6 shapes."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "audio": tfds.features.Audio(sample_rate=RATE),
                    "label": tfds.features.ClassLabel(names=list(SHAPES)),
                }
            ),
            supervised_keys=("audio", "label"),
        )

    def _split_generators(self, dl_manager):
        return {
            part: self._generate_examples(size, np.random.RandomState(seed))
            for seed, (part, size) in enumerate(SIZES.items())
        }

    def _generate_examples(self, size, random):
        for i in range(size):
            name = list(SHAPES)[i % len(SHAPES)]
            yield i, {"audio": tone(name, random), "label": name}
