"""daily_min_temperatures: ten years of daily minimum temperatures in Melbourne."""

import csv

import numpy as np
import tensorflow_datasets as tfds

URL = "https://raw.githubusercontent.com/jbrownlee/Datasets/master/daily-min-temperatures.csv"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `daily_min_temperatures`, is its folder's; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "3650 days."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {"date": tfds.features.Text(), "value": np.float32}
            ),
            supervised_keys=None,
            homepage="https://github.com/jbrownlee/Datasets",
            disable_shuffling=True,  # a series has an order
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(dl_manager.download(URL))}

    def _generate_examples(self, path):
        with path.open() as file:
            for i, row in enumerate(csv.DictReader(file)):
                yield i, {"date": row["Date"], "value": float(row["Temp"])}
