"""breast_cancer: cells of 569 breast tumors, measured, as a data set of tfds."""

import sklearn.datasets
import tensorflow_datasets as tfds

from scripts.data import scikit_table


class Builder(scikit_table.Builder):
    """Its name, `breast_cancer`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "569 tumors."}  # noqa: RUF012
    HOMEPAGE = "https://doi.org/10.24432/C5DW2B"
    load = staticmethod(sklearn.datasets.load_breast_cancer)
