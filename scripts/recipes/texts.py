"""The recipes of texts: classes, language models, translation."""

import functools

from scripts.recipes.recipe import Data, Recipe, lazy, of_task

texts = functools.partial(
    Data,
    load=lazy("scripts.data.texts", "load_texts"),
    offline={"docstrings": {}},
    own={"texts": (lazy("scripts.data.own.texts", "load_own_texts"), ("label",))},
    tfds={
        "trec": {"keys": ("text", "label-coarse"), "length": 40},
        "imdb_reviews": {"length": 300},
        "ag_news_subset": {},
        "clinc_oos": {"keys": ("text", "intent", "intent_name"), "length": 32},
    },
)


def text_model(name, **fixed):
    """The function `name` of `models.name`, given the vectorizer and the classes of the data."""
    make = lazy(f"models.{name}", name, **fixed)
    return lambda data, **options: make(data.vectorizer, len(data.classes), **options)


text_classification = functools.partial(
    Recipe,
    task="text classification",
    rival="commonest class",
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    **of_task("classes", "pictures", measure="also_naive_bayes", baseline="commonest_class"),
    files=lambda data: {"vocabulary.txt": "\n".join(data.vectorizer.get_vocabulary()) + "\n"},
    epochs=10,
    batch_size=32,
    dropout=0.5,
    l2=0.0,
)
text_convnet = functools.partial(
    text_classification,
    model=text_model("text_convnet"),
    shows=("Embedding", "Conv1D", "GlobalMaxPooling1D"),
    **of_task("classes", baseline="naive_bayes"),
    rival="naive Bayes",
)


def characters(name, length):
    load = lazy("scripts.data.characters", "load_characters", length=length)
    return Data(name, load, {"stdlib_source": {}}, {"tiny_shakespeare": {}})


def language(cell, *units):
    make = lazy("models.language_model", "language_model", cell=cell, units=units)
    return lambda data, **options: make(len(data.characters) + 1, **options)


language_modeling = functools.partial(
    Recipe,
    task="language modeling",
    rival="unigram",
    loss="sparse_categorical_crossentropy",
    metrics=("sparse_categorical_crossentropy",),  # nats a character, without penalties
    figure="sparse_categorical_crossentropy",
    better="min",
    **of_task("language", "baseline", "pictures", "files"),
    learning_rate=4e-3,
    dropout=0.2,
    l2=0.0,
)


def pairs(name, *numbers):
    """The data set of that name; of `numbers`, those languages."""
    kinds = {"digits": "character", "words": "word"}
    return Data(
        name,
        lazy("scripts.data.pairs", "load_pairs"),
        {"numbers": {"languages": numbers, "symbols": tuple(map(kinds.get, numbers))}},
        {"ted_hrlr_translate/pt_to_en": {"languages": ("pt", "en"), "symbols": ("word", "word")}},
    )


def seq2seq(**fixed):
    make = lazy("models.seq2seq", "seq2seq", **fixed)
    return lambda data, **options: make(len(data.source), len(data.target) + 2, **options)


def translation(figure, **fixed):
    return Recipe(
        task="translation",
        shows=("LSTM", "Embedding"),
        rival="most similar source",
        loss="sparse_categorical_crossentropy",
        metrics=("accuracy",),
        figure=figure,
        baseline=lazy("scripts.tasks.translation", "baseline", figure),
        **of_task("translation", "measure", "pictures", "files"),
        dropout=0.1,
        l2=0.0,
        **fixed,
    )


TEXT_RECIPES = {
    "docstrings-convnet": text_convnet(
        about="chapter of a docstring of Python's library (6106 texts), convolutions over words",
        data=texts("docstrings"),
        epochs=15,  # after 10, the validation loss still falls
    ),
    "docstrings-lstm": text_classification(
        about="chapter of a docstring of Python's library (6106 texts), LSTM both ways",
        data=texts("docstrings"),
        model=text_model("text_rnn", cell="LSTM"),
        shows=("Embedding", "LSTM"),
        short=3,
    ),
    "docstrings-gru": text_classification(
        about="chapter of a docstring of Python's library (6106 texts), GRU both ways",
        data=texts("docstrings"),
        model=text_model("text_rnn", cell="GRU"),
        shows=("Embedding", "GRU"),
        short=3,
    ),
    "docstrings-transformer": text_classification(
        about="chapter of a docstring of Python's library (6106 texts), small transformer",
        data=texts("docstrings"),
        model=text_model("transformer"),
        shows=("Embedding", "LayerNormalization", "GlobalAveragePooling1D"),
        short=3,
    ),
    "trec-convnet": text_convnet(
        about="what a question asks for (5952 questions), convolutions over words",
        data=texts("trec"),
        model=text_model("text_convnet", widths=(2, 3, 4), embedding=200),
    ),
    "imdb-lstm": text_classification(
        about="film reviews, good or bad (50,000 texts), LSTM both ways",
        data=texts("imdb_reviews"),
        model=text_model("text_rnn", cell="LSTM"),
        shows=("Embedding", "LSTM"),
    ),
    "ag-news-convnet": text_convnet(
        about="topics of news (127,600 texts), convolutions over words",
        data=texts("ag_news_subset"),
        epochs=5,
        batch_size=128,
    ),
    "clinc-transformer": text_classification(
        about="what a user of an assistant wants (22,500 texts, 150 classes), small transformer",
        data=texts("clinc_oos"),
        model=text_model("transformer"),
        shows=("Embedding", "LayerNormalization", "GlobalAveragePooling1D"),
        epochs=20,
    ),
    "python-gru": language_modeling(
        about="characters of Python source (1.7 MB of its library), GRU",
        data=characters("stdlib_source", 100),
        model=language("GRU", 128),
        shows=("Embedding", "GRU"),
        epochs=3,
        short=1,
    ),
    "shakespeare-lstm": language_modeling(
        about="characters of Shakespeare (1.1 MB), LSTM",
        data=characters("tiny_shakespeare", 100),
        model=language("LSTM", 256),
        shows=("Embedding", "LSTM"),
        epochs=8,
        batch_size=32,
    ),
    "digits-to-words": translation(
        "bleu",
        about="numbers below a million written out in English (20,000), two LSTMs",
        data=pairs("numbers", "digits", "words"),
        model=seq2seq(units=128),
        epochs=20,
        short=10,
    ),
    "words-to-digits": translation(
        "exact",
        about="numbers below a million, from English to digits (20,000), two LSTMs",
        data=pairs("numbers", "words", "digits"),
        model=seq2seq(units=128),
        epochs=20,
        short=6,
    ),
    "portuguese-english": translation(
        "bleu",
        about="TED talks from Portuguese to English (54,000 sentences), two LSTMs",
        data=pairs("ted_hrlr_translate/pt_to_en", "digits", "words"),
        model=seq2seq(embedding=128, units=256),
        epochs=10,
    ),
}
