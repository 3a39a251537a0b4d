"""Baselines of texts, translations and series: what is reached without learning layers."""

import collections

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB


def naive_bayes(train, test):
    """Accuracy on `test` of naive Bayes over the counts of words."""

    def read(data):
        texts, labels = zip(*data.as_numpy_iterator(), strict=True)
        return [text.decode() for text in np.concatenate(texts)], np.concatenate(labels)

    texts, labels = read(train)
    counter = CountVectorizer()
    bayes = MultinomialNB().fit(counter.fit_transform(texts), labels)
    texts, labels = read(test)
    return float(bayes.score(counter.transform(texts), labels))


def unigram(train, test, vocabulary):
    """Nats a symbol on `test`, when each is foretold by how often it occurs in `train`."""

    def counts(data):
        return sum(
            np.bincount(y.ravel(), minlength=vocabulary) for _, y in data.as_numpy_iterator()
        )

    frequencies = counts(train) + 1.0  # what never occurs is not impossible
    seen = counts(test)
    return float(-(seen * np.log(frequencies / frequencies.sum())).sum() / seen.sum())


def commonest(train):
    """The target that occurs most often in `train`, as a tuple of ids without padding."""
    counts = collections.Counter(
        tuple(row[row > 0].tolist()) for _, y in train.as_numpy_iterator() for row in y
    )
    return counts.most_common(1)[0][0]


def naive_forecast(values, begins, horizon):
    """The last known value, for all of the `horizon`."""
    return np.repeat(values[begins - 1][:, None], horizon, axis=1)


def seasonal_forecast(values, begins, horizon, season):
    """The values of one season ago, or of as many seasons as it takes to be known."""
    ahead = np.arange(horizon)
    return values[begins[:, None] + ahead - season * (ahead // season + 1)]
