"""text_convnet: convolutions over words, and the strongest response of each filter.

    words      text -> ids -> Embedding                                     (B, T, E)
    filters    for each width: Conv1D -> ReLU -> maximum over time          (B, filters)
    head       all widths side by side -> Dropout -> Dense -> softmax

Padding has an embedding like any word, so even a text without words gets an answer.

Kim, "Convolutional Neural Networks for Sentence Classification", 2014.
"""

import keras

import custom_layers
from models.penalty import penalty


def text_convnet(
    vectorizer,
    classes,
    *,
    embedding=128,
    widths=(3, 4, 5),
    filters=100,
    dropout=0.5,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A classifier of texts.

    Args:
        vectorizer: an adapted `keras.layers.TextVectorization` with an `output_sequence_length` of
            at least the largest width; it becomes part of the model.
        classes: number of classes.
        embedding: size of a word's vector.
        widths: numbers of words that the filters span.
        filters: number of filters of each width.
        dropout: fraction dropped from the words' vectors and from the filters' responses.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from texts `(B,)` to probabilities `(B, classes)`.
    """
    text = keras.Input((), dtype="string", name="text")
    words = vectorizer(text)
    words = layers.Embedding(vectorizer.vocabulary_size(), embedding, name="embedding")(words)
    words = layers.Dropout(dropout, name="dropout_words")(words)

    def strongest(width):
        x = layers.Conv1D(
            filters,
            width,
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=penalty(l1, l2, layers),
            name=f"conv_{width}",
        )(words)
        return layers.GlobalMaxPooling1D(name=f"max_{width}")(x)

    x = [strongest(width) for width in widths]
    x = keras.layers.Concatenate(name="answers")(x) if len(x) > 1 else x[0]
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(text, outputs, name="text_convnet")
