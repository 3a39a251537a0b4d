"""mlp: a multi-layer perceptron.

Flatten -> (Dense -> ReLU -> Dropout) for each hidden layer -> Dense -> softmax
"""

import keras

import custom_layers
from models.penalty import penalty


def mlp(
    input_shape,
    classes,
    *,
    units=(128, 64),
    dropout=0.25,
    l1=0.0,
    l2=1e-4,
    moments=None,
    layers=custom_layers,
):
    """A classifier of arrays of any rank.

    Args:
        input_shape: shape of one example.
        classes: number of classes.
        units: width of each hidden layer.
        dropout: fraction of features dropped after each hidden layer.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        moments: mean and variance of each feature, which bring features in different units to the
            same scale; None leaves them as they are.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from `(B, *input_shape)` to probabilities `(B, classes)`.
    """
    inputs = keras.Input(input_shape, name="features")
    x = layers.Flatten(name="flatten")(inputs)
    if moments is not None:
        x = keras.layers.Normalization(mean=moments[0], variance=moments[1], name="scaled")(x)
    for i, width in enumerate(units, 1):
        x = layers.Dense(
            width,
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"hidden_{i}",
        )(x)
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="mlp")
