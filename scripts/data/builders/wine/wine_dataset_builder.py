"""wine: chemistry of 178 wines of three cultivars, as a data set of tfds."""

import sklearn.datasets
import tensorflow_datasets as tfds

from scripts.data import scikit_table


class Builder(scikit_table.Builder):
    """Its name, `wine`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "178 wines."}  # noqa: RUF012
    HOMEPAGE = "https://doi.org/10.24432/C5PC7J"
    load = staticmethod(sklearn.datasets.load_wine)
