"""Models of texts and series: defined at the edges, translations and forecasts by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from models.forecaster import forecaster
from models.language_model import language_model, writer
from models.seq2seq import decoder, encoder, seq2seq, translate
from models.text_convnet import text_convnet
from models.text_rnn import text_rnn
from models.transformer import transformer

TEXTS = ["the cat sat on the mat", "a dog", "the dog sat", "cats and dogs and cats", "on a mat the"]


def vectorizer():
    layer = keras.layers.TextVectorization(output_sequence_length=7, name="words")
    layer.adapt(tf.constant(TEXTS))
    return layer


RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 9, (5, 7)).astype("int32")
SHORT = np.where(np.arange(7) < np.array([[7], [3], [5], [1], [6]]), IDS, 0)
TEXT_MODELS = {
    "text_convnet": lambda: text_convnet(vectorizer(), 3, embedding=5, widths=(2, 3), filters=4),
    "text_rnn LSTM": lambda: text_rnn(vectorizer(), 3, embedding=5, units=4),
    "text_rnn GRU": lambda: text_rnn(vectorizer(), 3, cell="GRU", embedding=5, units=4),
    "text_rnn SimpleRNN": lambda: text_rnn(vectorizer(), 3, cell="SimpleRNN", embedding=5, units=4),
    "transformer": lambda: transformer(vectorizer(), 3, heads=2, width=6, hidden=5),
}


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_texts_at_the_edges(name):
    model = TEXT_MODELS[name]()

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
    model = TEXT_MODELS[name]()
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
    model = seq2seq(9, 9, embedding=5, units=4, dropout=0.0)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
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
