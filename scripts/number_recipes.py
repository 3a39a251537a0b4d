"""The recipes of series, signals and tables."""

import functools

from scripts.image_recipes import confusion, with_classes
from scripts.recipe import Recipe, later


def series(name, history, horizon, season):
    return later(
        "scripts.data.series", "load_series", name, history=history, horizon=horizon, season=season
    )


def forecaster(kind, **fixed):
    make = later("models.forecaster", "forecaster", kind=kind, **fixed)
    return lambda data, **options: make(
        data.history, data.horizon, mean=data.mean, variance=data.variance, **options
    )


forecast = functools.partial(
    Recipe,
    loss="mean_absolute_error",
    metrics=("mae",),
    figure="mae",
    better="min",
    measure=later("scripts.forecasts", "measure"),
    baseline=later("scripts.forecasts", "baseline"),
    pictures=later("scripts.forecasts", "pictures"),
    dropout=0.0,
    l2=0.0,
)


def signals(name, **options):
    return later("scripts.data.signals", "load_signals", name, **options)


def sequence_classifier(**fixed):
    make = later("models.sequence_classifier", "sequence_classifier", **fixed)
    return lambda data, **options: make(data.shape, len(data.classes), rate=data.rate, **options)


def confusion_and_signals(model, data):
    from scripts.sequence_plots import signals

    return {**confusion(model, data), "signals.png": signals(data)}


commonest_class = later("scripts.baselines", "commonest_class")

signal_classification = functools.partial(
    Recipe,
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    baseline=commonest_class,
    pictures=confusion_and_signals,
)


def table(name, **options):
    return later("scripts.data.tables", "load_table", name, **options)


def mlp(*units):
    make = with_classes("mlp", units=units)
    return lambda data, **options: make(data, moments=data.moments, **options)


table_classification = functools.partial(
    Recipe,
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    baseline=commonest_class,
    pictures=confusion,
    model=mlp(32, 32),
    epochs=60,
    batch_size=16,
    l2=1e-3,
)

SMARTWATCH = {
    "length": 51,
    "channels": ("accel_x", "accel_y", "accel_z"),
    "people": ("participant", (6,), (7, 8)),
}

NUMBER_RECIPES = {
    "mackey-glass-gru": forecast(
        about="a chaotic series (5000 values), the next 50 of them, GRU",
        data=series("mackey_glass", 100, 50, 50),
        model=forecaster("GRU"),
        offline=True,
        learning_rate=5e-3,
    ),
    "mackey-glass-convnet": forecast(
        about="a chaotic series (5000 values), the next 50 of them, causal convolutions",
        data=series("mackey_glass", 100, 50, 50),
        model=forecaster("Conv1D"),
        offline=True,
        learning_rate=5e-3,
    ),
    "temperatures-gru": forecast(
        about="lowest temperatures of Melbourne (3650 days), those of the next week, GRU",
        data=series("daily_min_temperatures", 60, 7, 365),
        model=forecaster("GRU"),
    ),
    "tones": signal_classification(
        about="shape of a generated sound (1500 sounds), convolutions and a GRU",
        data=signals("tones", length=4000),
        model=sequence_classifier(),
        offline=True,
        epochs=30,
        batch_size=32,
        learning_rate=3e-3,
        dropout=0.1,
    ),
    "spoken-digits": signal_classification(
        about="digits spoken by a few people (2500 sounds), convolutions and a GRU",
        data=signals("spoken_digit", length=8000),
        model=sequence_classifier(),
        batch_size=32,
    ),
    "speech-commands": signal_classification(
        about="12 spoken words (100,503 sounds), convolutions and a GRU",
        data=signals("speech_commands", length=16000),
        model=sequence_classifier(filters=(64, 128), units=128),
        epochs=10,
        batch_size=128,
    ),
    "gestures": signal_classification(
        about="gestures of a hand with a smartwatch (3251 gestures, 20 classes), tested on people "
        "that were not trained on, convolutions and a GRU",
        data=signals("smartwatch_gestures", turn=0.25, **SMARTWATCH),
        model=sequence_classifier(filters=(64, 128), units=128),
        epochs=40,
        batch_size=32,
        learning_rate=2e-3,
        dropout=0.3,
    ),
    "breast-cancer-mlp": table_classification(
        about="benign and malignant tumors (569, from scikit-learn), multi-layer perceptron",
        data=table("breast_cancer"),
        offline=True,
    ),
    "wine-mlp": table_classification(
        about="three cultivars of wine (178, from scikit-learn), multi-layer perceptron",
        data=table("wine"),
        offline=True,
    ),
    "penguins-mlp": table_classification(
        about="three species of penguins (344), multi-layer perceptron",
        data=table("penguins/simple"),
    ),
    "german-credit-mlp": table_classification(
        about="who paid a credit back (1000 people), multi-layer perceptron",
        data=table("german_credit_numeric"),
    ),
    "titanic-mlp": table_classification(
        about="who survived the Titanic (1309 people), multi-layer perceptron",
        # A body was numbered only when found: it tells who died.
        data=table("titanic", without=("body",)),
    ),
}
