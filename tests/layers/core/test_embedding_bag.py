"""EmbeddingBag: a weighted sum of rows, which is the product of a sparse matrix and the table."""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near, check_backward
from custom_layers.core.embedding_bag import EmbeddingBag

RNG = np.random.default_rng(0)
IDS = np.array([[3, 1, -1], [0, 0, 6], [-1, -1, -1], [5, -1, 2], [-2, 4, 4]])


def bags_of(ids, weights):
    matrix = np.zeros((*ids.shape[:-1], 7))
    for place in np.ndindex(ids.shape):
        if ids[place] >= 0:
            matrix[(*place[:-1], ids[place])] += weights[place]
    return matrix


@pytest.mark.parametrize("shape", [(5, 3), (15,), (1, 5, 3), (5, 1, 3), (3, 5)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_equation_and_backward(shape, weighted):
    ids, weights = IDS.reshape(shape), RNG.standard_normal(shape)
    inputs = [ids, weights] if weighted else ids
    layer = EmbeddingBag(7, 2, dtype="float64")
    matrix = bags_of(ids, weights if weighted else np.ones(shape))
    y = layer(inputs)
    assert_near("output", y, matrix @ layer.embeddings.numpy())
    assert layer.compute_output_shape(tf.nest.map_structure(np.shape, inputs)) == y.shape
    check_backward(layer, inputs)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)], ids=str)
def test_nothing_at_all(shape):
    layer = EmbeddingBag(7, 2)
    for inputs in (np.zeros(shape, "int32"), [np.zeros(shape, "int32"), np.zeros(shape)]):
        y = layer(inputs)
        assert y.shape == (shape[0], 2)
        assert not np.asarray(y).any()


def test_wrong_inputs():
    with pytest.raises(ValueError, match="`input_dim` must be a positive integer"):
        EmbeddingBag(0, 2)
    with pytest.raises(ValueError, match="ids of EmbeddingBag must be integers"):
        EmbeddingBag(7, 2)(IDS.astype("float32"))
    with pytest.raises(ValueError, match="a weight for each id"):
        EmbeddingBag(7, 2)([IDS, np.ones((5, 2))])
    with pytest.raises(tf.errors.InvalidArgumentError, match="not below input_dim=6"):
        EmbeddingBag(6, 2)(IDS)
    layer = EmbeddingBag(6, 2)
    layer(IDS - 1)
    compiled = tf.function(layer, jit_compile=True)
    assert np.isnan(compiled(tf.constant(IDS))).all()
    assert np.isfinite(compiled(tf.constant(IDS - 1))).all()
