"""The benchmark of whole models: `fit` and `predict`, with our layers and with Keras's.

One function of models/ builds both models, with the layers as an argument, and both see the same
batch again and again. Texts come as ids, since Keras looks up words on both sides.
"""

import dataclasses
import functools
import importlib
import multiprocessing
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from models.autoencoder import autoencoder
from models.convnet import convnet
from models.convnet3d import convnet3d
from models.forecaster import forecaster
from models.gan import gan
from models.language_model import language_model
from models.mlp import mlp
from models.resnet import resnet
from models.seq2seq import seq2seq
from models.sequence_classifier import sequence_classifier
from models.text_convnet import text_convnet
from models.text_rnn import text_rnn
from models.transformer import transformer
from models.unet import unet
from models.vae import vae
from scripts.benchmark.layers import by
from scripts.benchmark.timing import Case

WORDS, LENGTH = 5000, 64
CLASSES, ERROR = "sparse_categorical_crossentropy", "mse"


@dataclasses.dataclass(frozen=True)
class Family:
    """One kind of model: `build(layers)`, of inputs of these shapes without the batch.

    loss: of the model, which tells what labels it takes; None for a GAN, which has its own.
    """

    name: str
    batch: int
    build: Callable
    shapes: tuple
    loss: str | None = CLASSES

    def arrays(self, model, batch):
        """So many examples of each input, and the labels."""
        return arrays(model, [(batch, *shape) for shape in self.shapes], self.loss)

    def case(self):
        """`fit` and `predict`."""

        def timers(data, layers, mode):
            model = compiled(self.build, layers, self.loss, mode)
            functions = fit_and_predict(model, *self.arrays(model, self.batch))
            return {pass_: functools.partial(per_step, f) for pass_, f in functions.items()}

        size = " and ".join(by((self.batch, *shape)) for shape in self.shapes)
        return Case(self.name, size, timers, least=0.08, warm_up=1)


def per_step(function, steps):
    return clock(function, steps) / steps


def clock(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def compiled(build, layers, loss, mode):
    keras.utils.set_random_seed(0)
    model = build(layers)
    options = {} if loss is None else {"loss": loss}
    model.compile(keras.optimizers.Adam(1e-3), **options, jit_compile=mode == "xla")
    return model


def arrays(model, shapes, loss):
    """A batch of each input, numbers in [0, 1) or ids that end in padding; then the labels."""
    rng = np.random.default_rng(0)

    def one(x, shape):
        if keras.backend.is_float_dtype(x.dtype):
            return rng.random(shape, dtype="float32")
        ids = rng.integers(1, 40, shape, dtype="int32")
        lengths = rng.integers(shape[1] // 2, shape[1], (shape[0], 1), endpoint=True)
        return np.where(np.arange(shape[1]) < lengths, ids, 0)

    inputs = getattr(model, "generator", model).inputs
    x = tuple(one(*pair) for pair in zip(inputs, shapes, strict=True))
    x = x[0] if len(x) == 1 else x
    labels = np.random.default_rng(1)
    if loss is None:  # a GAN is fitted to images, and predicts from latent numbers
        return x, labels.random((len(x), *model.discriminator.input_shape[1:]), dtype="float32")
    shape = tuple(model(x).shape)
    if loss == CLASSES:
        return x, labels.integers(0, shape[-1], shape[:-1], dtype="int32")
    return x, labels.random(shape, dtype="float32")


def fit_and_predict(model, x, y):
    """{"fit": steps -> history, "predict": ...}: so many steps, with the same batch each time."""
    batch = (y,) if hasattr(model, "generator") else (x, y)
    train = tf.data.Dataset.from_tensors(batch).repeat()
    test = tf.data.Dataset.from_tensors((x,)).repeat()
    once = {"shuffle": False, "verbose": 0}
    return {
        "fit": lambda steps: model.fit(train, steps_per_epoch=steps, **once),
        "predict": lambda steps: model.predict(test, steps=steps, verbose=0),
    }


def text(make, length=LENGTH, **options):
    """A model of texts without its first layer: its inputs are the ids of words."""

    def build(layers):
        words = [f"word{i}" for i in range(WORDS - 2)]
        vectorizer = keras.layers.TextVectorization(
            vocabulary=words, output_sequence_length=length, name="vectorizer"
        )
        model = make(vectorizer, 8, layers=layers, **options)
        return keras.Model(model.get_layer("vectorizer").output, model.output, name=model.name)

    return build


def made_of(make, *arguments, **options):
    return lambda layers: make(*arguments, layers=layers, **options)


def every_model():
    return [family.case() for family in families()]


def families():
    def images(make, batch, shape, *arguments, loss=CLASSES):
        return Family(make.__name__, batch, made_of(make, shape, *arguments), (shape,), loss)

    def texts(name, build):
        return Family(name, 32, build, ((LENGTH,),))

    digit = (28, 28, 1)
    return [
        images(mlp, 64, (64,), 10),
        images(convnet, 64, digit, 10),
        images(resnet, 32, (32, 32, 3), 10),
        images(unet, 16, (32, 32, 1), 3),
        images(convnet3d, 32, (8, 16, 16, 1), 4),
        images(autoencoder, 64, digit, loss=ERROR),
        images(vae, 64, digit, loss=ERROR),
        Family("gan", 64, made_of(gan, digit), ((32,),), None),
        texts("text_convnet", text(text_convnet)),
        texts("text_rnn lstm", text(text_rnn)),
        texts("text_rnn gru", text(text_rnn, cell="GRU")),
        texts("transformer", text(transformer)),
        texts("language_model", made_of(language_model, 66, units=(128,))),
        Family("seq2seq", 32, made_of(seq2seq, 40, 40, units=128), ((LENGTH,), (LENGTH,))),
        Family("forecaster", 64, made_of(forecaster, 100, 10), ((100,),), ERROR),
        Family("sequence_classifier", 32, made_of(sequence_classifier, (128, 8), 10), ((128, 8),)),
    ]


# Many lengths


def batches_of_lengths(lengths=50, each=2, batch=32):
    """A dataset of sentences, of one length in each batch; the last batch is smaller."""
    rng = np.random.default_rng(0)
    sizes = [(batch, 10 + 3 * (i // each)) for i in range(lengths * each)]
    rng.shuffle(sizes)
    sizes.append((batch // 4, 10))

    def generate():
        for rows, length in sizes:
            yield rng.integers(1, WORDS, (rows, length), "int32"), rng.integers(0, 8, rows, "int32")

    signature = (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32))
    data = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return data.apply(tf.data.experimental.assert_cardinality(len(sizes)))


def epochs_of_lengths(layers, mode, **options):
    """Seconds of the first epoch, compilation included, and of the next one.

    layers: the name of the namespace.
    """
    model = text(text_rnn, length=None)(importlib.import_module(layers))
    model.compile("adam", CLASSES, jit_compile=mode == "xla")
    data = batches_of_lengths(**options)
    return [clock(lambda: model.fit(data, shuffle=False, verbose=0)) for _ in range(2)]


def length_timers(data, layers, mode):
    """Each first epoch in a new process, as a process has only one; it times the next one too."""
    context, later = multiprocessing.get_context("spawn"), []

    def first():
        with context.Pool(1) as pool:
            seconds, next_seconds = pool.apply(epochs_of_lengths, (layers.__name__, mode))
        later.append(next_seconds)
        return seconds

    return {"first": first, "next": lambda: later.pop(0)}


def many_lengths():
    size = "50 lengths, 101 batches"
    return [Case("LSTM, many lengths", size, length_timers, pairs=3, warm_up=0)]
