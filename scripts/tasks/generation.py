"""generation: how close generated images come to real ones.

    Fréchet distance    |m - m'|² + tr(C + C' - 2 (C C')^½) between the means m and covariances C of
                        the features of real and generated images; 0 is best. The features are the
                        hidden layer of a small classifier trained on the same training part.
    neighbor accuracy   how often an image's nearest neighbor among real and generated ones is of
                        its own kind; 0.5 is best (no difference), 1 worst, below 0.5 copied.

Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017; Lopez-Paz & Oquab,
Revisiting classifier two-sample tests, ICLR 2017.
"""

import functools
import math

import keras
import numpy as np

from models.convnet import convnet
from scripts.tasks import plots

MOST = 2000  # images that are compared; the distance falls with their number


@functools.lru_cache(maxsize=1)
def judge(data):
    """A model from images to features, one for each data set."""
    keras.utils.set_random_seed(0)  # the same judge in each run
    classifier = convnet(
        data.shape, len(data.classes), filters=(16, 32), units=32, layers=keras.layers
    )
    classifier.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    parts = zip(*data.train.as_numpy_iterator(), strict=True)
    images, labels = (np.concatenate(part) for part in parts)
    # The pipeline's order changes each time; this order depends on the images alone.
    order = np.argsort(images.reshape(len(images), -1) @ np.arange(math.prod(data.shape)))
    epochs = max(2, 20_000 // len(images))
    classifier.fit(images[order], labels[order], epochs=epochs, verbose=0)
    return keras.Model(classifier.input, classifier.get_layer("hidden").output)


@functools.lru_cache(maxsize=3)
def real(data, part):
    """Up to MOST real images of a part."""
    images = [x for x, _ in getattr(data, part).as_numpy_iterator()]
    return np.concatenate(images)[:MOST]


def generate(model, count, seed=0):
    """Images of a generator, the same at each call."""
    latent = np.random.RandomState(seed).standard_normal((count, model.generator.input_shape[-1]))
    return model.generator.predict(latent.astype("float32"), verbose=0)


def root(matrix):
    """The square root of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def frechet_distance(features, others):
    """The distance of normal distributions fitted to features `(n, F)` and `(m, F)`."""
    features, others = (np.asarray(x, "float64") for x in (features, others))
    difference = features.mean(0) - others.mean(0)
    first, second = (np.cov(x, rowvar=False) for x in (features, others))
    half = root(first)
    cross = np.trace(root(half @ second @ half))
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * cross)


def neighbor_accuracy(images, others):
    """The share of images and others whose nearest neighbor, itself aside, is of their own kind."""
    x = np.concatenate([images, others]).reshape(len(images) + len(others), -1).astype("float64")
    kind = np.arange(len(x)) < len(images)
    squares = (x**2).sum(1)
    distances = squares[:, None] + squares - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(kind == kind[distances.argmin(1)]))


def distance(data, images, part):
    features = judge(data)
    return frechet_distance(
        features.predict(real(data, part), verbose=0), features.predict(images, verbose=0)
    )


def measure(model, data, part="test"):
    """Both figures of a generator, against a part of the data."""
    images = generate(model, len(real(data, part)))
    return {
        "frechet_distance": distance(data, images, part),
        "neighbor_accuracy": neighbor_accuracy(real(data, part), images),
    }


def callbacks(data, folder):
    """Log the figures of the validation part, and draw a picture of samples after each epoch."""
    (folder / "samples").mkdir(exist_ok=True)  # it exists where training is resumed

    def log(epoch, logs):
        figures = measure(callback.model, data, "validation")
        logs.update({f"val_{name}": value for name, value in figures.items()})
        samples = generate(callback.model, 60)
        picture = plots.mosaic(samples, f"{data.name}: after epoch {epoch + 1}")
        picture.savefig(folder / "samples" / f"epoch_{epoch + 1:03}.png", dpi=80)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=log)
    return [callback]


def baseline(data):
    """The lowest Fréchet distance, on the test part, of generators without learned layers."""
    images, count = real(data, "train"), len(real(data, "test"))
    flat = images.reshape(len(images), -1)
    random = np.random.RandomState(0)
    normal = random.multivariate_normal(flat.mean(0), np.cov(flat, rowvar=False), count)
    pixels = np.take_along_axis(flat, random.randint(len(flat), size=(count, flat.shape[1])), 0)
    ways = {
        "uniform noise": random.uniform(size=(count, flat.shape[1])),
        "the mean image": np.repeat(flat.mean(0)[None], count, 0),
        "each pixel from another image": pixels,
        "a normal distribution of all pixels": np.clip(normal, 0, 1),
    }
    figures = {
        name: distance(data, x.reshape(count, *data.shape).astype("float32"), "test")
        for name, x in ways.items()
    }
    return min(figures.items(), key=lambda item: item[1])


def pictures(model, data):
    return {"samples.png": plots.mosaic(generate(model, 60), f"{data.name}: generated")}
