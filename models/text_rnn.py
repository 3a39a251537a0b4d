"""text_rnn: words read one after the other, forward and backward.

    text -> ids -> Embedding -> Dropout                         (B, T, E)
         -> LSTM, GRU or SimpleRNN, both ways                   (B, 2 units)
         -> Dropout -> Dense -> softmax                         (B, classes)

Padding is masked: the states are those after the last word, and zeros where there is no word.
"""

import keras

import custom_layers
from models.penalty import penalty


def text_rnn(
    vectorizer,
    classes,
    *,
    cell="LSTM",
    embedding=64,
    units=64,
    dropout=0.5,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A classifier of texts.

    Args:
        vectorizer: an adapted `keras.layers.TextVectorization`; it becomes part of the model.
        classes: number of classes.
        cell: "LSTM", "GRU" or "SimpleRNN".
        embedding: size of a word's vector.
        units: size of the state in each direction.
        dropout: fraction dropped from the words' vectors and from the last states.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from texts `(B,)` to probabilities `(B, classes)`.
    """
    text = keras.Input((), dtype="string", name="text")
    x = vectorizer(text)
    x = layers.Embedding(vectorizer.vocabulary_size(), embedding, mask_zero=True, name="embedding")(
        x
    )
    x = layers.Dropout(dropout, name="dropout_words")(x)
    recurrent = getattr(layers, cell)(
        units,
        kernel_regularizer=penalty(l1, l2, layers),
        recurrent_regularizer=penalty(l1, l2, layers),
        name="recurrent",
    )
    x = keras.layers.Bidirectional(recurrent, name="both_ways")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(text, outputs, name="text_rnn")
