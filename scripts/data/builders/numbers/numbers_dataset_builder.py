"""numbers: whole numbers below a million, in digits and written out, for translation both ways."""

import numpy as np
import tensorflow_datasets as tfds

# fmt: off
SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# fmt: on
SIZES = {"train": 16_000, "validation": 2000, "test": 2000}


def words(number):
    """The English words of a whole number from 0 to 999,999."""
    if number >= 1000:
        rest = f" {words(number % 1000)}" if number % 1000 else ""
        return f"{words(number // 1000)} thousand{rest}"
    if number >= 100:
        rest = f" {words(number % 100)}" if number % 100 else ""
        return f"{SMALL[number // 100]} hundred{rest}"
    if number >= 20:
        return TENS[number // 10] + (f"-{SMALL[number % 10]}" if number % 10 else "")
    return SMALL[number]


def split():
    """`{part: numbers}`, the same everywhere: `RandomState` never changes its numbers."""
    random = np.random.RandomState(0)
    large = 1000 + random.permutation(999_000)[: sum(SIZES.values()) - 1000]
    chosen = random.permutation(np.concatenate([np.arange(1000), large]))
    ends = np.cumsum(list(SIZES.values()))
    return dict(zip(SIZES, np.split(chosen, ends[:-1]), strict=True))


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `numbers`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "20,000 numbers in English."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.Translation(languages=("digits", "words")),
            supervised_keys=("digits", "words"),
        )

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(numbers) for part, numbers in split().items()}

    def _generate_examples(self, numbers):
        for number in numbers.tolist():
            yield number, {"digits": str(number), "words": words(number)}
