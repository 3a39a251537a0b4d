"""The rule on NaN and infinities, for every layer, forward and backward.

    What counts shows.     A NaN among the numbers that an output depends on makes it NaN; the
                           other outputs, and the gradients of what they alone depend on, stay.
    What is masked or padding has no influence, whatever it holds.

An infinity is a number as others are: IEEE arithmetic says what becomes of it (test_extremes.py
compares with Keras). Masked are steps and nodes under a Keras mask that is False; padding are edges
with a negative entry, negative ids, and nodes with a negative `graph_ids`, with the value or weight
that belongs to them.
"""

import numpy as np
import pytest
import tensorflow as tf

from custom_layers.checks import assert_near
from tests.promises.every_layer import LONG, ROWS
from tests.promises.test_extremes import MODES, has_floats, is_random, tensors

PLACES = 10
SHORT = {"Dense", "Conv2D", "MaxPooling2D", "Softmax", "GraphConv", "GlobalMaxPooling1D"}


def function_of(layer, **call):
    """inputs, dy -> outputs, gradients of the float inputs, gradients of the weights."""

    def run(inputs, dy):
        points = [x for x in tf.nest.flatten(inputs) if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = tf.nest.flatten(layer(inputs, training=not is_random(layer), **call))
        weights = [w.value for w in layer.trainable_variables]
        slopes = tape.gradient(y, points + weights, dy, "zero")
        slopes = [tf.convert_to_tensor(g) for g in slopes]
        return y, slopes[: len(points)], slopes[len(points) :]

    return run


def is_long(name, mode):
    return name not in SHORT and (mode != "graph" or name in LONG)


def slow_if(condition):
    return [pytest.mark.long] if condition else []


# What is still wrong, until it is mended: (row, mode) or (row, mode, "padding"), and why.
KNOWN = {
    ("Softmax", "eager"): "oneDNN's softmax returns 0 for other entries of a row that holds NaN",
    ("Softmax", "graph"): "oneDNN's softmax returns 0 for other entries of a row that holds NaN",
    ("Conv2D", "graph"): "a graph on a CPU makes one kernel of oneDNN of Conv2D and ReLU: NaN -> 0",
}
# The weight of a node that is alone in its graph is 1, whatever its score: no output moves.
NOT_MOVED = {"GraphAttentionPooling"}

COUNTING = [
    pytest.param(name, mode, marks=slow_if(is_long(name, mode)))
    for name, row in ROWS.items()
    if has_floats(row) and name not in NOT_MOVED
    for mode in MODES
]


def known(request, *case):
    if case in KNOWN:
        mark = pytest.mark.xfail(strict=True, reason=KNOWN[case], raises=AssertionError)
        request.applymarker(mark)


@pytest.mark.parametrize(("name", "mode"), COUNTING)
def test_what_counts_shows(name, mode, request):
    known(request, name, mode)
    inputs = tensors(ROWS[name].inputs, "float32")
    layer = ROWS[name].make(dtype="float32")
    layer(inputs)
    start = layer.get_weights()
    flat = tf.nest.flatten(inputs)
    floats = [i for i, x in enumerate(flat) if x.dtype.is_floating]
    function = MODES[mode](function_of(layer))

    def run(which, place, change):
        layer.set_weights(start)  # moving averages move
        changed = list(flat)
        if which is not None:
            x = flat[which].numpy()
            x.flat[place] = change(x.flat[place])
            changed[which] = tf.constant(x)
        y, dx, _ = function(tf.nest.pack_sequence_as(inputs, changed), dy)
        return [p.numpy() for p in y], [p.numpy() for p in dx]

    y = tf.nest.flatten(layer(inputs, training=not is_random(layer)))
    dy = [tf.random.normal(part.shape, seed=1) for part in y]
    y, dx = run(None, 0, None)
    rng = np.random.default_rng(0)
    for which in floats:
        size = int(tf.size(flat[which]))
        for place in rng.choice(size, min(size, PLACES // len(floats)), replace=False):
            moved = [run(which, place, f)[0] for f in (lambda v: v + 1e6, lambda v: v - 1e6)]
            found, slopes = run(which, place, lambda v: np.nan)
            for i, part in enumerate(y):
                depends = np.any([m[i] != part for m in moved], axis=0)
                assert np.isnan(found[i][depends]).all(), f"NaN at {place} of input {which} hides"
                assert_near("an output that does not depend", found[i][~depends], part[~depends])
            rows = [~np.isnan(p).reshape(len(p), -1).any(1) for p in found]
            if isinstance(ROWS[name].inputs, list):
                continue  # nodes of one graph depend on each other
            whole = np.all(rows, axis=0)
            assert_near("dx of other rows", slopes[0][whole], dx[0][whole])


def masked(name):
    """Inputs, the mask, and for each float input the entries that are masked or padding."""
    inputs, mask = ROWS[name].inputs, None
    if not isinstance(inputs, list):
        mask = np.ones(inputs.shape[:2], bool)
        mask[0, 1:3] = mask[1, :2] = mask[2, -2:] = False
        if name == "Softmax":
            return inputs, mask, [~mask]
        return inputs, mask, [np.broadcast_to(~mask[..., None], inputs.shape)]
    nodes, second, *third = (np.array(x) for x in inputs)
    if name == "EmbeddingBag":
        return inputs, None, [nodes < 0]
    if name.endswith("Pooling"):
        second[1] = -1
        padding = np.broadcast_to((second < 0)[:, None], nodes.shape)
        return [nodes, second, *third], None, [padding, np.zeros(third[0].shape, bool)]
    mask = np.ones(nodes.shape[:2], bool)
    mask[0, 1] = mask[1, 0] = mask[2, -1] = False
    padding = [np.broadcast_to(~mask[..., None], nodes.shape)]
    for value in third:
        if value.dtype.kind == "f":
            edge = (second < 0).any(-1)
            padding.append(
                np.broadcast_to(edge.reshape(edge.shape + (1,) * (value.ndim - 2)), value.shape)
            )
    return [nodes, second, *third], mask, padding


ATTENTION = {"Attention", "AdditiveAttention", "MultiHeadAttention", "GroupedQueryAttention"}
OF_KERAS = {"LSTMCell", "GRUCell", "SimpleRNNCell"}  # the loop is that of keras.layers.RNN
MASKED = [
    name
    for name, row in ROWS.items()
    if isinstance(row.inputs, list)
    or name.partition(" ")[0] in {"LSTM", "GRU", "SimpleRNN", "RNN", "Softmax"}
    or name in {"GlobalMaxPooling1D", "GlobalAveragePooling1D", "GlobalSumPooling1D"}
    or name in {"BatchNormalization", *ATTENTION}
]
PADDING = [
    pytest.param(name, mode, marks=slow_if(is_long(name, mode)))
    for name in MASKED
    for mode in MODES
]


@pytest.mark.parametrize(("name", "mode"), PADDING)
def test_padding_has_no_influence(name, mode, request):
    known(request, name, mode, "padding")
    inputs, mask, padding = masked(name)
    layer = ROWS[name].make(dtype="float32")
    layer(tensors(inputs, "float32"))
    start = layer.get_weights()
    call = {} if mask is None else {"mask": tf.constant(mask)}
    function = MODES[mode](function_of(layer, **call))
    y = tf.nest.flatten(layer(tensors(inputs, "float32"), **call))
    dy = [tf.random.normal(part.shape, seed=1) for part in y]
    outside = None
    if name in {"BatchNormalization", "Softmax", *ATTENTION}:  # where masked, an output is nobody's
        outside = padding[0]
        dy = [tf.where(outside, 0.0, dy[0])]

    def run(value):
        layer.set_weights(start)
        flat, left = [], list(padding)
        for x in tf.nest.flatten(inputs):
            hide = left.pop(0) if x.dtype.kind == "f" and left else None
            flat.append(x if hide is None else np.where(hide, np.float32(value), x))
        packed = tensors(tf.nest.pack_sequence_as(inputs, flat), "float32")
        y, dx, dw = function(packed, dy)
        y = y if outside is None else [tf.where(outside, 0.0, y[0])]
        return (
            y,
            dx,
            [*dw, *(w.value for w in layer.non_trainable_variables if "seed" not in w.path)],
        )

    right = run(0.0)
    for value in (np.nan, np.inf, -np.inf, 3e38):
        found = run(value)
        for kind, parts, others in zip(("output", "dx", "weight"), found, right, strict=True):
            for i, (a, b) in enumerate(zip(parts, others, strict=True)):
                assert_near(f"{kind} {i} with {value} where masked", a, b, 1e-5)
        for dx, hide in zip(found[1], padding, strict=False):
            assert not np.any(dx.numpy()[hide]), "what is masked has a gradient"
