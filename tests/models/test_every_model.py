"""What every model promises: as with keras.layers, penalized, saved whole, served elsewhere."""

import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near
from models.graph_classifier import graph_classifier
from models.mlp import mlp
from models.penalty import penalty
from models.text_rnn import text_rnn
from scripts.export.tiny_models import TINY, Tiny, numbers, packed_graphs, texts, vectorizer

ROOT = pathlib.Path(__file__).parents[2]
MOMENTS = np.arange(4.0), np.arange(1.0, 5.0)
MODELS = {
    **TINY,
    "mlp of a table": Tiny(
        lambda **o: mlp((4,), 5, units=(6, 5), moments=MOMENTS, **o), numbers(4)
    ),
    "text_rnn GRU": Tiny(
        lambda **o: text_rnn(vectorizer(), 3, cell="GRU", embedding=5, units=4, **o), texts
    ),
    "text_rnn SimpleRNN": Tiny(
        lambda **o: text_rnn(vectorizer(), 3, cell="SimpleRNN", embedding=5, units=4, **o), texts
    ),
    "graph_classifier GraphConv": Tiny(
        lambda **o: graph_classifier(4, 2, conv=custom_layers.GraphConv, units=(5,), **o),
        packed_graphs,
    ),
}
PARTS = ("detections", "seq2seq encoder", "seq2seq decoder")  # of models that are trained whole
TRAINED = [name for name in MODELS if name not in PARTS]
NOT_OURS = (keras.layers.Bidirectional, keras.layers.MultiHeadAttention)
FIRST_KERNEL = ("node_classifier GraphConv", "node_classifier SGConv", "node_classifier APPNP")


def flat(answers):
    return [np.asarray(y) for y in tf.nest.flatten(answers)]


def built(name, **options):
    keras.utils.set_random_seed(0)  # the same draws where a model draws in training
    return MODELS[name].build(**options)


def called_with(name, count=5):
    return tf.nest.map_structure(tf.constant, MODELS[name].inputs(count))


def twins(name, **options):
    """The model from our layers and from Keras's, with the same weights."""
    ours, theirs = built(name, **options), built(name, layers=keras.layers, **options)
    weights = [[(w.name, tuple(w.shape)) for w in model.weights] for model in (ours, theirs)]
    assert weights[0] == weights[1]
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def layers_of(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        else:
            yield layer


@pytest.mark.parametrize("name", MODELS)
def test_layers_are_those_of_the_library(name):
    for layer in layers_of(built(name)):
        if layer.weights and not isinstance(layer, NOT_OURS):
            assert type(layer).__module__.startswith("custom_layers."), layer
    for layer in layers_of(built(name, layers=keras.layers)):
        if hasattr(keras.layers, type(layer).__name__):
            assert type(layer).__module__.startswith("keras."), layer


@pytest.mark.parametrize("name", MODELS)
def test_keras_layers_answer_the_same(name):
    ours, theirs = twins(name)
    x = called_with(name)
    answers = [flat(model.predict_on_batch(x)) for model in (ours, theirs)]
    assert any(y.std() > 0 for y in answers[0])
    for mine, other in zip(*answers, strict=True):
        assert_near("answer", mine, other, 1e-5)


# TensorFlow's MaxPooling3D and Keras's MelSpectrogram have no float64.
IN_FLOAT32 = {"convnet3d", "sequence_classifier of sounds"}


@pytest.fixture
def precise(name):
    """A training multiplies roundings, in float32 by another factor on each processor."""
    keras.config.set_dtype_policy("float32" if name in IN_FLOAT32 else "float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", TRAINED)
def test_keras_layers_train_the_same(name, precise):
    """Losses, penalties included, their gradients, and all weights, over three steps.

    By SGD: Adam divides by the gradient's size, so an entry of size 1e-8 moves by its rounding.
    """
    x, seen = called_with(name), []
    for model in twins(name, dropout=0.0, l1=1e-4, l2=1e-3):
        keras.utils.set_random_seed(0)
        optimizer, losses, slopes = keras.optimizers.SGD(0.05, momentum=0.9), [], []
        trained = model.trainable_weights
        for _ in range(3):
            with tf.GradientTape() as tape:
                answers = tf.nest.flatten(model(x, training=True))
                loss = tf.add_n([tf.reduce_mean(tf.sin(3 * y)) for y in answers] + model.losses)
            pairs = zip(tape.gradient(loss, trained), trained, strict=True)
            # A GAN's answers do not depend on its discriminator.
            found = [(slope, weight) for slope, weight in pairs if slope is not None]
            optimizer.apply_gradients(found)
            slopes += [tf.convert_to_tensor(slope) for slope, _ in found]
            losses.append(float(loss))
        seen.append((losses, slopes, model.get_weights()))
    (losses, slopes, weights), (their_losses, their_slopes, their_weights) = seen
    assert len(set(losses)) == 3
    assert_near("losses", np.array(losses), np.array(their_losses), 1e-5)
    for mine, other in zip(slopes, their_slopes, strict=True):
        assert_near("gradient", mine, other, 1e-4)
    for mine, other in zip(weights, their_weights, strict=True):
        assert_near("weight", mine, other, 1e-5)


def penalized(name, model):
    """The weights that the penalty is for: all kernels, or what the model's paper says."""
    if name in FIRST_KERNEL:
        kinds = {"embeddings"}
    elif name.startswith("node_classifier"):
        kinds = {"embeddings", "kernel", "attention_source", "attention_target"}
    elif name == "recommender":
        kinds = {"embeddings"}
    else:
        kinds = {"kernel", "recurrent_kernel"}
    weights = [w for w in model.trainable_weights if w.name in kinds]
    return [w.numpy() for w in weights if name != "transformer" or "attention" not in w.path]


@pytest.mark.parametrize("name", TRAINED)
def test_penalty_is_part_of_the_loss(name):
    model = built(name, l1=1e-3, l2=1e-2)
    weights = penalized(name, model)
    expected = sum(1e-3 * np.abs(w).sum() + 1e-2 * np.square(w).sum() for w in weights)
    assert len(weights) >= (1 if name in FIRST_KERNEL or name == "recommender" else 2)
    if name == "vae":
        model(called_with(name))
        expected += float(model.get_layer("sample").losses[0])
    assert_near("penalty", float(sum(model.losses)), expected, 1e-5)
    assert built(name, l1=0.0, l2=0.0).losses == []


def test_without_factors_there_is_no_penalty():
    assert penalty(0, 0, custom_layers) is None


@pytest.mark.parametrize("name", TRAINED)
def test_dropout_is_for_training_only(name):
    model, x = built(name, dropout=0.5), called_with(name)
    for mine, again in zip(flat(model(x)), flat(model(x)), strict=True):
        np.testing.assert_array_equal(mine, again)
    pairs = zip(*(flat(model(x, training=True)) for _ in "ab"), strict=True)
    moved = max(np.abs(a - b).max() for a, b in pairs)
    assert (moved > 1e-6) == (name != "gan")  # its dropout is in the discriminator
    rates = {layer.rate for layer in layers_of(model) if type(layer).__name__ == "Dropout"}
    assert rates == {0.5}


# --- saved

ANSWERING = """
import pathlib, pickle, sys
import numpy as np, tensorflow as tf

def answer(file, load):
    for folder in map(pathlib.Path, sys.argv[1:]):
        x = tf.nest.map_structure(tf.constant, pickle.loads((folder / "x.pickle").read_bytes()))
        y = tf.nest.flatten(load(folder)(x))
        np.savez(folder / file, *map(np.asarray, y))
"""
LOADING = """
import keras, custom_layers, models.detector, models.gan, models.vae
load = lambda folder: keras.models.load_model(folder / "model.keras")
answer("loaded.npz", lambda folder: load(folder).predict_on_batch)
"""
SERVING = """
def load(folder):
    loaded = tf.saved_model.load(folder / "saved_model")
    return lambda x: loaded.serve(x)  # which keeps `loaded`

answer("served.npz", load)
assert "custom_layers" not in sys.modules
"""


# One of each kind in each run: of images, boxes, texts, series, graphs; with a class of its own.
SAVED = ["convnet", "detections", "vae", "text_rnn", "transformer", "seq2seq", "forecaster Conv1D"]
SAVED += ["node_classifier GraphConv", "graph_classifier", "recommender"]


@pytest.mark.parametrize(
    "names",
    [SAVED, pytest.param(list(MODELS), marks=pytest.mark.long)],
    ids=["few", "all"],
)
def test_saved_models_answer_in_another_process(names, tmp_path):
    """Each model saved, exported, and read in two processes of their own: one test, two starts."""
    for name in names:
        folder, model, x = tmp_path / name, built(name), MODELS[name].inputs(5)
        folder.mkdir()
        (folder / "x.pickle").write_bytes(pickle.dumps(x))
        model.save(folder / "model.keras")
        model.export(folder / "saved_model", verbose=False)
        np.savez(folder / "expected.npz", *flat(model.predict_on_batch(called_with(name))))
    folders = [str(tmp_path / name) for name in names]
    for code in (LOADING, SERVING):
        program = [sys.executable, "-c", ANSWERING + code, *folders]
        done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
    for name in names:
        expected = np.load(tmp_path / name / "expected.npz")
        for file in ("loaded.npz", "served.npz"):
            actual = np.load(tmp_path / name / file)
            assert len(actual.files) == len(expected.files) > 0
            for key in expected.files:
                assert_near(f"{name}, {file}", actual[key], expected[key], 1e-5)


def test_no_model_is_left_out():
    files = {path.stem for path in (ROOT / "models").glob("*.py")} - {
        "__init__",
        "penalty",
        "whole",
    }
    assert files <= {name.split()[0] for name in MODELS}
