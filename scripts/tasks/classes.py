"""classes: which class an image, video, text, signal, table row or graph is of."""

import warnings

import numpy as np
from matplotlib.figure import Figure
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline

from scripts.tasks import plots


def examples(part):
    """All examples of a pipeline, one per row, and their labels."""
    x, labels = (np.concatenate(column) for column in zip(*part.as_numpy_iterator(), strict=True))
    return x.reshape(len(x), -1), labels


def labels_of(part):
    return np.concatenate([labels for _, labels in part.as_numpy_iterator()])


def nearest_mean(data):
    """Accuracy on the test part of the class whose mean over the training part is nearest."""
    with warnings.catch_warnings():  # of constant features, such as black corners
        warnings.filterwarnings("ignore", "self.within_class_std_dev_", UserWarning)
        nearest = NearestCentroid().fit(*examples(data.train))
    return "nearest class mean", float(nearest.score(*examples(data.test)))


def commonest(train, test):
    """Accuracy on the labels `test` of the class that is most common in the labels `train`."""
    dummy = DummyClassifier(strategy="most_frequent").fit(train, train)
    return "commonest class", float(dummy.score(test, test))


def commonest_class(data):
    return commonest(labels_of(data.train), labels_of(data.test))


def naive_bayes(data):
    """Accuracy on the test part of naive Bayes over the counts of words."""
    (texts, labels), (others, truth) = examples(data.train), examples(data.test)
    bayes = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts.ravel(), labels)
    return "naive Bayes", float(bayes.score(others.ravel(), truth))


def also_naive_bayes(model, data):
    """A strong rival where texts are few, reported beside the baseline to beat."""
    return {"accuracy_naive_bayes": naive_bayes(data)[1]}


def pictures(model, data):
    """The confusion matrix."""
    pairs = [(y.numpy(), model.predict_on_batch(x).argmax(-1)) for x, y in data.test]
    truth, predicted = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return {"confusion.png": plots.confusion(truth, predicted, data.classes, data.name)}


def pictures_of_signals(model, data):
    return {**pictures(model, data), "signals.png": signals(data)}


def signals(data):
    """One signal of each class, as it is and, for sounds, its spectrum over time."""
    found = {}
    for x, labels in data.test.as_numpy_iterator():
        for signal, label in zip(x, labels, strict=True):
            found.setdefault(int(label), signal)
    picture = Figure(figsize=(14, 1.5 + 1.3 * -(-len(found) // 4)), layout="constrained")
    picture.suptitle(f"{data.name}, test: one of each class")
    for place, (label, signal) in enumerate(sorted(found.items()), 1):
        axes = picture.add_subplot(-(-len(found) // 4), 4, place)
        if signal.ndim == 1:
            axes.specgram(signal + 1e-9, NFFT=256, Fs=data.rate, noverlap=128)
        else:
            axes.plot(signal, lw=1)
        sound = signal.ndim == 1
        axes.set_title(data.classes[label], fontsize=9)
        axes.set_xlabel("time (s)" if sound else "time (steps)", fontsize=7)
        axes.set_ylabel("frequency (Hz)" if sound else "value", fontsize=7)
        axes.tick_params(labelsize=6)
    return picture
