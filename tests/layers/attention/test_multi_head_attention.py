"""MultiHeadAttention, GroupQueryAttention: they drop in for Keras's, and their gradients hold."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers import GroupQueryAttention, MultiHeadAttention
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.convert import to_custom, to_keras

PAIRS = {cls.__name__: cls for cls in (MultiHeadAttention, GroupQueryAttention)}
TWINS = {
    "MultiHeadAttention": keras.layers.MultiHeadAttention,
    "GroupedQueryAttention": keras.layers.GroupQueryAttention,
}


def draw(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def some(*shape):
    mask = np.random.default_rng(1).random(shape) > 0.4
    mask[..., 0] = True  # each query sees a key
    return mask


def on_one(cls):
    """The class, called on a list of query, value and perhaps key."""

    @keras.saving.register_keras_serializable(package=f"tests_of_{cls.__module__}")
    class OnOne(cls):
        def build(self, shapes):
            super().build(*shapes)

        def call(
            self,
            inputs,
            attention_mask=None,
            return_attention_scores=False,
            training=None,
            use_causal_mask=False,
        ):
            masks = (None, None, None, attention_mask)
            inputs = inputs if len(inputs) == 3 else [*inputs, None]
            return super().call(*inputs, *masks, return_attention_scores, training, use_causal_mask)

        def compute_output_shape(self, first, *others):
            shapes = (first, *others) if others else first
            return super().compute_output_shape(*shapes)

        def compute_output_spec(self, inputs, **options):
            return super().compute_output_spec(*inputs, **options)

        _compute_attention = cls._compute_attention

    OnOne.__name__ = cls.__name__
    return OnOne


CASES = [  # class, arguments, call
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, {}),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "value_dim": 4, "use_gate": True, "output_shape": (2, 3)},
        {"use_causal_mask": True},
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 2, "use_bias": False, "sliding_window": 2},
        {"attention_mask": some(2, 5, 6) | (np.abs(np.arange(5)[:, None] - np.arange(6)) < 1)},
    ),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 2, "dropout": 0.5},
        {"return_attention_scores": True, "attention_mask": some(2, 5, 6)},
    ),
    ("GroupedQueryAttention", {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}, {}),
    (
        "GroupedQueryAttention",
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 1, "use_gate": True},
        {"use_causal_mask": True, "attention_mask": some(2, 5, 6)},
    ),
]


@pytest.mark.parametrize(("name", "arguments", "call"), CASES, ids=map(str, range(len(CASES))))
def test_twin(name, arguments, call):
    inputs = [draw(2, 5, 4, dtype="float32"), draw(2, 6, 4, dtype="float32", seed=1)]
    if arguments.get("value_dim"):
        inputs.append(draw(2, 6, 3, dtype="float32", seed=2))
    check_twin(on_one(PAIRS[name]), on_one(TWINS[name]), arguments, inputs, **call)


@pytest.mark.parametrize("axes", [2, (1, 2), -3])
def test_other_axes(axes):
    inputs = [draw(2, 3, 2, 4, dtype="float32")] * 2
    arguments = {"num_heads": 2, "key_dim": 3, "attention_axes": axes}
    check_twin(
        on_one(MultiHeadAttention),
        on_one(TWINS["MultiHeadAttention"]),
        arguments,
        inputs,
        return_attention_scores=True,
    )


@pytest.mark.parametrize("name", PAIRS)
def test_signature(name):
    check_signature(PAIRS[name], TWINS[name])


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (MultiHeadAttention, {"num_heads": 2, "key_dim": 2, "dropout": 0.3, "use_gate": True}),
        (
            GroupQueryAttention,
            {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1, "sliding_window": 2},
        ),
    ],
    ids=["MultiHeadAttention", "GroupQueryAttention"],
)
def test_backward(cls, arguments):
    layer = on_one(cls)(**arguments, bias_initializer="normal", seed=1, dtype="float64")
    check_backward(layer, [draw(2, 3, 4), draw(2, 4, 4)], use_causal_mask=True)


def test_masks_of_keras():
    """As Keras, where a query counts; and what is masked has no influence, whatever it holds."""
    x = draw(3, 5, 4, dtype="float32")
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    layer, twin = (cls(2, 3) for cls in (MultiHeadAttention, TWINS["MultiHeadAttention"]))
    layer.build(x.shape, x.shape), twin.build(x.shape, x.shape)
    twin.set_weights(layer.get_weights())

    def run(each, x):
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            masked = keras.layers.Masking()(x)
            masked._keras_mask = tf.constant(mask)
            y = each(masked, masked, use_causal_mask=True)
            y = tf.where(mask[..., None], y, 0.0)
        weights = [w.value for w in each.trainable_variables]
        return [y, *tape.gradient(y, [x, *weights], tf.sin(y))]

    expected = run(twin, x)
    for value in (0.5, np.nan):
        x[~mask] = value
        for a, b in zip(run(layer, x), expected, strict=True):
            assert_near("y or a gradient", a, b, 1e-5)


def test_a_subclass_with_its_own_attention_gets_one_mask_and_all_heads():
    seen = {}

    class Own(GroupQueryAttention):
        def _compute_attention(self, query, key, value, attention_mask=None, training=None):
            seen.update(mask=attention_mask, heads=key.shape[2])
            return super()._compute_attention(query, key, value, attention_mask, training)

    arguments = {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2}
    layer = Own(**arguments, sliding_window=2)
    x = draw(2, 5, 4, dtype="float32")
    y = layer(x, x, use_causal_mask=True)
    band = np.arange(5)[:, None] - np.arange(5)
    assert np.array_equal(seen["mask"][0], (band >= 0) & (band < 2))
    assert seen["heads"] == 4
    plain = GroupQueryAttention(**arguments, sliding_window=2)
    plain.build(x.shape, x.shape)
    plain.set_weights(layer.get_weights())
    assert_near("y", plain(x, x, use_causal_mask=True), y)


def test_models_go_both_ways(tmp_path):
    """By config and by `.keras` file, dropout's seeds included."""
    x = keras.Input((5, 4))
    y = keras.layers.MultiHeadAttention(2, 3, dropout=0.1, seed=1)(x, x, use_causal_mask=True)
    y = keras.layers.GroupQueryAttention(2, 4, 2)(y, x)
    theirs = keras.Model(x, y)
    ours = to_custom(theirs)
    assert all(
        type(layer).__module__.startswith("custom_layers") for layer in ours.layers if layer.weights
    )
    data = draw(2, 5, 4, dtype="float32")
    assert_near("ours", ours(data), theirs(data))
    assert_near("theirs", to_keras(ours)(data), theirs(data))
    for source, target in ((theirs, ours), (ours, theirs)):
        source.save_weights(tmp_path / "x.weights.h5")
        target.load_weights(tmp_path / "x.weights.h5")
    ours.save(tmp_path / "ours.keras")
    assert_near("the file", keras.models.load_model(tmp_path / "ours.keras")(data), ours(data))


def test_errors():
    with pytest.raises(ValueError, match="invalid value for argument `num_heads`.*num_heads=0"):
        MultiHeadAttention(0, 3)
    with pytest.raises(ValueError, match="invalid value for argument `value_dim`"):
        MultiHeadAttention(2, 3, value_dim=-1)
    with pytest.raises(ValueError, match="Invalid `output_shape`: 8.0"):
        MultiHeadAttention(2, 3, output_shape=8.0)
    with pytest.raises(ValueError, match="must be divisible by `num_key_value_heads`"):
        GroupQueryAttention(2, 3, 2)
    with pytest.raises(ValueError, match="`sliding_window` must be"):
        GroupQueryAttention(2, 4, 2, sliding_window=0)
    with pytest.raises(ValueError, match="`dropout` must be in"):
        MultiHeadAttention(2, 3, dropout=2)
    with pytest.raises(ValueError, match="All dimensions of `value` and `key`"):
        MultiHeadAttention(2, 3)(draw(1, 2, 4), draw(1, 3, 4), draw(1, 2, 4))
