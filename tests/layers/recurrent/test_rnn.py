"""RNN, and what LSTM, GRU and SimpleRNN share: masks, states, directions, dropout, wrappers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin

LAYERS = ["LSTM", "GRU", "SimpleRNN"]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 6, 4)).astype("float32")
MASKS = {
    "right": [1, 1, 1, 1, 0, 0],
    "left": [0, 0, 1, 1, 1, 1],
    "holes": [0, 1, 0, 0, 1, 0],
    "empty": [0, 0, 0, 0, 0, 0],
    "full": [1, 1, 1, 1, 1, 1],
}
MASK = np.array(list(MASKS.values()), bool)


@pytest.fixture(params=LAYERS)
def name(request):
    return request.param


@pytest.fixture
def ours(name):
    return getattr(custom_layers, name)


@pytest.fixture
def twin(name):
    return getattr(keras.layers, name)


def pair(ours, twin, *args, **arguments):
    """Both layers with the same weights."""
    layer, reference = ours(*args, **arguments), twin(*args, **arguments)
    layer(X), reference(X)
    reference.set_weights([RNG.uniform(-0.5, 0.5, w.shape) for w in reference.get_weights()])
    layer.set_weights(reference.get_weights())
    return layer, reference


def assert_equal_outputs(a, b, tolerance=1e-5):
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        assert_near("output", x, y, tolerance)


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"return_sequences": True, "return_state": True},
        {"return_sequences": True, "zero_output_for_mask": True, "go_backwards": True},
        {"return_state": True, "zero_output_for_mask": True},
        {"return_state": True, "go_backwards": True, "unroll": True},
    ],
    ids=str,
)
def test_masks_are_those_of_keras(ours, twin, arguments, with_states):
    layer, reference = pair(ours, twin, 3, **arguments)
    states = [RNG.standard_normal((5, 3)).astype("float32") for _ in reference.state_size]
    call = {"initial_state": states} if with_states else {}
    for mask in (MASK, tf.constant(MASK, tf.int32), None):
        assert_equal_outputs(layer(X, mask=mask, **call), reference(X, mask=mask, **call))


@pytest.mark.parametrize("time", [1, 2, 7, 50])
def test_backward_under_masks(ours, time):
    """Through the outputs and the returned states, back to the inputs and the initial states."""
    layer = ours(
        3, dtype="float64", bias_initializer="normal", return_sequences=True, return_state=True
    )
    count = 2 if ours is custom_layers.LSTM else 1
    x, states = RNG.standard_normal((4, time, 2)), RNG.standard_normal((count, 4, 3))
    mask = RNG.random((4, time)) < 0.6
    mask[0], mask[1, 0], mask[2, -1] = False, False, False

    def call(inputs):
        x, states = inputs
        return layer(x, initial_state=tf.unstack(states), mask=mask)

    call([x, states])
    call.trainable_variables = layer.trainable_variables
    check_backward(call, [x, states], second_order=time < 50)


def test_states_are_kept_between_batches(ours, twin):
    layer, reference = pair(ours, twin, 3, stateful=True, return_state=True)
    for x in (layer, reference):
        x.reset_states()
    for _ in range(3):
        assert_equal_outputs(layer(X, mask=MASK), reference(X, mask=MASK))
    layer.reset_state()
    reference.reset_state()
    assert_equal_outputs(layer(X), reference(X))
    assert len(layer.weights) == 3
    with pytest.raises(ValueError, match="Expected batch size: 5"):
        layer(X[:2])
    with pytest.raises(ValueError, match="batch size must be static"):
        ours(3, stateful=True)(keras.Input((None, 4)))


def test_stateful_model(ours, tmp_path):
    inputs = keras.Input(batch_shape=(5, 6, 4))
    model = keras.Model(inputs, ours(3, stateful=True)(inputs))
    model.compile("sgd", "mse")
    first = model.predict(X, batch_size=5, verbose=0)
    second = model.predict(X, batch_size=5, verbose=0)
    assert np.abs(first - second).max() > 1e-4
    model.layers[1].reset_state()
    assert_near("after reset", model.predict(X, batch_size=5, verbose=0), first, 1e-6)
    model.fit(X, first, batch_size=5, verbose=0)
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")
    model.export(tmp_path / "model", verbose=False)


@pytest.mark.parametrize("merge_mode", ["concat", None])
def test_bidirectional(ours, twin, merge_mode):
    options = {"return_sequences": True, "return_state": True}
    layers = [keras.layers.Bidirectional(cls(3, **options), merge_mode) for cls in (ours, twin)]
    layers[0](X), layers[1](X)
    assert type(layers[0].backward_layer) is ours
    layers[0].set_weights(layers[1].get_weights())
    assert_equal_outputs(layers[0](X, mask=MASK), layers[1](X, mask=MASK))
    states = [RNG.standard_normal((5, 3)).astype("float32")] * (4 if "LSTM" in str(ours) else 2)
    assert_equal_outputs(*(layer(X, initial_state=states) for layer in layers))


def test_time_distributed(ours, twin):
    layers = [keras.layers.TimeDistributed(cls(3)) for cls in (ours, twin)]
    x = RNG.standard_normal((2, 5, 6, 4)).astype("float32")
    layers[0](x), layers[1](x)
    layers[0].set_weights(layers[1].get_weights())
    assert_equal_outputs(layers[0](x), layers[1](x))


@pytest.mark.parametrize("around", [keras.layers.RNN, custom_layers.RNN])
@pytest.mark.parametrize("whose", [keras.layers, custom_layers])
def test_cells_go_into_every_rnn(name, around, whose):
    """Ours in Keras's, Keras's in ours, stacked and single, masked, with dropout, saved."""
    cell = getattr(whose, name + "Cell")
    for make in (
        lambda: cell(3),
        lambda: [cell(3, dropout=0.2, seed=1), cell(2, recurrent_dropout=0.3, seed=2)],
    ):
        layer = around(make(), return_sequences=True, return_state=True)
        layer(X)
        reference = keras.layers.RNN(make(), return_sequences=True, return_state=True)
        reference(X)
        reference.set_weights([RNG.uniform(-0.5, 0.5, w.shape) for w in reference.get_weights()])
        layer.set_weights(reference.get_weights())
        for call in ({}, {"mask": MASK}):
            assert_equal_outputs(layer(X, **call), reference(X, **call))
        said = layer.compute_output_shape(X.shape)
        real = tf.nest.map_structure(lambda y: tuple(y.shape), layer(X))
        assert tf.nest.flatten(said) == tf.nest.flatten(real)
        again = type(layer).from_config(layer.get_config())
        again(X)
        again.set_weights(layer.get_weights())
        assert_equal_outputs(again(X), layer(X))
        trained = tf.function(lambda x, layer=layer: layer(x, training=True))(X)
        assert all(np.isfinite(y).all() for y in tf.nest.flatten(trained))


class Minimal(keras.layers.Layer):
    """A cell of somebody else: one state, no `get_initial_state`, no `training`."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.state_size))

    def call(self, inputs, states):
        y = keras.ops.matmul(inputs, self.kernel) + states[0]
        return -y, [y]


def test_a_cell_of_somebody_else():
    check_signature(custom_layers.RNN, keras.layers.RNN)
    layer = custom_layers.RNN(Minimal(3), return_sequences=True, return_state=True)
    reference = keras.layers.RNN(Minimal(3), return_sequences=True, return_state=True)
    layer(X), reference(X)
    layer.set_weights(reference.get_weights())
    state = RNG.standard_normal((5, 3)).astype("float32")
    for call in ({}, {"mask": MASK}, {"mask": MASK, "initial_state": state}):
        assert_equal_outputs(layer(X, **call), reference(X, **call))
    check_backward(custom_layers.RNN(Minimal(3, dtype="float64"), dtype="float64"), np.float64(X))
    with pytest.raises(ValueError, match="should have a `call` method"):
        custom_layers.RNN(3)
    with pytest.raises(ValueError, match="should have a `state_size` attribute"):
        custom_layers.RNN(keras.layers.Dense(3))


@pytest.mark.parametrize("arguments", [{"dropout": 0.4}, {"recurrent_dropout": 0.4}], ids=str)
def test_dropout(ours, twin, arguments):
    """The masks come from Keras's generator, in Keras's order: the same seed gives the same."""
    layer, reference = pair(ours, twin, 3, seed=7, return_sequences=True, **arguments)
    for training in (True, False, True):
        y = layer(X, training=training)
        assert_equal_outputs(y, reference(X, training=training))
    assert np.abs(y - layer(X, training=True)).max() > 1e-3  # new masks for each batch
    assert_near("without training", layer(X), layer(X), 0.0)


def test_dropout_is_constant_over_time(ours):
    layer = ours(4, dropout=0.5, seed=1)
    x = tf.ones((5, 200, 3))
    layer(tf.transpose(x, (1, 0, 2)))
    dropped, drop_x, drop = layer.cell.drop_input(x, None, training=True)
    assert drop_x is None
    assert drop is None
    assert_near("all steps", dropped, tf.broadcast_to(dropped[:1], x.shape), 0.0)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert abs(np.mean(dropped) - 1) < 0.1


def test_unknown_sizes_and_integer_inputs(ours, twin):
    layer, reference = pair(ours, twin, 3, return_sequences=True)
    model = keras.Model(inputs := keras.Input((None, 4)), layer(inputs))
    assert model.output_shape == (None, None, 3)
    assert_near("predict", model.predict(X, verbose=0), reference(X), 1e-5)
    whole = RNG.integers(0, 3, X.shape)
    assert_near("integers", layer(whole), reference(whole), 1e-5)


def test_nan_in_nan_out(ours):
    layer = ours(3, return_sequences=True)
    x = X.copy()
    x[0, 2, 1] = np.nan
    y = layer(x).numpy()
    assert np.isnan(y[0, 2:]).all()
    assert np.isfinite(y[0, :2]).all()
    assert np.isfinite(y[1:]).all()
    masked = layer(x, mask=~np.isnan(x).any(-1)).numpy()
    assert np.isfinite(masked).all()


def gradients(layer, x, compiled=False, **call):
    @tf.function(jit_compile=compiled)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **call)
            loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in tf.nest.flatten(y)])
        points = [x] + [w.value for w in layer.trainable_variables]
        return [loss, *tape.gradient(loss, points)]

    return run, run(x)


@pytest.mark.parametrize("shape", [(5, 6, 4), (0, 1, 4)], ids=str)
def test_compiled_in_training(ours, shape):
    """In training the loop is compiled: the same values, on every way."""
    layer = ours(3, return_sequences=True, return_state=True)
    x = tf.constant(RNG.standard_normal(shape), tf.float32)
    layer(x)
    mask = tf.constant(RNG.random(shape[:2]) < 0.6)
    run, plain = gradients(layer, x, mask=mask)
    assert not is_compiled(run, x)
    for options in ({"training": True}, {"compiled": True}, {"compiled": True, "training": True}):
        run, values = gradients(layer, x, mask=mask, **options)
        assert options.get("compiled") or is_compiled(run, x)
        for a, b in zip(values, plain, strict=True):
            assert_near("gradient", a, b, 1e-5)


def is_compiled(run, *args):
    functions = run.get_concrete_function(*args).graph.as_graph_def().library.function
    return any("_XlaMustCompile" in f.attr and f.attr["_XlaMustCompile"].b for f in functions)


def test_unknown_lengths_are_not_compiled(ours):
    """Each length would take a second to compile."""
    layer = ours(3)
    layer(X)
    for time, compiled in ((None, False), (6, True)):
        run = tf.function(lambda x: layer(x, training=True))
        assert is_compiled(run, tf.TensorSpec((None, time, 4))) is compiled


def test_second_derivatives_in_training(ours):
    layer = ours(3)
    x = tf.constant(X)
    layer(x)

    @tf.function
    def curvature(x, training):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(tf.sin(layer(x, training=training)))
            slope = tf.reduce_sum(inner.gradient(y, x) ** 2)
        return outer.gradient(slope, [x] + [w.value for w in layer.trainable_variables])

    for a, b in zip(curvature(x, True), curvature(x, False), strict=True):
        assert_near("second derivative", tf.convert_to_tensor(a), tf.convert_to_tensor(b), 1e-5)


def test_saved_model_can_be_trained_on(ours, tmp_path):
    """No compiled function in what is exported, and gradients after reloading."""
    model = keras.Sequential([keras.Input((6, 4)), ours(3)])
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((5, 3)), verbose=0)
    model.export(tmp_path / "model", verbose=False)
    assert b"_XlaMustCompile" not in strip_false(tmp_path / "model" / "saved_model.pb")
    loaded = tf.saved_model.load(tmp_path / "model")
    points = [tf.constant(X), *loaded.trainable_variables]
    assert len(points) == 4
    slopes = []
    for call in (loaded.serve, model):
        with tf.GradientTape() as tape:
            tape.watch(points[0])
            loss = tf.reduce_sum(tf.sin(call(points[0])))
        slopes.append(tape.gradient(loss, points[0]))
    assert_near("gradient", *slopes, 1e-5)


def strip_false(path):
    """The names of the functions that must be compiled."""
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0].graph_def
    names = [f for f in graph.library.function if f.attr["_XlaMustCompile"].b]
    return b"_XlaMustCompile" if names else b""


def test_wrong_arguments(ours):
    unrolled = tf.function(ours(3, unroll=True))
    with pytest.raises(ValueError, match="Cannot unroll a RNN"):
        unrolled.get_concrete_function(tf.TensorSpec((2, None, 4)))
    for units in (0, -1, 2.5, "3", None):
        with pytest.raises(ValueError, match="argument `units`, expected a positive integer"):
            ours(units)
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        ours(3)(X[0])


@pytest.mark.parametrize("name", ["LSTM", "GRU"], indirect=True)
def test_cudnn_and_implementation(ours, name):
    with pytest.raises(ValueError, match="Invalid valid received for argument `use_cudnn`"):
        ours(3, use_cudnn="yes")
    with pytest.raises(ValueError, match="cuDNN is not supported"):
        ours(3, use_cudnn=True)(X)
    config = {**ours(3, implementation=1).get_config(), "implementation": 0}
    assert ours.from_config(config).cell.implementation == 0
    assert_near(
        "implementation",
        *(
            ours(
                3, "relu", implementation=i, kernel_initializer="ones", recurrent_initializer="ones"
            )(X)
            for i in (1, 2)
        ),
        1e-5,
    )


def test_arguments_can_be_read_on_the_layer(ours):
    layer = ours(3, use_bias=False, dropout=0.25)
    assert (layer.units, layer.use_bias, layer.dropout) == (3, False, 0.25)
    assert layer.kernel_initializer is layer.cell.kernel_initializer
    with pytest.raises(AttributeError, match="has no attribute 'kernel'"):
        _ = layer.kernel


def test_activity_regularizer(ours):
    layer = ours(3, activity_regularizer="l2")
    y = layer(X)
    assert_near("loss", layer.losses[0], 0.01 * np.sum(np.square(y)) / len(X), 1e-5)


def test_twin_with_masking_layer(ours, twin):
    x = X.copy()
    x[~MASK] = 0
    models = [
        keras.Sequential([keras.layers.Masking(), cls(3, return_sequences=True), cls(2)])
        for cls in (ours, twin)
    ]
    outputs = [model(x) for model in models]
    models[0].set_weights(models[1].get_weights())
    outputs = [model(x) for model in models]
    assert_near("masked model", *outputs, 1e-5)
    check_twin(ours, twin, {"units": 2, "return_state": True}, X, mask=tf.constant(MASK))


def test_a_mask_with_an_axis_for_the_features():
    """As Keras's layers take it: (B, T, 1)."""
    layer = custom_layers.LSTM(5, return_sequences=True)
    assert_near("output", layer(X[:5], mask=MASK[..., None]), layer(X[:5], mask=MASK), 0.0)
