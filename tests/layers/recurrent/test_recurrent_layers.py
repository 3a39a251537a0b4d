"""LSTM, GRU and SimpleRNN: what the three share is proven once, for each of them.

Gradients are derivatives, and each drops in for Keras's layer: masks, states, directions, dropout,
wrappers, configs, files.
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers.checks import assert_near, check_backward, check_signature, check_twin
from custom_layers.gradients import with_backward

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


# For what the three have from one function: LSTM in each run, the others in the long ones.
FIRST_OF_THREE = pytest.mark.parametrize(
    "name",
    ["LSTM", *(pytest.param(n, marks=pytest.mark.long) for n in ("GRU", "SimpleRNN"))],
    indirect=True,
)


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


# What each cell has that others lack: it is proven with and without.
OWN = {
    "LSTM": {"unit_forget_bias": False, "implementation": 1},
    "GRU": {"reset_after": False},
    "SimpleRNN": {"activation": "relu"},
}
DROPOUT = {"use_bias": False, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 1}
ACTIVATIONS = [
    ("tanh", "sigmoid"),
    ("relu", "linear"),
    ("softmax", tf.sin),
    ("elu", "hard_sigmoid"),
    ("gelu", "sigmoid"),
]


def activations(name, activation, recurrent_activation):
    gates = {} if name == "SimpleRNN" else {"recurrent_activation": recurrent_activation}
    return {"activation": activation, **gates}


@pytest.mark.parametrize(
    ("functions", "case"),
    [
        *((functions, "") for functions in ACTIVATIONS),
        *((("tanh", "sigmoid"), case) for case in ("own", "dropout", "own and dropout")),
        *((("softmax", tf.sin), case) for case in ("own", "own and dropout")),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else " ".join(getattr(f, "__name__", f) for f in value)
    ),
)
def test_backward(ours, name, functions, case):
    arguments = {**(OWN[name] if "own" in case else {}), **activations(name, *functions)}
    arguments |= DROPOUT if "dropout" in case else {}
    layer = ours(
        3, dtype="float64", return_sequences=True, **{"bias_initializer": "normal", **arguments}
    )
    mask = tf.constant([[True, True, False, True], [False, False, True, True], [False] * 4])
    check_backward(layer, RNG.standard_normal((3, 4, 2)), mask=mask, training=True)


@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 1, 1), (2, 7, 3)], ids=str)
def test_backward_at_odd_shapes(ours, shape):
    check_backward(ours(5, dtype="float64", return_state=True), RNG.standard_normal(shape))


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 3},
        {"units": 1, "use_bias": False, "activation": "relu", "return_sequences": True},
        {"units": 4, "kernel_regularizer": "l1", "recurrent_constraint": "non_neg", "own": True},
        {"units": 2, "hard": True, "return_state": True, "go_backwards": True},
        {"units": 3, "dtype": "mixed_bfloat16", "unroll": True, "zero_output_for_mask": True},
        {"units": 3, "dtype": "mixed_float16", "return_sequences": True, "recurrent_dropout": 0.5},
        {"units": 2, "dtype": "float64", "activation": "gelu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True], ids=["", "mask"])
def test_twin(ours, twin, name, arguments, masked):
    arguments = dict(arguments)
    if arguments.pop("own", False):
        arguments |= OWN[name]
    if arguments.pop("hard", False):
        arguments |= activations(name, "tanh", "hard_sigmoid")
    check_twin(ours, twin, arguments, X, **({"mask": tf.constant(MASK)} if masked else {}))


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16"])
@pytest.mark.parametrize("own", [False, True], ids=["", "own"])
def test_cell_twin(name, dtype, own):
    classes = [getattr(layers, f"{name}Cell") for layers in (custom_layers, keras.layers)]
    cells = [cls(3, dtype=dtype, **(OWN[name] if own else {})) for cls in classes]
    states = [np.ones((5, 3), "float32")] * len(cells[0].get_initial_state(5))
    for cell in cells:
        cell(X[:, 0], states)
    cells[0].set_weights(cells[1].get_weights())
    results = [tf.nest.flatten(cell(X[:, 0], states)) for cell in cells]
    for a, b in zip(*results, strict=True):
        assert_near("output", a, b)
    again = classes[1].from_config(cells[0].get_config())
    assert again.get_config() == {**cells[1].get_config(), "name": cells[0].name}
    assert [w.path for w in cells[0].weights] == [
        w.path.replace(cells[1].name, cells[0].name) for w in cells[1].weights
    ]


def test_signature(ours, twin, name):
    check_signature(ours, twin)
    check_signature(*(getattr(layers, f"{name}Cell") for layers in (custom_layers, keras.layers)))


def test_weight_paths(ours, twin):
    paths = []
    for cls in (ours, twin):
        model = keras.Sequential([keras.Input((4, 2)), cls(3, name="layer")])
        paths.append([w.path.partition("/")[2] for w in model.weights])
    assert paths[0] == paths[1]


@pytest.mark.parametrize("which", [0, 1, 4], ids=["dx", "dkernel", "drecurrent"])
def test_a_broken_backward_is_seen(monkeypatch, name, ours, which):
    cell = getattr(custom_layers, f"{name}Cell")
    whole = cell.loop

    def backward(dy, cache, **options):
        gradients = list(whole.backward(dy, cache, **options))
        gradients[which] = gradients[which] * 1.001
        return gradients

    monkeypatch.setattr(cell, "loop", staticmethod(with_backward(whole.forward, backward)))
    with pytest.raises(AssertionError, match="gradient of"):
        check_backward(ours(3, dtype="float64"), np.float64(X))


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


@FIRST_OF_THREE
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


@FIRST_OF_THREE
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


@FIRST_OF_THREE
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
        with pytest.raises(ValueError, match="`units` must be a positive integer"):
            ours(units)
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        ours(3)(X[0])


@pytest.mark.parametrize("name", ["LSTM", "GRU"], indirect=True)
def test_cudnn_and_implementation(ours, name):
    with pytest.raises(ValueError, match="Invalid value received for argument `use_cudnn`"):
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


@pytest.mark.parametrize("batch", [1, 5])
def test_a_batch_of_unknown_size_trains_as_one(ours, batch):
    """Outputs, states, gradients: of odd batches, of one row, with masks, and dropout."""
    layer = ours(
        4, return_sequences=True, return_state=True, dropout=0.4, recurrent_dropout=0.3, seed=3
    )
    x = tf.constant(RNG.standard_normal((batch, 6, 3)), tf.float32)
    mask = tf.constant(RNG.random((batch, 6)) < 0.7)
    layer(x)

    def step(x, mask):
        layer.cell.seed_generator.state.assign([3, 7])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, mask=mask, training=True)
            loss = tf.add_n([tf.reduce_sum(tf.sin(part)) for part in y])
        return [*y, *tape.gradient(loss, [x, *(w.value for w in layer.trainable_variables)])]

    expected = step(x, mask)
    specs = tf.TensorSpec((None, 6, 3)), tf.TensorSpec((None, 6), tf.bool)
    for a, b in zip(tf.function(step, input_signature=specs)(x, mask), expected, strict=True):
        assert_near("output or gradient", a, b, 1e-5)


def test_states_may_know_the_size_that_the_input_does_not(ours):
    layer = ours(4, stateful=True)
    x = tf.constant(RNG.standard_normal((3, 6, 2)), tf.float32)
    layer(x)
    layer.reset_state()
    run = tf.function(
        lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, 6, 2))]
    )
    first, second = run(x), run(x)
    layer.reset_state()
    assert_near("first", first, layer(x), 1e-5)
    assert_near("second", second, layer(x), 1e-5)


@pytest.mark.parametrize("shape", [(1, 6), (4, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("batch", [4, None])
def test_a_mask_that_broadcasts(ours, batch, shape):
    layer = ours(4, return_sequences=True)
    x = tf.constant(RNG.standard_normal((4, 6, 2)), tf.float32)
    mask = tf.constant(RNG.random(shape) < 0.5)
    expected = layer(x, mask=tf.broadcast_to(mask, (4, 6)))
    specs = tf.TensorSpec((batch, 6, 2)), tf.TensorSpec(shape, tf.bool)
    for training in (False, True):
        run = tf.function(
            lambda x, mask, t=training: layer(x, mask=mask, training=t), input_signature=specs
        )
        assert_near("output", run(x, mask), expected, 1e-5)


def test_starts_from_the_weights_of_keras(ours, twin, name):
    """The same seed gives the same weights, in layers and in cells."""
    cells = [getattr(layers, f"{name}Cell") for layers in (custom_layers, keras.layers)]
    weights = []
    for make in (ours, twin, *cells):
        keras.utils.set_random_seed(3)
        layer = make(4, bias_initializer="normal", dropout=0.1)
        layer.build((None, 5, 2) if make in (ours, twin) else (None, 2))
        weights.append([w.numpy() for w in layer.trainable_weights])
    for other in weights[1:]:
        for a, b in zip(weights[0], other, strict=True):
            assert_near("weight", a, b, 0.0)


def test_arguments_of_the_cell_are_set_on_the_cell(ours, name):
    cell = getattr(custom_layers, f"{name}Cell")
    layer = ours(3)
    names = set(inspect.signature(cell.__init__).parameters) - {"self", "kwargs"}
    assert len(names) == {"LSTM": 17, "GRU": 17, "SimpleRNN": 15}[name]
    for argument in names:
        assert getattr(layer, argument) == getattr(layer.cell, argument)
        with pytest.raises(AttributeError, match=f"`{argument}` belongs to the cell"):
            setattr(layer, argument, "another")
    layer(X)
    layer.cell.dropout = 0.9
    assert layer.get_config()["dropout"] == 0.9
    assert np.abs(layer(X, training=True) - layer(X, training=True)).max() > 0


def test_numpy_integers_are_units(ours):
    layer = ours(np.int64(3))
    assert layer(X).shape == (5, 3)
    assert type(layer.get_config()["units"]) is int


def test_what_a_subclass_overrides_is_called(ours, twin):
    """As with Keras's layers: the loop, and the states that it begins with."""

    def extended(base):
        class Extended(base):
            def get_initial_state(self, batch_size):
                return [s + 0.5 for s in super().get_initial_state(batch_size)]

            def inner_loop(self, sequences, initial_state, mask, training=False):
                last, y, states = super().inner_loop(
                    2 * sequences, initial_state, mask=mask, training=training
                )
                return last + 1, y + 2, [s + 3 for s in states]

        return Extended

    for arguments in ({}, {"return_sequences": True}, {"return_state": True, "stateful": True}):
        layer, reference = pair(extended(ours), extended(twin), 3, **arguments)
        layer.reset_state(), reference.reset_state()
        for mask in (None, MASK):
            assert_equal_outputs(layer(X, mask=mask), reference(X, mask=mask))


@pytest.mark.parametrize("how", ["class", "instance"])
def test_the_call_of_a_subclass_of_the_cell_is_called(ours, name, how):
    """A cell that normalizes its output is not run by the loop of the one that it extends."""
    base = getattr(custom_layers, f"{name}Cell")

    class Halved(base):
        def call(self, inputs, states, training=False):
            y, (h, *more) = super().call(inputs, states, training=training)
            return y / 2, [h / 2, *more]

    cell = Halved(3) if how == "class" else base(3)
    if how == "instance":

        def call(inputs, states, training=False):
            y, (h, *more) = base.call(cell, inputs, states, training=training)
            return y / 2, [h / 2, *more]

        cell.call = call
    layer, other = custom_layers.RNN(cell), ours(3)
    other.cell = cell
    layer(X)
    states = cell.get_initial_state(5)
    for t in range(6):
        h, states = base.call(cell, X[:, t], states)
        states = [h / 2, *states[1:]]
    for training in (False, True):
        assert_near("RNN", layer(X, training=training), states[0], 1e-5)
        run = tf.function(lambda t=training: other(X, training=t), autograph=False)
        assert_near("layer", run(), states[0], 1e-5)


def slopes(layer, x, points, order=1, **call):
    with tf.GradientTape() as outer, tf.GradientTape() as tape:
        for t in (tape, outer):
            t.watch(points)
        loss = tf.reduce_sum(tf.sin(layer(x() if callable(x) else x, **call)))
        first = tape.gradient(loss, points)
        if order == 1:
            return first
        total = tf.add_n([tf.reduce_sum(g**2) for g in first])
    return outer.gradient(total, points)


@FIRST_OF_THREE
@pytest.mark.parametrize(
    ("mode", "training"),
    [("eager", False), pytest.param("graph", False, marks=pytest.mark.long), ("graph", True)],
)
def test_an_activation_may_have_weights(ours, twin, mode, training):
    layers = pair(ours, twin, 3, activation=keras.layers.PReLU("normal"), return_sequences=True)
    assert len(layers[0].trainable_weights) == 4
    for order in (1, 2):
        got = []
        for layer in layers:
            points = [tf.constant(X), *(w.value for w in layer.trainable_weights)]
            run = lambda o=order, a=layer, p=points: slopes(a, p[0], p, o, training=training)  # noqa: E731
            got.append((run if mode == "eager" else tf.function(run, autograph=False))())
        for a, b in zip(*got, strict=True):
            assert np.abs(b).max() > 0
            assert_near("gradient", a, b, 1e-4)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_an_activation_may_use_tensors_from_elsewhere(ours, mode):
    layer, v = ours(3), tf.Variable(0.4)
    layer(X)

    def gradient():
        with tf.GradientTape() as tape:
            scale = tf.exp(v)
            layer.cell.activation = lambda z: tf.tanh(scale * z)
            y = tf.reduce_sum(layer(X, training=True) ** 2)
        return y, tape.gradient(y, v)

    run = gradient if mode == "eager" else tf.function(gradient, jit_compile=mode == "xla")
    _, slope = run()
    values = []
    for step in (0.01, -0.01):
        v.assign(0.4 + step)
        values.append(gradient()[0])
    assert_near("gradient", slope, (values[0] - values[1]) / 0.02, 1e-3)


def test_a_constant_activation_has_no_slope(ours, twin):
    x, got = tf.constant(X), []
    for layer in pair(ours, twin, 3, activation=tf.ones_like):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        points = [x, *(w.value for w in layer.trainable_weights)]
        got.append(tape.gradient(y, points, unconnected_gradients="zero"))
    for a, b in zip(*got, strict=True):
        assert_near("gradient", a, b, 1e-5)


# tests/promises/test_sums_in_16_bits.py has both dtypes in graphs and under XLA.
@pytest.mark.parametrize(
    "mode", ["eager", *(pytest.param(m, marks=pytest.mark.long) for m in ("graph", "xla"))]
)
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_gradients_of_the_bias_are_summed_in_float32(ours, name, dtype, mode):
    """64 rows times 300 steps: 16 bits would stop counting at 256 or 2048."""
    x = tf.constant(RNG.standard_normal((64, 300, 2)), tf.float32)
    layer = ours(4, return_sequences=True, dtype=dtype)
    exact = ours.from_config({**layer.get_config(), "dtype": "float64"})
    layer(x), exact(x)
    exact.set_weights([w.astype("float64") for w in layer.get_weights()])

    def gradient(layer):
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, "float64")) / 64
        weights = [w.value for w in layer.trainable_variables]
        return [tf.cast(g, "float64") for g in tape.gradient(loss, weights)]

    run = lambda: gradient(layer)  # noqa: E731
    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla", autograph=False)
    tolerance = 0.005 if dtype == "mixed_float16" else 0.04
    for a, b in zip(run(), gradient(exact), strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cell_sums_50000_rows_in_float32(name, dtype):
    cell = getattr(custom_layers, f"{name}Cell")(
        1, "linear", recurrent_initializer="zeros", dtype=dtype
    )
    x = tf.zeros((50_000, 1), dtype)
    states = cell.get_initial_state(50_000)
    cell(x, states)
    cell.set_weights([np.zeros_like(w) for w in cell.get_weights()])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.cast(cell(x, states)[0], tf.float32)) / 8
    db = tape.gradient(y, cell.bias.value)
    slope = {"LSTM": 1 / 4, "GRU": 1 / 2, "SimpleRNN": 1}[name]  # all gates are 1/2
    assert_near("largest db", np.max(np.float32(db)), np.float32(50_000 / 8 * slope), 0.01)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_what_is_masked_has_no_influence(ours, mode):
    """Whatever a masked step holds: outputs, gradients, second derivatives."""
    layer = ours(3, return_sequences=True, recurrent_dropout=0.0)
    layer(X)

    def run(x):
        points = [x, *(w.value for w in layer.trainable_weights)]
        first = slopes(layer, x, points, mask=MASK)
        second = slopes(layer, x, points, 2, mask=MASK, training=True)
        return [layer(x, mask=MASK), *first, *second]

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla", autograph=False)
    expected, *others = (
        run(tf.constant(np.where(MASK[..., None], X, np.float32(hidden))))
        for hidden in (0.0, np.nan, np.inf, 3e38)
    )
    for other in others:
        for a, b in zip(expected, other, strict=True):
            assert np.isfinite(a).all()
            assert_near("masked", b, a, 1e-6)


@FIRST_OF_THREE
def test_unrolled_there_is_no_loop(ours):
    """Neither forward nor backward, and the numbers stay."""
    x, results = tf.constant(X), []
    for unroll in (False, True):
        keras.utils.set_random_seed(0)
        layer = ours(3, unroll=unroll, return_sequences=True)
        layer(X)

        def run(layer=layer):
            points = [x, *(w.value for w in layer.trainable_weights)]
            call = {"mask": MASK, "training": True}
            return [
                layer(x, **call),
                *slopes(layer, x, points, **call),
                *slopes(layer, x, points, 2, **call),
            ]

        function = tf.function(run, autograph=False).get_concrete_function()
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        assert any(n.op in ("While", "StatelessWhile") for n in nodes) is not unroll
        results.append(function())
    for a, b in zip(*results, strict=True):
        assert_near("unrolled", b, a, 1e-5)


@FIRST_OF_THREE
def test_unrolled_it_runs_without_flex(ours, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    model = keras.Sequential([keras.Input((6, 4)), ours(3, unroll=True)])
    model.export(tmp_path / "unrolled.tflite", format="litert", verbose=False)
    net = litert.Interpreter(str(tmp_path / "unrolled.tflite"))
    net.allocate_tensors()
    net.set_tensor(net.get_input_details()[0]["index"], X[:1])
    net.invoke()
    y = net.get_tensor(net.get_output_details()[0]["index"])
    assert_near("LiteRT", y, model.predict(X[:1], verbose=0), 1e-5)


def test_an_interrupted_call_leaves_no_dropout_mask(ours):
    layer = ours(3, dropout=0.5, recurrent_dropout=0.5, activation=lambda z: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layer(X, training=True)
    layer.cell.activation = tf.tanh
    assert layer(X[:2], training=True).shape == (2, 3)


def test_a_stateful_layer_of_any_length_is_exported(ours, tmp_path):
    model = keras.Sequential([keras.Input(batch_shape=(5, None, 4)), ours(3, stateful=True)])
    expected = [model(X[:, :2]), model(X[:, 2:])]
    model.layers[0].reset_state()
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    for x, y in zip((X[:, :2], X[:, 2:]), expected, strict=True):
        assert_near("step by step", loaded.serve(x), y, 1e-5)


def test_no_time_step(ours):
    with pytest.raises(ValueError, match="Expected at least one time step"):
        ours(3)(X[:, :0])
    layer = ours(3, return_sequences=True)
    run = tf.function(layer, input_signature=[tf.TensorSpec((5, None, 4))])
    assert run(X[:, :0]).shape == (5, 0, 3)
    for batch in (5, None):
        run = tf.function(ours(3), input_signature=[tf.TensorSpec((batch, None, 4))])
        with pytest.raises(tf.errors.InvalidArgumentError, match="out of bounds|an empty list"):
            run(X[:, :0])


def test_the_mask_goes_on_with_the_time_axis_only(ours):
    for sequences, states in ((False, False), (True, False), (False, True), (True, True)):
        layer = ours(3, return_sequences=sequences, return_state=states)
        mask = layer.compute_mask(X, MASK)
        if states:
            assert mask[1:] == [None] * len(layer.state_size)
            mask = mask[0]
        assert mask is (MASK if sequences else None)


@FIRST_OF_THREE
def test_check_numerics_may_be_on(ours):
    tf.debugging.enable_check_numerics()
    try:
        model = keras.Sequential([keras.Input((6, 4)), ours(3)])
        model.compile("sgd", "mse")
        assert np.isfinite(model.fit(X, np.zeros((5, 3)), verbose=0).history["loss"]).all()
    finally:
        tf.debugging.disable_check_numerics()
