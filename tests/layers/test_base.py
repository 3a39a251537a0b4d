"""Layer: config from the signature, options by name."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_layers.base import Layer, check_positive
from custom_layers.core.dense import Dense


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
