"""wine: chemistry of 178 wines of three cultivars, as a data set of tfds."""

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_wine


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `wine`, is that of the folder; the texts stand beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "178 wines."}  # noqa: RUF012

    def _info(self):
        bunch = load_wine()
        names = ", ".join(bunch.feature_names)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "features": tfds.features.Tensor(
                        shape=(bunch.data.shape[1],), dtype=np.float32, doc=names
                    ),
                    "label": tfds.features.ClassLabel(names=list(map(str, bunch.target_names))),
                }
            ),
            supervised_keys=("features", "label"),
            homepage="https://doi.org/10.24432/C5PC7J",
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        bunch = load_wine()
        for i, (row, label) in enumerate(zip(bunch.data, bunch.target, strict=True)):
            yield i, {"features": row.astype("float32"), "label": int(label)}
