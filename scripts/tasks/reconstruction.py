"""reconstruction: images squeezed into a few numbers and restored, judged by the squared error."""

import dataclasses

import numpy as np

from scripts.data.images import load_images
from scripts.tasks import plots


def load(name, **options):
    """Images, each its own target."""
    data = load_images(name, **options)
    parts = ("train", "validation", "test")
    return dataclasses.replace(
        data, **{part: getattr(data, part).map(lambda x, y: (x, x)) for part in parts}
    )


def baseline(data):
    """Each image is restored as the mean image of the training part."""
    images = np.concatenate([x for x, _ in data.train.as_numpy_iterator()])
    mean = images.mean(0, dtype="float64")
    test = data.test.unbatch().as_numpy_iterator()
    return "the mean image", float(np.mean([((x - mean) ** 2).mean() for x, _ in test]))


def pictures(model, data):
    """Images and what an autoencoder makes of them."""
    images, _ = plots.first(data.test, 12)
    reconstructed = model.predict(images, verbose=0)
    picture, axes = plots.grid(2, len(images), side=0.9)
    for column, pair in enumerate(zip(images, reconstructed, strict=True)):
        for row, image in enumerate(pair):
            plots.show(axes[row, column], image)
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel("reconstruction")
    picture.suptitle(f"{data.name}, test")
    return {"reconstructions.png": picture}


def pictures_and_samples(model, data):
    """The same for a variational autoencoder, and images decoded from random codes."""
    decoder = model.get_layer("decoder")
    codes = np.random.RandomState(0).standard_normal((60, decoder.input_shape[-1]))
    samples = decoder.predict(codes.astype("float32"), verbose=0)
    samples = plots.mosaic(samples, f"{data.name}: generated")
    return {**pictures(model, data), "samples.png": samples}
