"""Regularizers: their gradients are their derivatives, and they drop in for Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near, check_backward
from custom_layers.regularization.regularizers import L1, L1L2, L2

PAIRS = [
    (L1, keras.regularizers.L1, {"l1": 0.3}),
    (L1, keras.regularizers.L1, {}),
    (L2, keras.regularizers.L2, {"l2": 0.2}),
    (L2, keras.regularizers.L2, {}),
    (L1L2, keras.regularizers.L1L2, {"l1": 0.3, "l2": 0.2}),
    (L1L2, keras.regularizers.L1L2, {"l2": 1}),
    (L1L2, keras.regularizers.L1L2, {}),
    (L1, keras.regularizers.L1, {"l1": None}),
    (L2, keras.regularizers.L2, {"l2": None}),
    (L1L2, keras.regularizers.L1L2, {"l1": None, "l2": None}),
]
SHAPES = [(), (7,), (3, 5), (0, 4), (2, 3, 1, 5)]


@pytest.mark.parametrize("regularizer", [L1(0.3), L2(0.2), L1L2(0.3, 0.2), L1L2()])
def test_backward(regularizer):
    for shape in SHAPES:
        check_backward(regularizer, np.random.default_rng(0).standard_normal(shape))


def penalty_and_gradient(regularizer, w):
    with tf.GradientTape() as tape:
        tape.watch(w)
        y = regularizer(w)
    return y, tape.gradient(y, w, unconnected_gradients="zero")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_twin(shape, dtype):
    w = tf.cast(np.random.default_rng(0).standard_normal(shape), dtype)
    tolerance = 1e-6 if dtype == "float64" else None  # Keras keeps l1 in float32
    for ours, twin, arguments in PAIRS:
        mine = penalty_and_gradient(ours(**arguments), w)
        theirs = penalty_and_gradient(twin(**arguments), w)
        for name, a, b in zip(("penalty", "gradient"), mine, theirs, strict=True):
            assert a.dtype == b.dtype
            assert_near(name, a.numpy(), b.numpy(), tolerance)


@pytest.mark.parametrize(("ours", "twin", "arguments"), PAIRS, ids=str)
def test_config_both_ways(ours, twin, arguments):
    mine, theirs = ours(**arguments), twin(**arguments)
    for regularizer in (
        ours.from_config(mine.get_config()),
        ours.from_config(theirs.get_config()),
        twin.from_config(mine.get_config()),
        keras.regularizers.deserialize(keras.regularizers.serialize(mine)),
    ):
        assert regularizer.get_config() == pytest.approx(mine.get_config(), rel=1e-6)
    assert type(regularizer) is ours


def test_gradient_at_zero_is_zero():
    _, dw = penalty_and_gradient(L1L2(1.0, 1.0), tf.zeros((3,)))
    assert_near("gradient", dw, np.zeros(3, "float32"), 0.0)


@pytest.mark.parametrize("compiled", [False, True])
def test_in_a_graph(compiled):
    w = tf.constant([[1.0, -2.0], [0.0, 3.0]])
    run = tf.function(penalty_and_gradient, jit_compile=compiled)
    y, dw = run(L1L2(0.5, 0.25), w)
    assert_near("penalty", y, np.float32(0.5 * 6 + 0.25 * 14))
    assert_near("gradient", dw, 0.5 * np.sign(w) + 0.5 * w.numpy())


def test_sixteen_bits_sum_in_thirty_two():
    assert float(L2(1.0)(tf.ones((3000,), "bfloat16"))) == 3008  # the bfloat16 nearest to 3000
    assert float(L2(1e-3)(tf.fill((1000,), tf.cast(100, "float16")))) == pytest.approx(
        1e4, rel=1e-3
    )


@pytest.mark.parametrize("regularizer", [L1(0.3), L2(0.2), L1L2(0.3, 0.2)])
def test_on_a_layer(regularizer, tmp_path):
    """As kernel, bias and activity regularizer: the loss, a saved model, the same training."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 4)).astype("float32"), np.ones((8, 3), "float32")
    twin = getattr(keras.regularizers, type(regularizer).__name__)(**regularizer.get_config())
    models = []
    for one in (regularizer, twin):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                custom_layers.Dense(
                    3, kernel_regularizer=one, bias_regularizer=one, activity_regularizer=one
                ),
            ]
        )
        models.append(model)
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        assert_near("weights after training", a, b)
    models[0].save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0].kernel_regularizer) is type(regularizer)
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(models[0].evaluate(x, y, verbose=0))


@pytest.mark.parametrize("name", ["l1", "l2", "l1l2"])
def test_strings_mean_keras_ones(name):
    layer = custom_layers.Dense(2, kernel_regularizer=name)
    assert layer.kernel_regularizer.get_config() == keras.regularizers.get(name).get_config()


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "x", [0.1]], ids=str)
def test_errors(value):
    for ours, names in ((L1, ["l1"]), (L2, ["l2"]), (L1L2, ["l1", "l2"])):
        for name in names:
            with pytest.raises(ValueError, match=f"argument {name}: expected a non-negative float"):
                ours(**{name: value})
