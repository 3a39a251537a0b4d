"""mackey_glass: a chaotic time series, computed from its delay differential equation."""

import numpy as np
import tensorflow_datasets as tfds

DELAY, STEPS = 17, 10  # units of time; steps of the solver in one unit


def mackey_glass(length, skipped=1000):
    """`length` values one unit of time apart, after `skipped` units.

    The value one delay ago is needed in the middle of a step too: it is the mean of its neighbors.
    """
    step, lag = 1 / STEPS, DELAY * STEPS
    x = np.full((length + skipped) * STEPS + lag, 1.2)

    def slope(now, past):
        return 0.2 * past / (1 + past**10) - 0.1 * now

    for i in range(lag, len(x) - 1):
        past, next_past = x[i - lag], x[i - lag + 1]
        middle = (past + next_past) / 2
        k1 = slope(x[i], past)
        k2 = slope(x[i] + step / 2 * k1, middle)
        k3 = slope(x[i] + step / 2 * k2, middle)
        k4 = slope(x[i] + step * k3, next_past)
        x[i + 1] = x[i] + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x[lag + skipped * STEPS :: STEPS]


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `mackey_glass`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "5000 values."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"time": np.int32, "value": np.float32}),
            supervised_keys=None,
            homepage="https://doi.org/10.1126/science.267326",
            disable_shuffling=True,  # a series has an order
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for time, value in enumerate(mackey_glass(5000).astype("float32")):
            yield time, {"time": time, "value": value}
