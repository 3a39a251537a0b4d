"""scikit_table: a table that comes with scikit-learn, as a data set of tfds."""

import numpy as np
import tensorflow_datasets as tfds


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The base of a builder, which lies in a folder with the data set's name and its texts.

    A subclass sets VERSION, RELEASE_NOTES, HOMEPAGE and `load`, scikit-learn's function.
    """

    def _info(self):
        bunch = self.load()
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "features": tfds.features.Tensor(
                        shape=bunch.data.shape[1:],
                        dtype=np.float32,
                        doc=", ".join(bunch.feature_names),
                    ),
                    "label": tfds.features.ClassLabel(names=list(map(str, bunch.target_names))),
                }
            ),
            supervised_keys=("features", "label"),
            homepage=self.HOMEPAGE,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        bunch = self.load()
        for i, (row, label) in enumerate(zip(bunch.data, bunch.target, strict=True)):
            yield i, {"features": row.astype("float32"), "label": int(label)}
