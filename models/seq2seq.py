"""seq2seq: one LSTM reads a sequence, another one writes its translation.

    encoder    source ids -> Embedding -> LSTM                          its last states h, c
    decoder    target ids -> Embedding -> LSTM from h, c -> Dropout -> Dense -> softmax

In training, the decoder is given the correct translation up to each place and predicts the next
symbol. In use, it is given what it wrote itself: `encoder` and `decoder` split the trained model
into the part that reads and one step of the part that writes, and `translate` runs them.

Id 0 is padding, which is masked in both languages and by the loss.
Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural Networks", 2014.
"""

import keras
import numpy as np

import custom_layers
from models.penalty import penalty


def seq2seq(
    source_vocabulary,
    target_vocabulary,
    *,
    embedding=64,
    units=256,
    dropout=0.2,
    l1=0.0,
    l2=0.0,
    layers=custom_layers,
):
    """A model that translates.

    Args:
        source_vocabulary, target_vocabulary: number of ids, padding included.
        embedding: size of a symbol's vector.
        units: size of the states.
        dropout: fraction dropped from the source's vectors and from the decoder's output.
        l1, l2: factors of the penalty l1 Σ|W| + l2 Σ W² of every kernel.
        layers: where the layers come from; `keras.layers` gives the reference.

    Returns:
        A `keras.Model` from `[source (B, S), target (B, T)]`, ids, to probabilities
        `(B, T, target_vocabulary)` of the symbol that follows each one of the target.
    """

    def lstm(name, **arguments):
        return layers.LSTM(
            units,
            return_state=True,
            kernel_regularizer=penalty(l1, l2, layers),
            recurrent_regularizer=penalty(l1, l2, layers),
            name=name,
            **arguments,
        )

    def embedded(ids, vocabulary, name):
        return layers.Embedding(vocabulary, embedding, mask_zero=True, name=name)(ids)

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    x = embedded(source, source_vocabulary, "source_embedding")
    x = layers.Dropout(dropout, name="source_dropout")(x)
    _, *states = lstm("reader")(x)
    y = embedded(target, target_vocabulary, "target_embedding")
    y, *_ = lstm("writer", return_sequences=True)(y, initial_state=states)
    y = layers.Dropout(dropout, name="target_dropout")(y)
    outputs = layers.Dense(
        target_vocabulary,
        activation="softmax",
        kernel_regularizer=penalty(l1, l2, layers),
        name="probabilities",
    )(y)
    return keras.Model([source, target], outputs, name="seq2seq")


def encoder(model):
    """The part of a `seq2seq` model that reads: source ids `(B, S)` to states h, c `(B, units)`."""
    return keras.Model(model.inputs[0], model.get_layer("reader").output[1:], name="encoder")


def decoder(model):
    """One step of the part that writes: `[ids (B, 1), h, c]` to `[probabilities (B, V), h, c]`."""
    writer = model.get_layer("writer")
    ids = keras.Input((1,), dtype="int32", name="ids")
    states = [keras.Input((writer.units,), name=name) for name in ("h", "c")]
    y, *after = writer(model.get_layer("target_embedding")(ids), initial_state=states)
    outputs = model.get_layer("probabilities")(keras.ops.squeeze(y, 1))
    return keras.Model([ids, *states], [outputs, *after], name="decoder")


def translate(reader, writer, source, *, start, end, length, beams=1):
    """The most likely translation of each source that beam search finds.

    Args:
        reader, writer: from `encoder` and `decoder`.
        source: ids `(B, S)`.
        start, end: the ids that a translation begins and ends with.
        length: the largest number of ids written.
        beams: number of unfinished translations kept at a time; 1 takes the most likely id at
            each place, which is greedy search.

    Returns:
        Ids `(B, <= length)` without `start` and `end`, padded with 0.
    """
    count = len(source)
    states = [np.repeat(state, beams, axis=0) for state in reader.predict_on_batch(source)]
    written = np.full((count, beams, 1), start)
    scores = np.full((count, beams), -np.inf)  # log probabilities
    scores[:, 0] = 0  # all beams of a source begin equal: only one may be followed
    done = np.zeros((count, beams), bool)
    rows = np.arange(count)[:, None]
    for _ in range(length):
        last = np.where(done, 0, written[:, :, -1]).reshape(-1, 1)
        probabilities, *states = writer.predict_on_batch([last, *states])
        gains = np.log(np.maximum(probabilities, 1e-30)).reshape(count, beams, -1)
        gains[:, :, [0, start]] = -np.inf
        gains[done] = -np.inf
        gains[done, 0] = 0  # a finished one stays, with its score
        totals = (scores[:, :, None] + gains).reshape(count, -1)
        best = np.argsort(-totals, axis=1, kind="stable")[:, :beams]
        scores = totals[rows, best]
        parents, ids = np.divmod(best, gains.shape[-1])
        written = np.concatenate([written[rows, parents], ids[:, :, None]], axis=2)
        states = [s[(rows * beams + parents).reshape(-1)] for s in states]
        done = done[rows, parents] | (ids == end)
        if done.all():
            break
    result = written[:, 0, 1:]  # the first beam is the best
    return np.where(result == end, 0, result)
