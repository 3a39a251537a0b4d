"""Whole trainings beside PyTorch: an epoch of `fit` over arrays, and of a plain loop over tensors.

Both see the same arrays in a new order each epoch. Keras's `fit` brings its metrics and logs, which
the loop has not; that is what a user chooses between.
"""

import functools

import keras
import numpy as np

from scripts.benchmark.layers import by
from scripts.benchmark.models import clock, compiled, families
from scripts.benchmark.timing import Case

BATCHES = 20
PASSES = "epoch", "epoch beside torch.compile"


def training_case(family):
    def data():
        model = family.build(keras.layers)  # which tells the shape of the labels
        x, y = family.arrays(model, BATCHES * family.batch)
        return {"x": x, "y": y, "batch": np.int32(family.batch)}

    def timers(data, layers, mode):
        model = compiled(family.build, layers, family.loss, mode)
        options = {"batch_size": int(data["batch"]), "verbose": 0}
        epoch = functools.partial(model.fit, data["x"], data["y"], **options)
        return dict.fromkeys(PASSES, functools.partial(clock, epoch))

    size = f"{BATCHES} batches of {' and '.join(by((family.batch, *s)) for s in family.shapes)}"
    return Case(family.name, size, timers, data, pairs=7, warm_up=1)


def every_training():
    """Of the families that have one input and are written in rivals/trainings.py too."""
    names = ("convnet", "resnet", "unet", "vae", "text_rnn lstm", "text_rnn gru", "transformer")
    return [training_case(family) for family in families() if family.name in names]
