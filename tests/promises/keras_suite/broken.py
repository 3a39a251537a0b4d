"""Layers with a mistake each, to see that Keras's tests notice when they run against ours."""

import keras
import tensorflow as tf

import custom_layers


@keras.saving.register_keras_serializable(package="broken")
class Dense(custom_layers.Dense):
    """Forgets its bias."""

    def call(self, inputs, training=None):
        y = tf.tensordot(inputs, tf.convert_to_tensor(self.kernel), 1)
        return self.activation(y)


@keras.saving.register_keras_serializable(package="broken")
class LSTM(custom_layers.LSTM):
    """Reads its sequences forward, always."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.go_backwards = False


@keras.saving.register_keras_serializable(package="broken")
class Flatten(custom_layers.Flatten):
    """Ignores the data format."""

    def __init__(self, data_format=None, **kwargs):
        super().__init__("channels_last", **kwargs)


@keras.saving.register_keras_serializable(package="broken")
class ReLU(custom_layers.ReLU):
    """Ignores its threshold."""

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        super().__init__(max_value, negative_slope, 0.0, **kwargs)
