"""A tiny, untrained model of each kind in models/, and its inputs: to prove exports with.

tiny = TINY["unet"]
model, x = tiny.build(), tiny.inputs(3)     # three examples; of graphs, three nodes or graphs
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from custom_layers import APPNP, GATConv, GraphConv, SAGEConv, SGConv
from models.autoencoder import autoencoder
from models.convnet import convnet
from models.convnet3d import convnet3d
from models.detector import detections, detector
from models.forecaster import forecaster
from models.gan import gan
from models.graph_classifier import graph_classifier
from models.language_model import language_model
from models.mlp import mlp
from models.node_classifier import node_classifier
from models.recommender import recommender
from models.resnet import resnet
from models.seq2seq import decoder, encoder, seq2seq
from models.sequence_classifier import sequence_classifier
from models.text_convnet import text_convnet
from models.text_rnn import text_rnn
from models.transformer import transformer
from models.unet import unet
from models.vae import vae

TEXTS = ("the cat sat on the mat", "a dog", "cats and dogs and cats", "")
NODES, VOCABULARY = 11, 9


@dataclasses.dataclass(frozen=True)
class Tiny:
    """make: options of the model's function -> the model.

    inputs: how many -> what it is called with; more than `least`.
    """

    make: Callable
    inputs: Callable
    least: int = 0

    def build(self, **options):
        """The model, with weights that no initializer makes, so that each of them matters."""
        model = self.make(**options)
        rng = np.random.default_rng(1)
        for weight in model.weights:
            if keras.backend.is_float_dtype(weight.dtype):
                noise = 0.1 * rng.standard_normal(weight.shape)
                weight.assign_add(np.abs(noise) if weight.name == "moving_variance" else noise)
        return model


def random():
    return np.random.default_rng(0)


def numbers(*shape):
    return lambda count: random().standard_normal((count, *shape), "float32")


def ids(count, length=7):
    """Sequences of different lengths, padded with 0."""
    rng = random()
    rows = rng.integers(1, VOCABULARY, (count, length), dtype="int32")
    return np.where(np.arange(length) < rng.integers(1, length + 1, (count, 1)), rows, 0)


def texts(count):
    return np.array([TEXTS[i % len(TEXTS)] for i in range(count)], dtype=object)


def vectorizer():
    layer = keras.layers.TextVectorization(output_sequence_length=7, name="words")
    layer.adapt(list(TEXTS))
    return layer


def edges(nodes):
    """A ring with a chord, both ways, and a row of padding."""
    ring = [(i, (i + 1) % nodes) for i in range(nodes)] + [(0, nodes // 2)]
    rows = [*ring, *((t, s) for s, t in ring)]
    return np.array([*rows, (-1, -1)], "int32")


def nodes_with_words(count):
    rng = random()
    words = np.where(rng.random((count, 4)) < 0.7, rng.integers(0, VOCABULARY, (count, 4)), -1)
    return [words.astype("int32"), rng.random((count, 4), "float32"), edges(count)]


def packed_graphs(count):
    """`count` graphs of three nodes each, and one padded node."""
    nodes = 3 * count
    return {
        "nodes": numbers(4)(nodes + 1),
        "edges": edges(nodes),
        "graph_ids": np.append(np.repeat(np.arange(count), 3), -1).astype("int32"),
        "num_nodes": np.full(count, 3, "int32"),
    }


def likes(count):
    rng = random()
    users = rng.integers(0, 5, count, dtype="int32")
    items = rng.integers(5, NODES, (count, 2), dtype="int32")
    return [users, items, np.arange(NODES, dtype="int32"), edges(NODES)]


def of_nodes(conv, **sizes):
    def make(**options):
        return node_classifier(VOCABULARY, 3, conv=conv, **sizes, **options)

    return Tiny(make, nodes_with_words, least=2)  # a ring has three


def translator(part):
    def make(**options):
        return part(seq2seq(VOCABULARY, VOCABULARY, embedding=5, units=4, **options))

    return make


IMAGE, SMALL = (8, 8, 1), {"filters": (4, 8)}
FOUR = numbers(4)
TINY = {
    "mlp": Tiny(lambda **o: mlp(IMAGE, 5, units=(6, 5), **o), numbers(*IMAGE)),
    "convnet": Tiny(lambda **o: convnet(IMAGE, 5, units=6, **SMALL, **o), numbers(*IMAGE)),
    "resnet": Tiny(lambda **o: resnet(IMAGE, 5, **SMALL, **o), numbers(*IMAGE)),
    "unet": Tiny(lambda **o: unet(IMAGE, 4, **SMALL, **o), numbers(*IMAGE)),
    "detector": Tiny(lambda **o: detector((16, 12, 3), 4, **SMALL, **o), numbers(16, 12, 3)),
    "detections": Tiny(
        lambda **o: detections(detector((16, 12, 3), 4, **SMALL, **o), score=0.01),
        numbers(16, 12, 3),
    ),
    "convnet3d": Tiny(lambda **o: convnet3d((5, 8, 7, 1), 4, **SMALL, **o), numbers(5, 8, 7, 1)),
    "autoencoder": Tiny(lambda **o: autoencoder(IMAGE, **SMALL, **o), numbers(*IMAGE)),
    "vae": Tiny(lambda **o: vae(IMAGE, latent=3, **SMALL, **o), numbers(*IMAGE)),
    "gan": Tiny(lambda **o: gan(IMAGE, latent=4, **SMALL, **o), FOUR),
    "text_convnet": Tiny(
        lambda **o: text_convnet(vectorizer(), 3, embedding=5, filters=4, **o), texts
    ),
    "text_rnn": Tiny(lambda **o: text_rnn(vectorizer(), 3, embedding=5, units=4, **o), texts),
    "transformer": Tiny(
        lambda **o: transformer(vectorizer(), 3, heads=2, width=6, hidden=5, **o), texts
    ),
    "language_model LSTM": Tiny(
        lambda **o: language_model(VOCABULARY, embedding=5, units=(4, 3), **o), ids
    ),
    "language_model GRU": Tiny(
        lambda **o: language_model(VOCABULARY, cell="GRU", units=(4,), **o), ids
    ),
    "seq2seq": Tiny(translator(lambda model: model), lambda count: [ids(count), ids(count, 5)]),
    "seq2seq encoder": Tiny(translator(encoder), ids),
    "seq2seq decoder": Tiny(
        translator(decoder), lambda count: [ids(count, 1), FOUR(count), FOUR(count) / 2]
    ),
    "forecaster GRU": Tiny(lambda **o: forecaster(11, 4, units=5, **o), numbers(11)),
    "forecaster Conv1D": Tiny(lambda **o: forecaster(11, 4, kind="Conv1D", **o), numbers(11)),
    "sequence_classifier": Tiny(
        lambda **o: sequence_classifier((12, 3), 3, filters=(4, 5), units=4, **o),
        numbers(12, 3),
    ),
    "sequence_classifier of sounds": Tiny(
        lambda **o: sequence_classifier((900,), 3, rate=8000, filters=(4,), units=4, **o),
        numbers(900),
    ),
    "node_classifier GraphConv": of_nodes(GraphConv, units=5),
    "node_classifier GATConv": of_nodes(GATConv, units=3, heads=2, last_heads=2),
    "node_classifier SAGEConv": of_nodes(SAGEConv, units=5),
    "node_classifier SGConv": of_nodes(SGConv),
    "node_classifier APPNP": of_nodes(APPNP, units=5, K=3),
    "graph_classifier": Tiny(lambda **o: graph_classifier(4, 2, units=(5,), **o), packed_graphs),
    "recommender": Tiny(lambda **o: recommender(NODES, units=4, **o), likes),
}
