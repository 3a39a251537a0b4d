"""sequence_classifier: convolutions for the shapes in a signal, a GRU for their order.

    sound      waveform -> mel spectrogram in decibels                    (B, T, mels)
    block      Conv1D -> ReLU -> BatchNorm -> maximum of two -> Dropout   (B, T/2, filters)
head       GRU -> Dropout -> Dense -> softmax
"""

import keras

import custom_layers
from models.penalty import penalty


def sequence_classifier(
    input_shape,
    classes,
    *,
    rate=None,
    filters=(32, 64),
    width=5,
    units=64,
    dropout=0.25,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A classifier of signals.

    Args:
        input_shape: `(T, C)`, or `(T,)` for the waveform of a sound.
        classes: number of classes.
        rate: samples per second of a waveform.
        filters: channels of each block.
        width: steps that a filter spans.
        units: size of the state.
        dropout: fraction dropped after each block and before the last layer.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from `(B, *input_shape)` to probabilities `(B, classes)`.
    """

    def block(x, channels, name):
        x = layers.Conv1D(
            channels,
            width,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"{name}_conv",
        )(x)
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        x = layers.MaxPooling1D(2, padding="same", name=f"{name}_pool")(x)
        return layers.Dropout(dropout, name=f"{name}_dropout")(x)

    inputs = x = keras.Input(input_shape, name="signal")
    if len(input_shape) == 1:
        x = mel_spectrogram(x, rate)
    for i, channels in enumerate(filters, 1):
        x = block(x, channels, f"block_{i}")
    x = layers.GRU(
        units,
        kernel_regularizer=penalty(l1, l2, layers),
        recurrent_regularizer=penalty(l1, l2, layers),
        name="recurrent",
    )(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="sequence_classifier")


def mel_spectrogram(x, rate):
    """Loudness in decibels / 40, by time and pitch: windows of 32 ms, half overlapping."""
    x = keras.layers.MelSpectrogram(
        fft_length=_power_of_two(rate * 0.032),
        sequence_stride=_power_of_two(rate * 0.032) // 2,
        sampling_rate=rate,
        num_mel_bins=40,
        min_freq=50.0,
        max_freq=rate / 2,
        ref_power=1.0,
        name="mel_spectrogram",
    )(x)  # (B, mels, T)
    return keras.layers.Permute((2, 1), name="time_first")(x) / 40


def _power_of_two(samples):
    return 2 ** round(samples).bit_length() // 2
