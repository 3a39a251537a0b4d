"""transformer: words that attend to each other.

    words      text -> ids -> Embedding + Embedding of the position -> Dropout        (B, T, E)
    block      x + Dropout(MultiHeadAttention(LayerNorm(x)))
               x + Dropout(Dense(ReLU(Dense(LayerNorm(x)))))                          (B, T, E)
    head       LayerNorm -> mean over the words -> Dropout -> Dense -> softmax

Nobody attends to padding, except that the first place counts always: a text of no words would
otherwise be a mean over nothing.

Vaswani et al., "Attention Is All You Need", 2017, with the norms first as in Xiong et al., 2020.
"""

import keras

import custom_layers
from models.penalty import penalty


def transformer(
    vectorizer,
    classes,
    *,
    blocks=2,
    heads=4,
    width=64,
    hidden=128,
    dropout=0.2,
    l1=0.0,
    l2=1e-4,
    layers=custom_layers,
):
    """A classifier of texts.

    Args:
        vectorizer: an adapted `keras.layers.TextVectorization` with an `output_sequence_length`;
            it becomes part of the model.
        classes: number of classes.
        blocks: number of blocks.
        heads: of each block's attention.
        width: E, a multiple of `heads`.
        hidden: width of the hidden layer of each block.
        dropout: fraction dropped from the words' vectors, each block's two terms and the mean.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of the kernels of dense layers.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from texts `(B,)` to probabilities `(B, classes)`.
    """

    def dense(units, name, activation=None):
        return layers.Dense(
            units, activation, kernel_regularizer=penalty(l1, l2, layers), name=name
        )

    def block(x, seen, name):
        y = layers.LayerNormalization(name=f"{name}_norm_1")(x)
        y = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(
            y, y, attention_mask=keras.ops.expand_dims(seen, 1)
        )
        x = x + layers.Dropout(dropout, name=f"{name}_dropout_1")(y)
        y = layers.LayerNormalization(name=f"{name}_norm_2")(x)
        y = dense(width, f"{name}_out")(dense(hidden, f"{name}_hidden", "relu")(y))
        return x + layers.Dropout(dropout, name=f"{name}_dropout_2")(y)

    text = keras.Input((), dtype="string", name="text")
    ids = vectorizer(text)
    ones = keras.ops.ones_like(ids)
    positions = keras.ops.cumsum(ones, axis=1) - 1
    seen = keras.ops.logical_or(keras.ops.not_equal(ids, 0), keras.ops.equal(positions, 0))
    x = layers.Embedding(vectorizer.vocabulary_size(), width, name="embedding")(ids)
    x = x + layers.Embedding(ids.shape[1], width, name="position")(positions)
    x = layers.Dropout(dropout, name="dropout_words")(x)
    for i in range(1, blocks + 1):
        x = block(x, seen, f"block_{i}")
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x, mask=seen)
    x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(
        classes,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(x)
    return keras.Model(text, outputs, name="transformer")
