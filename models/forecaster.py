"""forecaster: predicts the next values of a series from the last ones.

    values -> standardized -> GRU, LSTM or causal convolutions -> Dropout -> Dense -> values

The convolutions look 1, 2, 4, ... steps apart, so that a few of them see the whole history.
"""

import keras

import custom_layers
from models.penalty import penalty


def forecaster(
    history,
    horizon,
    *,
    kind="GRU",
    units=32,
    mean=0.0,
    variance=1.0,
    dropout=0.0,
    l1=0.0,
    l2=0.0,
    layers=custom_layers,
):
    """A model that forecasts a series.

    Args:
        history: number of values that it is given.
        horizon: number of values that it predicts.
        kind: "GRU", "LSTM" or "Conv1D".
        units: size of the state, or number of filters.
        mean, variance: of the series; the model itself sees standardized values.
        dropout: fraction dropped before the last layer.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from `(B, history)` to `(B, horizon)`.
    """

    def recurrent(x):
        return getattr(layers, kind)(
            units,
            kernel_regularizer=penalty(l1, l2, layers),
            recurrent_regularizer=penalty(l1, l2, layers),
            name="recurrent",
        )(x)

    def convolutions(x):
        dilation = 1
        while dilation < history:  # one filter reaches twice as far as the one below it
            x = layers.Conv1D(
                units,
                2,
                padding="causal",
                dilation_rate=dilation,
                activation="relu",
                kernel_initializer="he_normal",
                kernel_regularizer=penalty(l1, l2, layers),
                name=f"conv_{dilation}",
            )(x)
            dilation *= 2
        return x[:, -1]  # the only step that sees the whole history

    inputs = keras.Input((history,), name="values")
    scale = {"axis": None, "mean": mean, "variance": variance}
    x = keras.layers.Normalization(**scale, name="standardized")(inputs)
    x = keras.ops.expand_dims(x, -1)
    x = convolutions(x) if kind == "Conv1D" else recurrent(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(horizon, kernel_regularizer=penalty(l1, l2, layers), name="forecast")(x)
    outputs = keras.layers.Normalization(**scale, invert=True, name="in_units")(x)
    return keras.Model(inputs, outputs, name="forecaster")
