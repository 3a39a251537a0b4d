"""Models of texts, series and signals: as with keras.layers, saved whole, defined at the edges."""

import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from models.forecaster import forecaster
from models.language_model import language_model, writer
from models.seq2seq import decoder, encoder, seq2seq, translate
from models.sequence_classifier import sequence_classifier
from models.text_convnet import text_convnet
from models.text_rnn import text_rnn
from models.transformer import transformer

TEXTS = ["the cat sat on the mat", "a dog", "the dog sat", "cats and dogs and cats", "on a mat the"]


def vectorizer():
    layer = keras.layers.TextVectorization(output_sequence_length=7, name="words")
    layer.adapt(tf.constant(TEXTS))
    return layer


def of_texts(make, **sizes):
    def build(**options):
        return make(vectorizer(), 3, **sizes, **options)

    return build, tf.constant(TEXTS), np.array([0, 1, 2, 1, 0])


def of_numbers(make, x, y, *given, **sizes):
    return lambda **options: make(*given, **sizes, **options), x, y


RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 9, (5, 7)).astype("int32")
SHORT = np.where(np.arange(7) < np.array([[7], [3], [5], [1], [6]]), IDS, 0)
SIGNALS = RNG.standard_normal((5, 12, 3)).astype("float32")
SOUNDS = RNG.standard_normal((5, 900)).astype("float32")
VALUES = RNG.standard_normal((5, 11)).astype("float32") * 3 + 10
LABELS = np.array([0, 1, 2, 1, 0])

MODELS = {
    "text_convnet": of_texts(text_convnet, embedding=5, widths=(2, 3), filters=4),
    "text_rnn LSTM": of_texts(text_rnn, embedding=5, units=4),
    "text_rnn GRU": of_texts(text_rnn, cell="GRU", embedding=5, units=4),
    "text_rnn SimpleRNN": of_texts(text_rnn, cell="SimpleRNN", embedding=5, units=4),
    "transformer": of_texts(transformer, heads=2, width=6, hidden=5),
    "language_model LSTM": of_numbers(language_model, IDS, IDS, 9, embedding=5, units=(4, 3)),
    "language_model GRU": of_numbers(language_model, IDS, IDS, 9, cell="GRU", units=(4,)),
    "seq2seq": of_numbers(seq2seq, [SHORT, SHORT], SHORT, 9, 9, embedding=5, units=4),
    "forecaster GRU": of_numbers(forecaster, VALUES, VALUES[:, :4], 11, 4, mean=9.0, variance=4.0),
    "forecaster Conv1D": of_numbers(forecaster, VALUES, VALUES[:, :4], 11, 4, kind="Conv1D"),
    "sequence_classifier": of_numbers(
        sequence_classifier, SIGNALS, LABELS, (12, 3), 3, filters=(4, 5), units=4
    ),
    "sequence_classifier of sounds": of_numbers(
        sequence_classifier, SOUNDS, LABELS, (900,), 3, rate=8000, filters=(4,), units=4
    ),
}


ONE_OF_EACH = (  # what is slow is shown once for each file
    "text_convnet",
    "text_rnn LSTM",
    "transformer",
    "language_model GRU",
    "seq2seq",
    "forecaster Conv1D",
    "sequence_classifier",
)


def pytest_generate_tests(metafunc):
    names = {"row": MODELS, "one": ONE_OF_EACH}
    for argument in names.keys() & set(metafunc.fixturenames):
        rows = [MODELS[name] for name in names[argument]]
        metafunc.parametrize(argument, rows, ids=list(names[argument]))


def compiled(model):
    loss = "mae" if model.name == "forecaster" else "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(0.3), loss, run_eagerly=True)  # tracing takes longer
    return model


def test_losses_are_those_of_keras(one):
    """From the same weights on the same batch, step by step."""
    build, x, y = one
    ours, reference = build(dropout=0.0, l1=1e-4), build(dropout=0.0, l1=1e-4, layers=keras.layers)
    assert any(type(layer).__module__.startswith("custom_layers.") for layer in ours.layers)
    assert not any(
        type(layer).__module__.startswith("custom_layers.") for layer in reference.layers
    )
    assert [w.shape for w in ours.weights] == [w.shape for w in reference.weights]
    reference.set_weights(ours.get_weights())
    compiled(ours), compiled(reference)
    for _ in range(3):
        losses = []
        for model in (ours, reference):
            model.reset_metrics()
            losses.append(model.train_on_batch(x, y))
        assert_near("loss", losses[0], losses[1], 1e-4)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (1e-3, 1e-2)])
def test_penalty_is_that_of_all_kernels(row, l1, l2):
    build, _, _ = row
    model = build(dropout=0.0, l1=l1, l2=l2)
    attention = [w for w in model.trainable_weights if "attention" in w.path]
    kernels = [
        w.numpy()
        for w in model.trainable_weights
        if w.name.endswith("kernel") and not any(w is other for other in attention)
    ]
    expected = sum(l1 * np.abs(w).sum() + l2 * np.square(w).sum() for w in kernels)
    assert len(kernels) >= 2
    assert_near("penalty", sum(model.losses), expected, 1e-5)


def test_dropout_is_for_training_only(one):
    build, x, _ = one
    model = build(dropout=0.5)
    np.testing.assert_array_equal(model(x), model(x))
    assert np.abs(model(x, training=True) - model(x, training=True)).max() > 1e-6


def test_saved_models_answer_in_another_process(tmp_path):
    """Every model, from `.keras` (in safe mode) and from the SavedModel; one process for all."""
    expected = {}
    for name, (build, x, _) in MODELS.items():
        model = build()
        model.save(tmp_path / f"{name}.keras")
        model.export(tmp_path / name, verbose=False)
        expected[name] = model.predict(x, verbose=0)
        parts = x if isinstance(x, list) else [x]
        np.savez(
            tmp_path / f"{name}.npz",
            *[
                np.asarray(part).astype("U" if tf.as_dtype(part.dtype) == tf.string else part.dtype)
                for part in parts
            ],
        )
    program = """
import sys, pathlib, numpy as np, tensorflow as tf, keras, custom_layers
folder = pathlib.Path(sys.argv[1])
answers = {}
for file in sorted(folder.glob("*.npz")):
    x = [tf.constant(part) for part in np.load(file).values()]
    x = x if len(x) > 1 else x[0]
    name = file.stem
    loaded = keras.models.load_model(folder / f"{name}.keras")
    answers[f"{name}|keras"] = loaded.predict(x, verbose=0)
    served = tf.saved_model.load(folder / name)
    answers[f"{name}|served"] = served.serve(x)
np.savez(folder / "answers.npz", **answers)
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answers = np.load(tmp_path / "answers.npz")
    assert len(answers) == 2 * len(MODELS)
    for key, answer in answers.items():
        assert_near(key, answer, expected[key.partition("|")[0]], 1e-5)


TEXT_MODELS = {name: MODELS[name] for name in MODELS if name.startswith(("text", "transformer"))}


@pytest.mark.parametrize("build", [row[0] for row in TEXT_MODELS.values()], ids=TEXT_MODELS.keys())
def test_texts_at_the_edges(build):
    model = build()

    def answer(*texts):
        y = model(tf.constant(texts)).numpy()
        assert np.isfinite(y).all()
        assert_near("sum", y.sum(-1), np.ones(len(texts)), 1e-5)
        return y

    empty = answer("")
    assert_near("blank", answer("  \n "), empty, 1e-6)  # no word either
    assert_near("marks", answer("?!"), empty, 1e-6)
    long = " ".join(["the cat sat on a mat and"] * 3)  # 7 words, the model's maximum, and more
    assert_near("longer", answer(long), answer("the cat sat on a mat and"), 1e-6)
    assert_near("unknown", answer("xyzzy dog"), answer("plugh dog"), 1e-6)
    together = answer("", "the cat", "xyzzy")
    assert_near(
        "alone", np.concatenate([answer(t) for t in ("", "the cat", "xyzzy")]), together, 1e-5
    )


@pytest.mark.parametrize("name", ["text_rnn LSTM", "text_rnn GRU", "transformer"])
def test_padding_says_nothing(name):
    """The vector of padding may be anything; but a transformer looks at the first place always."""
    build, _, _ = MODELS[name]
    model = build()
    before = model(tf.constant(TEXTS)).numpy()
    table = model.get_layer("embedding").weights[0]
    table.assign(tf.tensor_scatter_nd_update(table.value, [[0]], [np.full(table.shape[1], 9.0)]))
    assert_near("answer", model(tf.constant(TEXTS)), before, 1e-6)


# --- language model


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_writer_continues_where_it_was(cell):
    model = language_model(9, cell=cell, embedding=5, units=(4, 3))
    one = writer(model)
    whole = model.predict(IDS[:1], verbose=0)
    for _ in range(2):
        pieces = [one(IDS[:1, :3]), one(IDS[:1, 3:4]), one(IDS[:1, 4:])]
        assert_near("pieces", np.concatenate(pieces, axis=1), whole, 1e-5)
        for layer in one.layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()


def test_sample():
    from scripts.sample import sample

    ids = keras.Input(batch_shape=(1, None), dtype="int32")
    table = keras.layers.Embedding(4, 4)
    one = keras.Model(ids, keras.layers.Softmax()(table(ids)))
    table.set_weights([np.array([[0, 9, 0, 0], [9, 0, 9, 0], [0, 0, 0, 9], [0, 9, 0, 0]]) * 5.0])
    assert sample(one, "abc", length=5, temperature=0, start="?a") == "bcabc"
    assert sample(one, "abc", length=5, temperature=0, start="?") == "abcab"
    assert sample(one, "abc", length=5, temperature=1e-3, start="c") == "abcab"
    many = [sample(one, "abc", length=30, temperature=100, seed=seed) for seed in (0, 0, 1)]
    assert many[0] == many[1] != many[2]
    assert set(many[0]) == set("abc")


# --- translation


def translators(seed=0):
    keras.utils.set_random_seed(seed)
    model = seq2seq(9, 9, embedding=5, units=4)
    for w in model.trainable_weights:  # far from uniform, so that beams differ
        w.assign(3 * keras.random.normal(w.shape, seed=seed))
    return model, encoder(model), decoder(model)


def test_steps_of_the_decoder_are_the_trained_model():
    model, reader, step = translators()
    whole = model.predict([SHORT, IDS], verbose=0)
    states = reader.predict_on_batch(SHORT)
    for t in range(IDS.shape[1]):
        y, *states = step.predict_on_batch([IDS[:, t : t + 1], *states])
        assert_near("step", y, whole[:, t], 1e-5)


START, END = 7, 8


def score(model, source, ids):
    """Log probability of one translation, from the model as it is trained."""
    ids = [i for i in ids if i > 0]
    after = [*ids, END][: 6 if len(ids) == 6 else None]
    y = model([source[None], np.array([[START, *ids]])])[0].numpy()
    return sum(math.log(y[t, i]) for t, i in enumerate(after))


def test_greedy_takes_the_likeliest_each_time():
    model, reader, step = translators()
    ours = translate(reader, step, SHORT, start=START, end=END, length=6)
    for source, row in zip(SHORT, ours, strict=True):
        ids = []
        while len(ids) < 6:
            y = model([source[None], np.array([[START, *ids]])])[0, -1].numpy()
            y[[0, START]] = 0
            if y.argmax() == END:
                break
            ids.append(int(y.argmax()))
        assert [i for i in row if i > 0] == ids


def test_wider_beams_find_what_is_likelier():
    model, reader, step = translators(3)
    options = {"start": START, "end": END, "length": 6}
    found = {
        beams: [score(model, s, row) for s, row in zip(
            SHORT, translate(reader, step, SHORT, beams=beams, **options), strict=True)]
        for beams in (1, 64)
    }  # fmt: skip
    assert all(wide >= narrow - 1e-4 for narrow, wide in zip(found[1], found[64], strict=True))
    assert sum(found[64]) > sum(found[1]) + 1e-2


def test_translations_hold_no_marks():
    _, reader, step = translators()
    ids = translate(reader, step, SHORT, start=START, end=END, length=4, beams=3)
    assert ids.shape[0] == 5
    assert ids.shape[1] <= 4
    assert not np.isin(ids, [START, END]).any()
    for row in ids:  # padding only at the end
        assert (np.diff((row == 0).astype(int)) >= 0).all()


def test_loss_of_translation_leaves_padding_out():
    model = compiled(seq2seq(9, 9, embedding=5, units=4, dropout=0.0))
    y = model.predict([SHORT, SHORT], verbose=0)
    nats = -np.log(np.take_along_axis(y, SHORT[..., None], -1)[..., 0])
    assert_near(
        "loss", model.evaluate([SHORT, SHORT], SHORT, verbose=0), nats[SHORT > 0].mean(), 1e-5
    )


# --- forecasts


def test_forecaster_works_in_the_units_of_the_series():
    model = forecaster(11, 4, mean=100.0, variance=25.0)
    x = np.full((2, 11), 100.0, "float32")
    plain = forecaster(11, 4)
    plain.set_weights(model.get_weights())
    assert_near(
        "scaled", model.predict(x, verbose=0), 100 + 5 * plain.predict(x * 0, verbose=0), 1e-4
    )


@pytest.mark.parametrize("history", [1, 2, 11, 16])
def test_convolutions_see_the_whole_history(history):
    model = forecaster(history, 1, kind="Conv1D", units=8)
    x = tf.Variable(RNG.standard_normal((1, history)).astype("float32"))
    for w in model.trainable_weights:
        w.assign(tf.abs(w.value) + 0.1)  # no dead ReLU
    x.assign(tf.abs(x))
    with tf.GradientTape() as tape:
        y = model(x)
    assert (np.abs(tape.gradient(y, x)) > 0).all()
