"""The table of layers that every promise reads: one row shows one layer.

A new layer earns all of these tests by adding its row.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import custom_layers

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


def edges(batch, count, nodes):
    """Edges (batch, count, 2), the last row of each graph padding."""
    rows = RNG.integers(0, nodes, (batch, count, 2), dtype="int32")
    rows[:, -1] = -1
    return rows


def flat_graphs():
    """Four nodes in three of four graphs: [nodes, graph_ids, per_graph]."""
    return [normal(4, 5), np.array([0, 2, 3, 2], "int32"), normal(4, 1)]


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer, with arguments and inputs that show it.

    make: builds the layer, given `dtype`.
    inputs: an array or a list of arrays, batch first.
    free_axes: axes, beside the batch, whose size may be unknown.
    """

    make: Callable
    inputs: object
    free_axes: tuple[int, ...] = ()

    def nodes(self, unknown=False):
        def node(x):
            free = self.free_axes if unknown else ()
            shape = [None if i in free else size for i, size in enumerate(x.shape)]
            return keras.Input(shape[1:], dtype=x.dtype.name)

        return tf.nest.map_structure(node, self.inputs)

    def model(self, unknown=False, **arguments):
        nodes = self.nodes(unknown)
        return keras.Model(nodes, self.make(**arguments)(nodes))


@keras.saving.register_keras_serializable(package="tests")
class SelfAttention(keras.layers.Layer):
    """An attention layer of which one input is query, key and value."""

    def __init__(self, attention, **kwargs):
        super().__init__(**kwargs)
        self.attention = attention
        self.supports_masking = True

    @property
    def dropout(self):
        return getattr(self.attention, "dropout", 0)

    @property
    def takes_list(self):
        return isinstance(self.attention, (custom_layers.Attention, keras.layers.Attention))

    def build(self, input_shape):
        shapes = [input_shape, input_shape]
        if not self.attention.built:  # a file says how it was built
            self.attention.build(shapes) if self.takes_list else self.attention.build(*shapes)

    def call(self, inputs, mask=None, training=None):
        if self.takes_list:
            mask = None if mask is None else [mask, mask]
            return self.attention([inputs, inputs], mask=mask, training=training)
        masks = {"query_mask": mask, "value_mask": mask}
        return self.attention(inputs, inputs, **masks, training=training)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        attention = keras.saving.serialize_keras_object(self.attention)
        return {**super().get_config(), "attention": attention}

    @classmethod
    def from_config(cls, config):
        attention = keras.saving.deserialize_keras_object(config["attention"])
        return cls(**{**config, "attention": attention})


# Rows whose promises on numbers (NaN, extremes, sums in 16 bits) are long tests.
LONG = {"AdditiveAttention", "GroupedQueryAttention", "RotaryEmbedding", "EinsumDense", "PReLU"}
LONG |= {
    "MultiHeadAttention",
    "GroupNormalization",
    "ELU",
    "UnitNormalization",
    "GroupNormalization channels first",
    "Attention",
}

ROWS = {
    "Dense": Row(lambda **k: custom_layers.Dense(3, activation="tanh", **k), normal(4, 5)),
    # Keras's orthogonal initializer has no bfloat16.
    "LSTM": Row(
        lambda **k: custom_layers.LSTM(3, recurrent_initializer="normal", **k),
        normal(4, 5, 2),
        (1,),
    ),
    "GRU": Row(
        lambda **k: custom_layers.GRU(3, recurrent_initializer="normal", **k), normal(4, 5, 2), (1,)
    ),
    "SimpleRNN": Row(
        lambda **k: custom_layers.SimpleRNN(3, recurrent_initializer="normal", **k),
        normal(4, 5, 2),
        (1,),
    ),
    "GRU as in Cho et al.": Row(
        lambda **k: custom_layers.GRU(
            3, recurrent_initializer="normal", reset_after=False, return_sequences=True, **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "LSTM with states": Row(
        lambda **k: custom_layers.LSTM(
            3, recurrent_initializer="normal", return_sequences=True, return_state=True, **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "LSTMCell": Row(  # a cell lives in a loop
        lambda **k: keras.layers.RNN(
            custom_layers.LSTMCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "GRUCell": Row(  # a cell lives in a loop
        lambda **k: keras.layers.RNN(
            custom_layers.GRUCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "SimpleRNNCell": Row(  # a cell lives in a loop
        lambda **k: keras.layers.RNN(
            custom_layers.SimpleRNNCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "RNN": Row(
        lambda **k: custom_layers.RNN(
            keras.layers.GRUCell(3, recurrent_initializer="normal", **k), **k
        ),
        normal(4, 5, 2),
        (1,),
    ),
    "Embedding": Row(
        lambda **k: custom_layers.Embedding(6, 3, mask_zero=True, **k),
        np.arange(12, dtype="int32").reshape(4, 3) % 6,
        free_axes=(1,),
    ),
    "BatchNormalization": Row(
        lambda **k: custom_layers.BatchNormalization(**k), normal(4, 3, 5), free_axes=(1,)
    ),
    "BatchNormalization channels first": Row(
        lambda **k: custom_layers.BatchNormalization(axis=1, renorm=True, **k), normal(4, 3, 5)
    ),
    "LayerNormalization": Row(
        lambda **k: custom_layers.LayerNormalization(**k), normal(4, 3, 5), free_axes=(1,)
    ),
    "LayerNormalization over time": Row(
        lambda **k: custom_layers.LayerNormalization(axis=1, **k), normal(4, 3, 5)
    ),
    "RMSNormalization": Row(
        lambda **k: custom_layers.RMSNormalization(**k), normal(4, 3, 5), free_axes=(1,)
    ),
    "UnitNormalization": Row(
        lambda **k: custom_layers.UnitNormalization(**k), normal(4, 3, 5), free_axes=(1,)
    ),
    "GroupNormalization": Row(
        lambda **k: custom_layers.GroupNormalization(2, **k), normal(4, 3, 6), free_axes=(1,)
    ),
    "GroupNormalization channels first": Row(
        lambda **k: custom_layers.GroupNormalization(-1, axis=1, **k), normal(4, 3, 6), (2,)
    ),
    "Dropout": Row(lambda **k: custom_layers.Dropout(0.5, **k), normal(4, 5), (1,)),
    "SpatialDropout1D": Row(
        lambda **k: custom_layers.SpatialDropout1D(0.5, **k), normal(4, 5, 3), (1,)
    ),
    "SpatialDropout2D": Row(
        lambda **k: custom_layers.SpatialDropout2D(0.5, **k), normal(4, 5, 2, 3), (1, 2)
    ),
    "SpatialDropout3D": Row(
        lambda **k: custom_layers.SpatialDropout3D(0.5, **k), normal(2, 3, 2, 3, 4), (1, 2, 3)
    ),
    "Activation": Row(lambda **k: custom_layers.Activation("gelu", **k), normal(4, 5), (1,)),
    "ReLU": Row(lambda **k: custom_layers.ReLU(1.0, 0.1, 0.2, **k), normal(4, 5), (1,)),
    "LeakyReLU": Row(lambda **k: custom_layers.LeakyReLU(**k), normal(4, 5), (1,)),
    "ELU": Row(lambda **k: custom_layers.ELU(0.5, **k), normal(4, 5), (1,)),
    "PReLU": Row(
        lambda **k: custom_layers.PReLU("normal", shared_axes=1, **k), normal(4, 5, 3), (1,)
    ),
    "Softmax": Row(lambda **k: custom_layers.Softmax(**k), normal(4, 5), (1,)),
    "Flatten": Row(lambda **k: custom_layers.Flatten(**k), normal(4, 3, 2), (1, 2)),
    "ActivityRegularization": Row(
        lambda **k: custom_layers.ActivityRegularization(0.1, 0.2, **k), normal(4, 5), (1,)
    ),
    "Conv1D": Row(
        lambda **k: custom_layers.Conv1D(3, 2, padding="causal", dilation_rate=2, **k),
        normal(4, 5, 2),
        (1,),
    ),
    "Conv2D": Row(
        lambda **k: custom_layers.Conv2D(4, 3, 2, "same", activation="relu", **k),
        normal(4, 5, 6, 3),
        (1, 2),
    ),
    "Conv2D in groups, channels first": Row(
        lambda **k: custom_layers.Conv2D(4, 2, groups=2, data_format="channels_first", **k),
        normal(4, 2, 5, 6),
        (2, 3),
    ),
    "Conv3D": Row(
        lambda **k: custom_layers.Conv3D(3, 2, data_format="channels_first", **k),
        normal(4, 2, 3, 4, 3),
        (2, 3, 4),
    ),
    "Conv1DTranspose": Row(
        lambda **k: custom_layers.Conv1DTranspose(3, 2, 3, "same", output_padding=1, **k),
        normal(4, 5, 2),
        (1,),
    ),
    "Conv2DTranspose": Row(
        lambda **k: custom_layers.Conv2DTranspose(3, 3, dilation_rate=(1, 2), **k),
        normal(4, 3, 4, 2),
        (1, 2),
    ),
    "Conv3DTranspose": Row(
        lambda **k: custom_layers.Conv3DTranspose(3, 2, 2, data_format="channels_first", **k),
        normal(4, 2, 3, 2, 3),
        (2, 3, 4),
    ),
    "MaxPooling1D": Row(
        lambda **k: custom_layers.MaxPooling1D(3, 2, "same", **k), normal(4, 5, 2), (1,)
    ),
    "MaxPooling2D": Row(lambda **k: custom_layers.MaxPooling2D(**k), normal(4, 5, 4, 3), (1, 2)),
    "MaxPooling3D": Row(
        lambda **k: custom_layers.MaxPooling3D(data_format="channels_first", **k),
        normal(4, 2, 3, 2, 4),
        (2, 3, 4),
    ),
    "AveragePooling1D": Row(
        lambda **k: custom_layers.AveragePooling1D(2, data_format="channels_first", **k),
        normal(4, 2, 5),
        (2,),
    ),
    "AveragePooling2D": Row(
        lambda **k: custom_layers.AveragePooling2D(3, 2, "same", **k), normal(4, 5, 4, 3), (1, 2)
    ),
    "AveragePooling3D": Row(
        lambda **k: custom_layers.AveragePooling3D(2, 1, **k), normal(4, 2, 3, 4, 2), (1, 2, 3)
    ),
    "GlobalMaxPooling1D": Row(
        lambda **k: custom_layers.GlobalMaxPooling1D(**k), normal(4, 5, 3), (1,)
    ),
    "GlobalMaxPooling2D": Row(
        lambda **k: custom_layers.GlobalMaxPooling2D("channels_first", **k),
        normal(4, 3, 5, 2),
        (2, 3),
    ),
    "GlobalMaxPooling3D": Row(
        lambda **k: custom_layers.GlobalMaxPooling3D(keepdims=True, **k),
        normal(4, 2, 3, 2, 3),
        (1, 2, 3),
    ),
    "GlobalAveragePooling1D": Row(
        lambda **k: custom_layers.GlobalAveragePooling1D(**k), normal(4, 5, 3), (1,)
    ),
    "GlobalAveragePooling2D": Row(
        lambda **k: custom_layers.GlobalAveragePooling2D(**k), normal(4, 5, 2, 3), (1, 2)
    ),
    "GlobalAveragePooling3D": Row(
        lambda **k: custom_layers.GlobalAveragePooling3D("channels_first", True, **k),
        normal(4, 3, 2, 3, 2),
        (2, 3, 4),
    ),
    "GlobalSumPooling1D": Row(
        lambda **k: custom_layers.GlobalSumPooling1D(**k), normal(4, 5, 3), (1,)
    ),
    "Attention": Row(
        lambda **k: SelfAttention(custom_layers.Attention(use_scale=True, **k), **k),
        normal(4, 5, 3),
        (1,),
    ),
    "AdditiveAttention": Row(
        lambda **k: SelfAttention(custom_layers.AdditiveAttention(**k), **k), normal(4, 5, 3), (1,)
    ),
    "MultiHeadAttention": Row(
        lambda **k: SelfAttention(custom_layers.MultiHeadAttention(2, 3, dropout=0.5, **k), **k),
        normal(4, 5, 4),
        (1,),
    ),
    "GroupedQueryAttention": Row(
        lambda **k: SelfAttention(custom_layers.GroupQueryAttention(3, 4, 2, **k), **k),
        normal(4, 5, 4),
        (1,),
    ),
    "RotaryEmbedding": Row(
        lambda **k: custom_layers.RotaryEmbedding(**k), normal(4, 5, 2, 6), (1,)
    ),
    "EinsumDense": Row(
        lambda **k: custom_layers.EinsumDense(
            "...i,ikd->...kd", (2, 3), activation="tanh", bias_axes="kd", **k
        ),
        normal(4, 5, 4),
        (1,),
    ),
    "GraphConv": Row(
        lambda **k: custom_layers.GraphConv(3, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)
    ),
    "GraphConv with weights": Row(
        lambda **k: custom_layers.GraphConv(7, "tanh", normalize="row", **k),
        [normal(4, 6, 5), edges(4, 7, 6), np.abs(normal(4, 7))],
        (1,),
    ),
    "GATConv": Row(
        lambda **k: custom_layers.GATConv(3, heads=2, dropout=0.5, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "GATv2Conv": Row(
        lambda **k: custom_layers.GATv2Conv(3, heads=2, concat=False, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "SAGEConv": Row(
        lambda **k: custom_layers.SAGEConv(3, normalize=True, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "SAGEConv max": Row(
        lambda **k: custom_layers.SAGEConv(3, aggregate="max", **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "GINConv": Row(
        lambda **k: custom_layers.GINConv(custom_layers.Dense(3, **k), train_epsilon=True, **k),
        [normal(4, 6, 5), edges(4, 7, 6)],
        (1,),
    ),
    "EdgeConv": Row(
        lambda **k: custom_layers.EdgeConv(custom_layers.Dense(3, **k), **k),
        [normal(4, 6, 5), edges(4, 7, 6), normal(4, 7, 2)],
        (1,),
    ),
    "RGCNConv": Row(
        lambda **k: custom_layers.RGCNConv(3, num_relations=2, num_bases=3, **k),
        [normal(4, 6, 5), edges(4, 7, 6), RNG.integers(0, 2, (4, 7), dtype="int32")],
        (1,),
    ),
    "ChebConv": Row(
        lambda **k: custom_layers.ChebConv(3, K=3, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)
    ),
    "SGConv": Row(
        lambda **k: custom_layers.SGConv(3, K=2, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)
    ),
    "APPNP": Row(lambda **k: custom_layers.APPNP(3, **k), [normal(4, 6, 5), edges(4, 7, 6)], (1,)),
    "EmbeddingBag": Row(
        lambda **k: custom_layers.EmbeddingBag(6, 3, **k),
        [RNG.integers(-1, 6, (4, 5), dtype="int32"), normal(4, 5)],
        (1,),
    ),
    "GraphSumPooling": Row(lambda **k: custom_layers.GraphSumPooling(**k), flat_graphs()),
    "GraphAveragePooling": Row(lambda **k: custom_layers.GraphAveragePooling(**k), flat_graphs()),
    "GraphMaxPooling": Row(lambda **k: custom_layers.GraphMaxPooling(**k), flat_graphs()),
    "GraphAttentionPooling": Row(
        lambda **k: custom_layers.GraphAttentionPooling(**k), flat_graphs()
    ),
}
