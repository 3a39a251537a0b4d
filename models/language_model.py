"""language_model: the probabilities of the next symbol, given the ones before it.

    ids -> Embedding -> (LSTM or GRU -> Dropout) for each layer -> Dense -> softmax

It is trained on windows of text. `writer` turns it into a model that writes: its states
persist between calls, so it is fed one symbol at a time.
"""

import keras

import custom_layers
from models.penalty import penalty


def language_model(
    vocabulary,
    *,
    cell="LSTM",
    embedding=64,
    units=(256,),
    dropout=0.2,
    l1=0.0,
    l2=0.0,
    layers=custom_layers,
):
    """A model of sequences of symbols.

    Args:
        vocabulary: number of symbols.
        cell: "LSTM" or "GRU".
        embedding: size of a symbol's vector.
        units: size of the state of each recurrent layer.
        dropout: fraction dropped after each recurrent layer.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from ids `(B, T)` to probabilities `(B, T, vocabulary)` of what comes next.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(vocabulary, embedding, name="embedding")(ids)
    for i, size in enumerate(units, 1):
        x = getattr(layers, cell)(
            size,
            return_sequences=True,
            kernel_regularizer=penalty(l1, l2, layers),
            recurrent_regularizer=penalty(l1, l2, layers),
            name=f"recurrent_{i}",
        )(x)
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x)
    outputs = layers.Dense(
        vocabulary,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(ids, outputs, name="language_model")


def writer(model):
    """A copy of a language model for one text, whose states persist between calls until reset."""

    def stateful(layer):
        config = layer.get_config()
        if "stateful" in config:
            config["stateful"] = True
        return type(layer).from_config(config)

    one = keras.Input(batch_shape=(1, None), dtype="int32", name="ids")
    copy = keras.models.clone_model(model, input_tensors=one, clone_function=stateful)
    copy.set_weights(model.get_weights())
    return copy
