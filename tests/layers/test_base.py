"""Layer: config from the signature, options by name."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.base import Layer, check_positive
from custom_layers.core.dense import Dense
from custom_layers.core.embedding import Embedding


class Scale(Layer):
    def __init__(self, factor=2.0, scale_regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.set_weight_options("scale", "ones", scale_regularizer, "non_neg")


class Twice(Scale):
    def __init__(self, **kwargs):
        super().__init__(factor=4.0, **kwargs)


def test_config_is_the_signature():
    config = Scale(3.0, scale_regularizer="l2", name="s").get_config()
    assert config["factor"] == 3.0
    assert config["scale_regularizer"]["class_name"] == "L2"
    assert config["name"] == "s"
    assert set(config) == {"name", "trainable", "dtype", "factor", "scale_regularizer"}
    again = Scale.from_config(config)
    assert again.get_config() == config
    assert isinstance(again.scale_regularizer, keras.regularizers.L2)


def test_a_subclass_keeps_the_arguments_of_its_base():
    assert Twice().get_config()["factor"] == 4.0


class Forgetful(Scale):
    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.kept_as = rate


class Careful(Forgetful):
    def get_config(self):
        return {**super().get_config(), "rate": self.kept_as}


class More(Careful):
    def __init__(self, rate, more, **kwargs):
        super().__init__(rate, **kwargs)


def test_no_argument_vanishes_from_the_config():
    with pytest.raises(NotImplementedError, match="of Forgetful would lack `rate`"):
        Forgetful(0.5).get_config()
    assert Careful.from_config(Careful(0.5).get_config()).kept_as == 0.5
    with pytest.raises(NotImplementedError, match="lack `more`, an argument of More"):
        More(0.5, 1).get_config()


class Gated(Dense):
    def __init__(self, units, gate_activation="sigmoid", gate_initializer=None, **kwargs):
        super().__init__(units, **kwargs)
        self.gate_activation = gate_activation
        self.gate_initializer = gate_initializer


@pytest.mark.parametrize("activation", ["sigmoid", None, keras.activations.tanh])
def test_what_names_an_object_may_stay_a_name(activation):
    """An argument of a subclass elsewhere, which need not keep what Keras's `get` makes of it."""
    config = Gated(3, activation, "zeros").get_config()
    expected = "tanh" if callable(activation) else activation
    assert config["gate_activation"] == expected
    assert Gated.from_config(config).gate_activation == expected
    assert config["gate_initializer"] == "zeros"


def test_neither_lora_nor_quantization():
    """One sentence each, which names what is missing and what helps."""
    layer = Dense(3, name="dense")
    layer.build((None, 2))
    with pytest.raises(NotImplementedError, match="method `enable_lora`.*convert.to_keras"):
        layer.enable_lora(2)
    with pytest.raises(NotImplementedError, match="method `quantize`.*convert.to_keras"):
        layer.quantize("int8")
    for cls in (Dense, Embedding):
        arguments = (3,) if cls is Dense else (3, 2)
        with pytest.raises(ValueError, match="argument `lora_rank`.*convert.to_keras"):
            cls(*arguments, lora_rank=4)
        with pytest.raises(ValueError, match="dtype 'int8_from_float32'.*convert.to_keras"):
            cls(*arguments, dtype="int8_from_float32")
    model = keras.Sequential([keras.Input((2,)), layer])
    with pytest.warns(UserWarning, match="method `quantize`.*convert.to_keras"):
        model.quantize("int8", filters="dense")
    assert model(np.ones((1, 2))).shape == (1, 3)


def test_an_unbuilt_layer_says_so():
    for layer, name in ((Dense(3), "kernel"), (Embedding(3, 2), "embeddings")):
        with pytest.raises(AttributeError, match=f"must build the layer before .*`{name}`"):
            getattr(layer, name)
    with pytest.raises(AttributeError, match="has never been called"):
        _ = Dense(3).output


def test_weight_options():
    options = Scale().weight_options("scale")
    assert isinstance(options["initializer"], keras.initializers.Ones)
    assert options["regularizer"] is None
    assert isinstance(options["constraint"], keras.constraints.NonNeg)


def test_config_survives_json(tmp_path):
    layer = Dense(3, kernel_regularizer=keras.regularizers.L1(0.1), activation="relu")
    loaded = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(loaded) is Dense
    assert loaded.get_config() == layer.get_config()


@pytest.mark.parametrize("value", [0, -3, 1.0, True, "2", None])
def test_check_positive(value):
    with pytest.raises(ValueError, match="`size` must be a positive integer"):
        check_positive(size=value)


def test_integers_of_numpy_are_integers():
    layer = Dense(np.int64(3))
    layer(tf.ones((1, 2)))
    config = json.loads(json.dumps(keras.layers.serialize(layer)))
    assert config["config"]["units"] == 3
    assert keras.layers.deserialize(config).units == 3
