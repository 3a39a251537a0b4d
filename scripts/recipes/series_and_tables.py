"""The recipes of series, signals and tables."""

import functools

from scripts.recipes.recipe import Data, Recipe, lazy, of_task, with_classes

series = functools.partial(
    Data,
    load=lazy("scripts.data.series", "load_series"),
    offline={"mackey_glass": {"history": 100, "horizon": 50, "season": 50}},
    tfds={"daily_min_temperatures": {"history": 60, "horizon": 7, "season": 365}},
    own={"series": (lazy("scripts.data.own.series", "load_own_series"), ("label",))},
)


def forecaster(kind, **fixed):
    make = lazy("models.forecaster", "forecaster", kind=kind, **fixed)
    return lambda data, **options: make(
        data.history, data.horizon, mean=data.mean, variance=data.variance, **options
    )


forecast = functools.partial(
    Recipe,
    task="forecasting",
    rival="seasonal naive or naive",
    loss="mean_absolute_error",
    metrics=("mae",),
    figure="mae",
    better="min",
    **of_task("forecasts", "measure", "baseline", "pictures"),
    dropout=0.0,
    l2=0.0,
)


SMARTWATCH = {
    "length": 51,
    "channels": ("accel_x", "accel_y", "accel_z"),
    "people": ("participant", (6,), (7, 8)),
}
signals = functools.partial(
    Data,
    load=lazy("scripts.data.signals", "load_signals"),
    offline={"tones": {"length": 4000}},
    tfds={
        "spoken_digit": {"length": 8000},
        "speech_commands": {"length": 16000},
        "smartwatch_gestures": {"turn": 0.25, **SMARTWATCH},
    },
)


def sequence_classifier(**fixed):
    make = lazy("models.sequence_classifier", "sequence_classifier", **fixed)
    return lambda data, **options: make(data.shape, len(data.classes), rate=data.rate, **options)


signal_classification = functools.partial(
    Recipe,
    task="signal classification",
    shows=("Conv1D", "MaxPooling1D", "GRU"),
    rival="commonest class",
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    **of_task("classes", baseline="commonest_class", pictures="pictures_of_signals"),
)


table = functools.partial(
    Data,
    load=lazy("scripts.data.tables", "load_table"),
    offline={"breast_cancer": {}, "wine": {}},
    own={"csv": (lazy("scripts.data.own.frames", "load_csv"), ("label",))},
    tfds={
        "penguins/simple": {},
        "german_credit_numeric": {},
        "titanic": {"without": ("body",)},  # the number of a body: it reveals who died
    },
)


def mlp(*units):
    make = with_classes("mlp", units=units)
    return lambda data, **options: make(data, moments=data.moments, **options)


table_classification = functools.partial(
    Recipe,
    task="table classification",
    shows=("Dense", "Dropout"),
    rival="commonest class",
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    **of_task("classes", "pictures", baseline="commonest_class"),
    model=mlp(32, 32),
    epochs=60,
    batch_size=16,
    l2=1e-3,
)

NUMBER_RECIPES = {
    "mackey-glass-gru": forecast(
        about="a chaotic series (5000 values), the next 50 of them, GRU",
        data=series("mackey_glass"),
        model=forecaster("GRU"),
        shows=("GRU", "Dense"),
        learning_rate=5e-3,
        short=4,
    ),
    "mackey-glass-convnet": forecast(
        about="a chaotic series (5000 values), the next 50 of them, causal convolutions",
        data=series("mackey_glass"),
        model=forecaster("Conv1D"),
        shows=("Conv1D", "Dense"),
        learning_rate=5e-3,
        short=4,
    ),
    "temperatures-gru": forecast(
        about="daily minimum temperatures of Melbourne (3650 days), the next week, GRU",
        data=series("daily_min_temperatures"),
        model=forecaster("GRU"),
        shows=("GRU", "Dense"),
    ),
    "tones": signal_classification(
        about="shape of a generated sound (1500 sounds), convolutions and a GRU",
        data=signals("tones"),
        model=sequence_classifier(),
        epochs=30,
        short=12,
        batch_size=32,
        learning_rate=3e-3,
        dropout=0.1,
    ),
    "spoken-digits": signal_classification(
        about="digits spoken by a few people (2500 sounds), convolutions and a GRU",
        data=signals("spoken_digit"),
        model=sequence_classifier(),
        batch_size=32,
    ),
    "speech-commands": signal_classification(
        about="12 spoken words (100,503 sounds), convolutions and a GRU",
        data=signals("speech_commands"),
        model=sequence_classifier(filters=(64, 128), units=128),
        epochs=10,
        batch_size=128,
    ),
    "gestures": signal_classification(
        about="hand gestures with a smartwatch (3251 gestures, 20 classes), tested on people "
        "unseen in training, convolutions and a GRU",
        data=signals("smartwatch_gestures"),
        model=sequence_classifier(filters=(64, 128), units=128),
        epochs=40,
        batch_size=32,
        learning_rate=2e-3,
        dropout=0.3,
    ),
    "breast-cancer-mlp": table_classification(
        about="benign and malignant tumors (569, from scikit-learn), multi-layer perceptron",
        data=table("breast_cancer"),
        short=30,
    ),
    "wine-mlp": table_classification(
        about="three cultivars of wine (178, from scikit-learn), multi-layer perceptron",
        data=table("wine"),
        short=30,
    ),
    "penguins-mlp": table_classification(
        about="three species of penguins (344), multi-layer perceptron",
        data=table("penguins/simple"),
    ),
    "german-credit-mlp": table_classification(
        about="who paid back a loan (1000 people), multi-layer perceptron",
        data=table("german_credit_numeric"),
    ),
    "titanic-mlp": table_classification(
        about="who survived the Titanic (1309 people), multi-layer perceptron",
        data=table("titanic"),
    ),
}
