"""What people override in, call on, or read from Keras's layers is there in ours, and is called.

Keras's documented hooks are an interface: `convolution_op` is overridden to standardize a kernel,
`inner_loop` to run a recurrence differently, `get_initial_state` to begin elsewhere. The lists of
methods and attributes are read off Keras's classes, so a new hook of Keras turns this red.
"""

import copy
import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_layers
from custom_layers import convert
from tests.promises.every_layer import ROWS, SelfAttention

LORA = "LoRA is left out: a clear error instead of a weight"
QUANTIZATION = "quantization is left out: a clear error instead of a weight"
# What a twin need not have or call, and why.
ABSENT = {
    "variable_serialization_spec": QUANTIZATION,
    "quantized_build": QUANTIZATION,
    "quantization_mode": QUANTIZATION,
    "quantization_config": QUANTIZATION,
    "gptq_unpacked_column_size": QUANTIZATION,
    "lora_enabled": LORA,
    "lora_rank": LORA,
    "lora_alpha": LORA,
}
# What Keras calls and ours does not, still to be mended.
NOT_CALLED = {"RNN": {"compute_output_shape"}}
# With other values Keras's transposed convolutions do not run in a graph on a CPU.
ON_A_CPU = {"data_format": "channels_last", "dilation_rate": 1}
# The rows of layers that live in another one: what is overridden is the cell's, or attention's.
CELLS = {"LSTMCell", "GRUCell", "SimpleRNNCell"}


def inner(name, layer):
    """The layer that a row shows."""
    if isinstance(layer, SelfAttention):
        return layer.attention
    return layer.cell if name in CELLS else layer


def twins():
    """{row: (a layer of ours, Keras's class)}; of a cell's row, the cell."""
    classes = {ours: theirs for theirs, ours in convert.twins().items()}
    for name, row in ROWS.items():
        layer = inner(name, row.make())
        theirs = classes.get(type(layer))
        if theirs is not None:
            yield name, layer, theirs


TWINS = {name: (layer, theirs) for name, layer, theirs in twins()}


def classes_above_layer(theirs):
    """The classes in which Keras writes that layer: its own and its bases below `Layer`."""
    return [c for c in theirs.__mro__ if not issubclass(keras.layers.Layer, c)]


def own_names(theirs):
    """The public names that Keras's class has beyond those of `Layer`, or writes again."""
    names = {name for cls in classes_above_layer(theirs) for name in vars(cls)}
    return {name for name in names if not name.startswith("_")}


def overridable(theirs):
    """The methods among them that a subclass may override."""
    return {
        name
        for name in own_names(theirs) - ABSENT.keys()
        if inspect.isfunction(inspect.getattr_static(theirs, name))
    }


def spied(cls, names, called):
    """A subclass that overrides each method of these names, notes the call and passes it on."""

    def override(name):
        original = getattr(cls, name)

        @functools.wraps(original)
        def method(self, *arguments, **options):
            called.add(name)
            return original(self, *arguments, **options)

        return method

    return type(cls.__name__, (cls,), {name: override(name) for name in names})


def rebuilt(name, cls, config):
    """A layer of that class, and the row's way to use it: itself, or inside of another one."""
    layer = cls.from_config(copy.deepcopy(config))  # Keras's RNN takes its cell out of it
    if isinstance(ROWS[name].make(), SelfAttention):
        return SelfAttention(layer)
    return keras.layers.RNN(layer) if name in CELLS else layer


def build(name, layer):
    around = SelfAttention(layer) if isinstance(ROWS[name].make(), SelfAttention) else layer
    around.build(ROWS[name].inputs.shape)


def live(name, cls, config, folder):
    """What a layer goes through: symbolic, eager, training, prediction, saving, loading."""
    row = ROWS[name]
    inputs = row.nodes()
    x = inputs
    if isinstance(rebuilt(name, cls, config), (keras.layers.RNN, custom_layers.RNN)):
        x = keras.layers.Masking()(inputs)
    layer = rebuilt(name, cls, config)
    model = keras.Model(inputs, layer(x))
    y = model.predict_on_batch(row.inputs)
    if model.trainable_weights:
        model.compile("sgd", ["mse"] * len(model.outputs), jit_compile=False)
        model.train_on_batch(row.inputs, tf.nest.map_structure(np.zeros_like, y))
    layer(row.inputs)
    model.save(folder / "model.keras")
    with keras.saving.custom_object_scope(
        {cls.__name__: cls, f"custom_layers>{cls.__name__}": cls}
    ):
        keras.models.load_model(folder / "model.keras")


@pytest.mark.parametrize("name", TWINS)
def test_each_public_name_is_there(name):
    layer, theirs = TWINS[name]
    missing = {n for n in own_names(theirs) - ABSENT.keys() if not hasattr(type(layer), n)}
    if missing:  # Keras makes a property of what ours keeps as a plain attribute of the object
        build(name, layer)
    assert not {n for n in missing if not hasattr(layer, n)}


@pytest.mark.parametrize("name", TWINS)
def test_each_public_attribute_is_there(name):
    """Those that an object of Keras's class has once it is built."""
    layer, theirs = TWINS[name]
    twin = theirs.from_config(layer.get_config())
    ours = type(layer).from_config(layer.get_config())
    for each in twin, ours:
        build(name, each)
    missing = {n for n in vars(twin) if not n.startswith("_") and not hasattr(ours, n)}
    assert not missing - ABSENT.keys()


@pytest.mark.parametrize("name", TWINS)
def test_what_a_subclass_overrides_is_called(name, tmp_path):
    layer, theirs = TWINS[name]
    config = layer.get_config()
    config |= {n: value for n, value in ON_A_CPU.items() if n in config}
    names, by_keras, by_us = overridable(theirs), set(), set()
    live(name, spied(theirs, names, by_keras), config, tmp_path)
    ours = names & set(dir(type(layer)))
    live(name, spied(type(layer), ours, by_us), config, tmp_path)
    assert by_keras  # the spies work
    assert by_keras - by_us == NOT_CALLED.get(name, set())
