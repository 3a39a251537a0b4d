"""Tasks: what is measured, by hand on a few numbers; what the pictures show."""

import itertools
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from scripts.data.nodes import Nodes
from scripts.tasks import (
    classes,
    detection,
    forecasts,
    generation,
    language,
    nodes,
    plots,
    questions,
    recommendations,
    reconstruction,
    segmentation,
)
from scripts.tasks.forecasts import naive_forecast, seasonal_forecast
from scripts.tasks.translation import bleu


class Parts:
    """Data that a baseline looks at."""

    def __init__(self, train, test, classes=()):
        self.train, self.test = (
            tf.data.Dataset.from_tensor_slices(x).batch(3) for x in (train, test)
        )
        self.classes = classes


def test_baselines_by_hand():
    x = np.zeros((4, 1), "float32")
    data = Parts((x, [1, 1, 0, 2]), (x, [1, 0, 0, 0]), "abc")
    assert classes.commonest_class(data) == ("commonest class", 0.25)
    masks = np.array([[[0, 0], [0, 1]], [[0, 0], [2, 2]]])
    data = Parts((x[:2], masks), (x[:2], masks), "abcd")
    name, figure = segmentation.baseline(data)
    assert (name, figure) == ("all background", 5 / 8 / 3)  # class 3 does not occur
    overlap = keras.metrics.MeanIoU(4, sparse_y_pred=False)
    overlap(masks, np.broadcast_to([1.0, 0, 0, 0], (2, 2, 2, 4)))
    assert_near("Keras's metric of the same", float(overlap.result()), figure, 1e-6)
    images = np.float32([[0], [1], [2]])[..., None, None]
    data = Parts((images, images), (images[:1], images[:1]))
    assert reconstruction.baseline(data) == ("the mean image", 1.0)


def test_nearest_mean():
    x = np.array([[0.0, 0], [0, 2], [9, 9], [9, 7], [1, 1], [8, 8], [4, 4]])
    data = Parts((x[:4], [0, 0, 1, 1]), (x[4:], [0, 1, 1]))
    assert classes.nearest_mean(data) == ("nearest class mean", pytest.approx(2 / 3))


def test_naive_bayes():
    texts = np.array([b"good film", b"bad film", b"bad plot", "güt".encode()])
    data = Parts((texts, [1, 0, 0, 1]), (np.array([b"bad", b"good good", b"plot"]), [0, 1, 1]))
    assert classes.naive_bayes(data) == ("naive Bayes", pytest.approx(2 / 3))


def test_overlaps():
    a = np.array([[0, 0, 2, 2.0], [0, 0, 1, 1]])
    b = np.array([[0, 0, 2, 2.0], [1, 1, 3, 3], [5, 5, 6, 6]])
    assert_near("overlaps", detection.overlaps(a, b), [[1, 1 / 7, 0], [1 / 4, 0, 0]])
    assert detection.overlaps(a[:0], b).shape == (0, 3)


def test_average_precision_by_hand():
    # precision 1, 1/2, 2/3, 2/4, 3/5 at recall 1/4, 1/4, 2/4, 2/4, 3/4
    area = 1 / 4 * 1 + 1 / 4 * 2 / 3 + 1 / 4 * 3 / 5
    hits = np.array([True, False, True, False, True])
    assert_near("area", detection.average_precision(hits, 4), area)
    assert detection.average_precision(np.array([], bool), 4) == 0


def test_mean_average_precision():
    box, far = np.array([[0, 0, 0.5, 0.5]]), np.array([[0.5, 0.5, 1, 1]])
    truth = [(np.concatenate([box, far]), np.array([0, 1])), (box, np.array([0]))]

    def found(boxes, labels, scores):
        return np.reshape(boxes, (-1, 4)), np.array(labels, int), np.array(scores)

    nothing = found([], [], [])
    assert detection.mean_average_precision(truth, [nothing, nothing]) == 0
    all_right = [found([box, far], [0, 1], [0.3, 0.9]), found([box], [0], [0.2])]
    assert detection.mean_average_precision(truth, all_right) == 1
    # One box found twice: the second is a miss, which comes before the hit in the other image.
    twice = [found([box, box, far], [0, 0, 1], [0.9, 0.8, 0.9]), found([box], [0], [0.2])]
    assert_near("twice", detection.mean_average_precision(truth, twice), (5 / 6 + 1) / 2)
    # Class 2 does not occur: it has no precision. The wrong class and the wrong place miss.
    wrong = [found([box, box], [2, 1], [0.9, 0.8]), found([far], [0], [0.9])]
    assert detection.mean_average_precision(truth, wrong) == 0


def test_frechet_distance_of_normal_distributions():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 3))
    assert_near("same", generation.frechet_distance(x, x), 0.0, 1e-8)
    assert_near("moved", generation.frechet_distance(x, x + [1, 2, 0]), 5.0, 1e-8)
    spread = x.std(0, ddof=1)  # deviations s and 3 s differ by 2 s
    wide = x.mean(0) + 3 * (x - x.mean(0))
    assert_near("wider", generation.frechet_distance(x, wide), np.sum(4 * spread**2), 1e-8)


def test_neighbor_accuracy():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 200, 4, 4, 1))
    assert 0.4 < generation.neighbor_accuracy(x, y) < 0.6
    assert generation.neighbor_accuracy(x, y + 5) == 1
    assert generation.neighbor_accuracy(x, x + 1e-9) == 0  # copies


def test_unigram():
    def part(*ids):
        return tf.data.Dataset.from_tensors((np.array([ids]), np.array([ids])))

    # counts 3, 1, 0 and one more each
    expected = -(np.log(4 / 7) + np.log(1 / 7)) / 2
    data = types.SimpleNamespace(train=part(0, 0, 0, 1), test=part(0, 2), characters="ab")
    assert language.baseline(data) == ("unigram", pytest.approx(expected))


def test_naive_forecasts():
    values, begins = np.arange(100.0) % 7, np.array([50, 51])
    np.testing.assert_array_equal(naive_forecast(values, begins, 3), [[0, 0, 0], [1, 1, 1]])
    seasonal = seasonal_forecast(values, begins, 17, 7)  # further than one season
    np.testing.assert_array_equal(seasonal, values[begins[:, None] + np.arange(17)])
    assert seasonal_forecast(np.arange(9.0), np.array([4]), 5, 3).tolist() == [[1, 2, 3, 1, 2]]


def test_forecast_errors():
    data = types.SimpleNamespace(
        values=np.array([0.0, 1, 0, 1, 0, 1]), begins=np.array([3, 4]), horizon=2, season=2
    )
    assert forecasts.errors(data) == {"naive": 0.5, "seasonal naive": 0.0}
    assert forecasts.baseline(data) == ("seasonal naive", 0.0)


def test_bleu():
    the = ["the", "the", "the", "the", "the", "the", "the"]
    cat = ["the", "cat", "is", "on", "the", "mat"]
    assert bleu([cat], [cat]) == 1
    assert bleu([the], [["a", "dog"]]) == 0
    assert bleu([[]], [cat]) == 0
    assert_near("clipped", bleu([the], [cat], n=1), 2 / 7, 1e-12)  # the paper's example 2
    # 5 of 6 words, 3 of 5, 1 of 4, 0 of 3: without smoothing one zero makes all zero
    other = ["the", "cat", "was", "on", "the", "mat"]
    assert bleu([other], [cat]) == 0
    assert_near("three", bleu([other], [cat], n=3), (5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3), 1e-12)
    assert_near("short", bleu([cat[:4]], [cat]), math.exp(1 - 6 / 4), 1e-12)
    assert bleu([cat + cat], [cat + cat]) == 1
    # lengths count over the corpus: one short and one long make up for each other
    assert_near("corpus", bleu([cat[:5], cat], [cat, cat[:5]], n=1), 10 / 11, 1e-12)


def test_average_precision_by_task():
    truth = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 1], [0, 0, 1]])
    weights = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [1, 1, 1]])
    guesses = np.array([[0.9, 0.5, 0.5], [0.8, 0.5, 0.5], [0.7, 0.5, 0.5], [0.1, 0.5, 0.5]])
    figures = questions.by_task(truth, weights, guesses)
    assert figures[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(figures[1:]).all()  # one kind of answer only


def test_label_propagation():
    """0 - 1 - 2   3 - 4   5: from 0 and 4; 5 hears of nobody and takes the commonest class."""
    pairs = np.array([[0, 1], [1, 2], [3, 4]])
    data = Nodes(
        name="chain", train=None, validation=None, test=None, features=1,
        classes=("a", "b"), ids=None, weights=None,
        edges=np.concatenate([pairs, pairs[:, ::-1]]),
        labels=np.array([0, 0, 0, 1, 1, 0]), split=np.array([0, 2, 2, 2, 0, 2]),
    )  # fmt: skip
    assert nodes.label_propagation(data) == ("label propagation", 1.0)
    assert nodes.commonest_class(data) == ("commonest class", 0.75)


def test_rank_figures():
    liked = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]], bool)
    scores = np.array([[5.0, 4, 3, 2, 1], [5, 4, 3, 2, 1]])
    found = recommendations.best(scores, np.array([[0, 1, 0, 0, 0], [0] * 5], bool), 3)
    assert found.tolist() == [[0, 2, 3], [0, 1, 2]]
    figures = recommendations.rank_figures(found, liked)
    assert figures == {"recall_20": 0.5, "ndcg_20": pytest.approx(0.5)}
    third = recommendations.rank_figures(np.array([[1, 3, 2]]), liked[:1])
    best = 1 + 1 / np.log2(3)
    assert third == {"recall_20": 0.5, "ndcg_20": pytest.approx(0.5 / best)}


@pytest.mark.parametrize(
    "classes",
    [["benign", "malignant"], [f"a gesture of the hand {i}" for i in range(20)],
     [f"what somebody may want {i}" for i in range(100)]],
    ids=len,
)  # fmt: skip
def test_names_of_classes_do_not_overlap(classes):
    everything = range(len(classes))
    picture = plots.confusion(everything, everything, classes, "smartwatch_gestures")
    picture.draw_without_rendering()
    (axes, _) = picture.axes
    assert len(axes.texts) == (len(classes) if len(classes) < plots.MANY else 0)
    whole = picture.bbox
    assert whole.x0 <= axes.title.get_window_extent().x0
    assert axes.title.get_window_extent().x1 <= whole.x1
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert all(box.x0 >= whole.x0 and box.y0 >= whole.y0 for box in boxes)
        if len(classes) > 2:  # those at 45 degrees have boxes that overlap, though not the names
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))


def test_confusion_counts():
    picture = plots.confusion([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], ["cat", "dog", "none"], "pets")
    axes = picture.axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "1", (1, 0): "1", (0, 1): "1", (1, 1): "2"}
    assert axes.get_title() == "pets, test: 3 of 5 right (60.00%)"
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["cat  (n=2, 50%)", "dog  (n=3, 67%)", "none  (n=0, 0%)"]
