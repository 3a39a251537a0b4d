"""The benchmark of whole models: `fit` and `predict`, with our layers and with Keras's.

Both models are made by one function of models/, which takes the layers as an argument, and see the
same batch again and again. Texts come as ids: looking up words is Keras's on both sides, and XLA
knows no strings.
"""

import dataclasses
import functools
import math
import multiprocessing
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import custom_layers
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
from scripts.benchmark.results import row
from scripts.benchmark.timing import compare

WORDS, LENGTH = 5000, 64
CLASSES, ERROR = "sparse_categorical_crossentropy", "mse"
SPACES = {"custom": custom_layers, "keras": keras.layers}


@dataclasses.dataclass(frozen=True)
class Model:
    """name: in the table. build: `layers=` -> a keras.Model. batch: B.

    loss: of the model, which says what labels it needs; None for a GAN, which has its own.
    """

    name: str
    build: Callable
    batch: int
    loss: str | None = CLASSES

    def size(self, model):
        return " and ".join("x".join(map(str, x.shape)) for x in self.inputs(model))

    def inputs(self, model):
        """A batch of each input: numbers from 0 to 1, or ids that end in padding."""
        rng = np.random.default_rng(0)

        def one(x):
            shape = (self.batch, *(LENGTH if n is None else n for n in x.shape[1:]))
            if keras.backend.is_float_dtype(x.dtype):
                return rng.random(shape, dtype="float32")
            ids = rng.integers(1, 40, shape, dtype="int32")
            lengths = rng.integers(shape[1] // 2, shape[1], (self.batch, 1), endpoint=True)
            return np.where(np.arange(shape[1]) < lengths, ids, 0)

        return [one(x) for x in getattr(model, "generator", model).inputs]

    def labels(self, model, x):
        rng = np.random.default_rng(1)
        shape = tuple(model(x[0] if len(x) == 1 else x).shape)
        if self.loss == CLASSES:
            return rng.integers(0, shape[-1], shape[:-1], dtype="int32")
        return rng.random(shape, dtype="float32")


def image(make, *arguments, shape=(28, 28, 1), **options):
    return lambda layers: make(shape, *arguments, layers=layers, **options)


def text(make, length=LENGTH, **options):
    """A model of texts, from the ids of the words on."""

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
    return [
        Model("mlp", image(mlp, 10, shape=(64,)), 64),
        Model("convnet", image(convnet, 10), 64),
        Model("resnet", image(resnet, 10, shape=(32, 32, 3)), 32),
        Model("unet", image(unet, 3, shape=(32, 32, 1)), 16),
        Model("convnet3d", image(convnet3d, 4, shape=(8, 16, 16, 1)), 32),
        Model("autoencoder", image(autoencoder), 64, ERROR),
        Model("vae", image(vae), 64, ERROR),
        Model("gan", image(gan), 64, None),
        Model("text_convnet", text(text_convnet), 32),
        Model("text_rnn lstm", text(text_rnn), 32),
        Model("text_rnn gru", text(text_rnn, cell="GRU"), 32),
        Model("transformer", text(transformer), 32),
        Model("language_model", made_of(language_model, 66, units=(128,)), 32),
        Model("seq2seq", made_of(seq2seq, 40, 40, units=128), 32),
        Model("forecaster", made_of(forecaster, 100, 10), 64, ERROR),
        Model("sequence_classifier", made_of(sequence_classifier, (128, 8), 10), 32),
    ]


def compiled(case, layers, mode):
    keras.utils.set_random_seed(0)
    model = case.build(layers)
    loss = {} if case.loss is None else {"loss": case.loss}
    model.compile(keras.optimizers.Adam(1e-3), **loss, jit_compile=mode == "xla")
    return model


def timers(case, model):
    """{"fit": steps -> function, "predict": ...}: so many batches, the same ones again."""
    x = case.inputs(model)
    if case.loss is None:  # a GAN is given images to fit and makes them of latent numbers
        images = np.random.default_rng(1).random(
            (case.batch, *model.discriminator.input_shape[1:]), dtype="float32"
        )
        batch = (images,)
    else:
        batch = (x[0] if len(x) == 1 else tuple(x), case.labels(model, x))
    train = tf.data.Dataset.from_tensors(batch).repeat()
    test = tf.data.Dataset.from_tensors((x[0] if len(x) == 1 else tuple(x),)).repeat()
    once = {"shuffle": False, "verbose": 0}
    return {
        "fit": lambda steps: model.fit(train, steps_per_epoch=steps, **once),
        "predict": lambda steps: model.predict(test, steps=steps, verbose=0),
    }


def clock(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def per_step(function, steps):
    return clock(function, steps) / steps


def model_rows(case, mode, pairs, least=0.08):
    """Rows of `fit` and `predict`; one call takes so many steps that it lasts `least` seconds."""
    models = [compiled(case, layers, mode) for layers in SPACES.values()]
    ours, other = (timers(case, model) for model in models)
    for name in ours:
        sides = ours[name], other[name]
        for side in sides:
            side(2)
        slower = max(clock(side, 2) / 2 for side in sides)
        steps = min(math.ceil(least / slower), 50)
        times = compare(*(functools.partial(per_step, f, steps) for f in sides), pairs, warm_up=1)
        yield row(case.name, case.size(models[0]), mode, "Keras", name, times)


# Many lengths


def batches_of_lengths(lengths=50, each=2, batch=32):
    """A dataset of sentences, those of a batch equally long; the last batch is short."""
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
    """Seconds of the first epoch, compilation included, and of the next one."""
    model = text(text_rnn, length=None)(SPACES[layers])
    model.compile("adam", CLASSES, jit_compile=mode == "xla")
    data = batches_of_lengths(**options)
    return [clock(lambda: model.fit(data, shuffle=False, verbose=0)) for _ in range(2)]


def length_rows(mode, pairs):
    """Each side in a fresh process each time: there is but one first epoch in a process."""
    context = multiprocessing.get_context("spawn")
    times = []
    for _ in range(pairs):
        pair = []
        for layers in SPACES:
            with context.Pool(1) as pool:
                pair.append(pool.apply(epochs_of_lengths, (layers, mode)))
        times.append(pair)
    for i, name in enumerate(("first", "next")):
        these = [(ours[i], other[i]) for ours, other in times]
        size = "50 lengths, 101 batches"
        yield row("LSTM, many lengths", size, mode, "Keras", name, these)
