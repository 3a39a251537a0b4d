"""convert: the same model out of other layers, and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near
from custom_layers.convert import to_custom, to_custom_layer, to_keras, twins

layers = keras.layers
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


class Doubled(keras.layers.Layer):  # neither registered nor with a twin
    def call(self, x):
        return 2 * x


class MyDense(keras.layers.Dense):
    """Derived from a layer that has a twin: it may do something else."""


def sequential():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.SpatialDropout2D(0.2, seed=3),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax", kernel_regularizer=keras.regularizers.L2(1e-3)),
        ],
        name="digits",
    )
    return model, normal(4, 8, 8, 3)


def shared():
    a, b = keras.Input((6,)), keras.Input((6,))
    dense = layers.Dense(4, activation="tanh", name="both")
    y = dense(a) * 3 + dense(b)
    y = layers.Concatenate()([y, MyDense(2)(a), Doubled()(b)])
    return keras.Model([a, b], layers.LayerNormalization()(y)), [normal(3, 6), normal(3, 6)]


def nested():
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.ReLU(0.5)], name="inner")
    x = keras.Input((5,))
    middle = keras.Model(x, layers.Dense(5)(layers.LeakyReLU()(x)), name="middle")
    x = keras.Input((7, 5))
    y = layers.TimeDistributed(keras.Sequential([layers.Dense(3), layers.ReLU(0.5)]))(x)
    y = layers.GlobalAveragePooling1D()(y)
    y = inner(middle(layers.Dense(5)(y)))
    return keras.Model(x, [y, inner(middle(x[:, 0]))], name="outer"), normal(3, 7, 5)


def recurrent():
    x = keras.Input((None, 4))
    y = layers.Masking()(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True, dropout=0.1))(y)
    y = layers.TimeDistributed(layers.Dense(4))(y)
    y = layers.GRU(3, return_sequences=True)(y)
    y = layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)(y)
    y = layers.RNN(layers.SimpleRNNCell(4))(y)
    return keras.Model(x, y), normal(3, 5, 4)


def regularized():
    x = keras.Input((4,))
    y = layers.Dense(
        3, kernel_regularizer=keras.regularizers.L1L2(), activity_regularizer="l1", trainable=False
    )(x)
    y = layers.ActivityRegularization(0.1, 0.2)(y)
    return keras.Model(x, layers.Dense(2, bias_regularizer=keras.regularizers.L1(0.25))(y)), normal(
        3, 4
    )


MODELS = [sequential, shared, nested, recurrent, regularized]


def randomized(make):
    model, x = make()
    model.set_weights([w + 0.1 * np.abs(normal(*w.shape)) for w in model.get_weights()])
    return model, x


def classes(model):
    """Types of all layers, at any depth."""
    return {type(layer) for layer in model._flatten_layers(include_self=False)}


def assert_same(actual, expected):
    for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        assert_near("output", a, b, 1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_there_and_back(make):
    model, x = randomized(make)
    ours = to_custom(model)
    assert_same(ours(x), model(x))
    table = twins()
    assert not classes(ours) & table.keys()
    assert {table.get(cls, cls) for cls in classes(model)} == classes(ours)
    assert [w.name for w in ours.weights] == [w.name for w in model.weights]
    assert [w.trainable for w in ours.weights] == [w.trainable for w in model.weights]
    back = to_keras(ours)
    assert_same(back(x), model(x))
    assert classes(back) == classes(model)
    for a, b in zip(back.layers, model.layers, strict=True):
        if not isinstance(a, (keras.Model, layers.InputLayer)):  # Keras names the latter anew
            assert a.get_config() == b.get_config()
    assert len(ours.losses) == len(model.losses)
    for a, b in zip(ours.losses, model.losses, strict=True):
        assert_near("loss", a, b, 1e-5)


def test_weights_are_copies():
    model, x = randomized(sequential)
    ours = to_custom(model)
    before = model(x).numpy()
    ours.set_weights([0 * w for w in ours.get_weights()])
    assert (model(x).numpy() == before).all()


def test_shared_layers_stay_shared():
    ours = to_custom(shared()[0])
    assert len([x for x in ours.layers if isinstance(x, custom_layers.Dense)]) == 1
    assert len(ours.get_layer("both")._inbound_nodes) == 2
    ours = to_custom(nested()[0])
    assert len([x for x in ours.layers if x.name == "inner"]) == 1


def test_a_layer_shared_with_the_inside_of_a_wrapper_is_refused():
    dense, x = layers.Dense(3), keras.Input((2, 3))
    model = keras.Model(x, dense(layers.TimeDistributed(dense)(x)))
    with pytest.raises(ValueError, match="expecting 4 weights"):
        to_custom(model)


def test_what_has_no_twin_stays():
    ours = to_custom(shared()[0])
    assert {MyDense, Doubled, layers.Concatenate} <= classes(ours)
    x = keras.Input((6, 2))
    graph = custom_layers.GraphConv(3)([x, keras.Input((4, 2), dtype="int32")])
    model = keras.Model(graph._keras_history.operation.input, custom_layers.Dense(2)(graph))
    assert {custom_layers.GraphConv, layers.Dense} <= classes(to_keras(model))


def test_regularizers_too():
    dense = to_custom(regularized()[0]).layers[-1]
    assert type(dense.bias_regularizer) is custom_layers.L1
    assert dense.bias_regularizer.l1 == 0.25


@pytest.mark.parametrize("convert", [to_custom, lambda model: to_keras(to_custom(model))])
def test_compiled_models_go_on_training(convert):
    model, x = randomized(sequential)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    y = np.arange(len(x))
    model.fit(x, y, verbose=0)
    other = convert(model)
    assert other.optimizer.iterations.numpy() == 0  # a fresh optimizer
    assert_near("loss", other.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), 1e-5)
    other.fit(x, y, verbose=0)


def test_frozen_models_stay_frozen():
    model, _ = sequential()
    model.trainable = False
    assert not to_custom(model).trainable
    assert to_custom(model).trainable_weights == []


def partly_frozen():
    """Each way to freeze a part: a cell, a wrapped layer, a nested model, a single weight."""
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(5)], name="inner")
    inner.layers[0].trainable = False
    frozen = keras.Sequential([keras.Input((5,)), layers.Dense(5)], name="frozen")
    frozen.trainable = False
    model = keras.Sequential(
        [
            keras.Input((4, 2)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both"),
            layers.TimeDistributed(layers.Dense(3), name="each"),
            layers.GRU(3, name="gru"),
            inner,
            frozen,
            layers.Dense(2, name="single"),
            layers.BatchNormalization(name="norm"),
        ]
    )
    model.get_layer("both").backward_layer.cell.trainable = False
    model.get_layer("each").layer.trainable = False
    model.get_layer("gru").cell.trainable = False
    model.get_layer("single").bias.trainable = False
    model.get_layer("norm").trainable = False
    return model


def test_parts_stay_frozen():
    model = partly_frozen()
    for other in (to_custom(model), to_keras(to_custom(model))):
        assert [w.trainable for w in other.weights] == [w.trainable for w in model.weights]
        shapes = [w.shape for w in model.trainable_variables]
        assert [w.shape for w in other.trainable_variables] == shapes
        assert not other.get_layer("gru").cell.trainable
        assert not other.get_layer("frozen").trainable
        assert other.get_layer("inner").trainable


def test_a_frozen_model_and_what_is_in_it():
    """`trainable` itself too: it decides what a BatchNormalization does."""
    model = partly_frozen()
    model.trainable = False
    ours = to_custom(model)
    assert not ours.trainable
    assert not any(layer.trainable for layer in ours._flatten_layers())


def test_nested_models_are_exchanged():
    found = {type(x) for x in to_custom(nested()[0])._flatten_layers() if x.weights}
    assert custom_layers.Dense in found
    assert layers.Dense not in found


def thrice(z):
    return 3 * z


@pytest.mark.parametrize("wrapped", [False, True])
def test_functions_of_ones_own(wrapped):
    """Lambdas, closures and named ones, which Keras cannot make of a config."""
    scale = tf.constant(0.5)
    dense = layers.Dense(3, activation=lambda z: scale * z)
    cells = [layers.LSTMCell(3, activation=lambda z, a=a: tf.tanh(a * z)) for a in (1.0, 2.0)]
    x = keras.Input((4, 2))
    y = layers.TimeDistributed(dense)(x) if wrapped else dense(x)
    y = layers.GRU(3, activation=thrice, return_sequences=True)(y)
    model = keras.Model(x, layers.Activation(lambda z: z + 1)(layers.RNN(cells)(y)))
    for other in (to_custom(model), to_keras(to_custom(model))):
        x = normal(3, 4, 2)
        assert_same(other(x), model(x))


def test_without_inputs():
    model = keras.Sequential([layers.Dense(3), layers.ReLU()])
    assert not to_custom(model).built
    model(normal(2, 4))
    assert_same(to_custom(model)(np.ones((2, 4))), model(np.ones((2, 4))))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_dtypes(dtype):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=dtype)])
    assert to_custom(model).layers[0].dtype_policy == model.layers[0].dtype_policy


def test_files_go_both_ways(tmp_path):
    """What the conversion is for: a model trained with one set, used with the other."""
    model, x = randomized(recurrent)
    model.save(tmp_path / "theirs.keras")
    to_custom(model).save(tmp_path / "ours.keras")
    ours = keras.models.load_model(tmp_path / "ours.keras")
    assert_same(ours.predict(x, verbose=0), model.predict(x, verbose=0))
    theirs = keras.models.load_model(tmp_path / "theirs.keras")
    assert_same(to_custom(theirs)(x), model(x))


def test_as_a_clone_function():
    model, _ = randomized(sequential)
    clone = keras.models.clone_model(model, clone_function=to_custom_layer)
    assert type(clone.layers[0]) is custom_layers.Conv2D


def test_the_table_is_that_of_the_exports():
    table = twins()
    assert table[layers.Dense] is custom_layers.Dense
    assert table[keras.regularizers.L2] is custom_layers.L2
    for theirs, ours in table.items():
        assert theirs.__name__ == ours.__name__
        assert vars(custom_layers)[ours.__name__] is ours


def test_what_cannot_be_converted():
    with pytest.raises(ValueError, match="only supported for Sequential models or Functional"):
        to_custom(type("Mine", (keras.Model,), {})())
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, lora_rank=2, name="d")])
    with pytest.raises(TypeError, match="^The layer 'd' uses LoRA, which Dense of custom_layers"):
        to_custom(model)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_quantized_model_gets_one_reason(wrapped):
    model = keras.Sequential([keras.Input((2, 4)), layers.Dense(3, name="d")])
    model.layers[0].quantize("int8")
    if wrapped:
        model = keras.Sequential([keras.Input((5, 2, 4)), layers.TimeDistributed(model)])
    reason = "^The layer 'd' is quantized .int8., which Dense of custom_layers does not. Convert"
    with pytest.raises(TypeError, match=reason) as error:
        to_custom(model)
    assert len(str(error.value)) < 150
