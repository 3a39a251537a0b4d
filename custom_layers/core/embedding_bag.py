"""EmbeddingBag: the weighted sum of the embeddings of a bag of ids.

    y_n = Σ_l w_nl V[i_nl]           ids i (N, L)   weights w (N, L)   table V (I, O)   y (N, O)

Backward, given dy = dL/dy:

    dV_j = Σ_{i_nl = j} w_nl dy_n    dw_nl = <V[i_nl], dy_n>

If i_n are the columns where row n of a sparse matrix X is not 0, and w_n its entries there, then
y = X V: a linear map that costs the non-zeros only.
"""

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Layer, Regularizer, check_positive
from custom_layers.gradients import wide, with_backward
from custom_layers.graph.graph_layer import as_index, check_range
from custom_layers.graph.segments import gather, segment_sum


def bag_forward(table, ids, weights):
    """table (I, O), ids (N, L), weights (N, L) -> y (N, O)."""
    rows = wide(gather(table, ids))  # (N, L, O), 0 at padding
    # Products rather than sums: into a sum XLA fuses what the weights come from, and so draws the
    # mask of a dropout before it anew for each of the O features. A training step of a GCN on Cora
    # took a third longer.
    y = tf.squeeze(tf.matmul(tf.expand_dims(wide(weights), 1), rows), 1)
    return tf.cast(y, table.dtype), (table, ids, weights)


def bag_backward(dy, cache):
    """dy (N, O) -> dtable (I, O), None, dweights (N, L)."""
    table, ids, weights = cache
    dy = tf.expand_dims(wide(dy), 1)
    to_table = tf.matmul(tf.expand_dims(wide(weights), 2), dy)  # (N, L, O)
    dtable = segment_sum(to_table, ids, num_segments=tf.shape(table)[0])
    dweights = tf.squeeze(tf.matmul(wide(gather(table, ids)), dy, transpose_b=True), 2)
    return tf.cast(dtable, table.dtype), None, tf.cast(dweights, weights.dtype)


bag = with_backward(bag_forward, bag_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class EmbeddingBag(Layer):
    """Weighted sum of embeddings, or a linear map of sparse features.

    Called on `ids` or `[ids, weights]`: ids `(..., L)` integers, a negative one is padding;
    weights `(..., L)`, 1 if not given. Output `(..., output_dim)`, 0 where a bag is empty. Weight
    `embeddings (input_dim, output_dim)`.

    Sparse node features of a graph, such as bags of words, enter a model so; dropout of the
    features is a `Dropout` on their weights, a graph convolution an `APPNP(1, alpha=0)` after it.

    Args:
        input_dim: I, number of different ids.
        output_dim: O, features of an output row.
        embeddings_initializer, embeddings_regularizer, activity_regularizer,
            embeddings_constraint: as in `Embedding`.

    Raises:
        ValueError: an argument is not a positive integer; ids are not integers; ids and weights
            have different shapes.
        InvalidArgumentError: an id is not below `input_dim` (NaN in XLA).
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Initializer = "glorot_uniform",
        embeddings_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        embeddings_constraint: Constraint = None,
        **kwargs,
    ):
        check_positive(input_dim=input_dim, output_dim=output_dim)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.set_weight_options(
            "embeddings", embeddings_initializer, embeddings_regularizer, embeddings_constraint
        )

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.input_dim, self.output_dim),
            **self.weight_options("embeddings"),
        )

    def call(self, inputs):
        ids, weights = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        ids = as_index(ids, "The ids of EmbeddingBag")
        ids, zero_or_nan = check_range(
            ids,
            self.input_dim,
            f"EmbeddingBag: an id is not below input_dim={self.input_dim}. Both:",
        )
        if weights is None:
            weights = tf.ones(tf.shape(ids), self.compute_dtype)
        elif not weights.shape.is_compatible_with(ids.shape):
            raise ValueError(
                "EmbeddingBag needs a weight for each id. "
                f"Received: ids {tuple(ids.shape)}, weights {tuple(weights.shape)}"
            )
        else:
            weights = tf.cast(weights, self.compute_dtype)
            weights = tf.where(ids < 0, tf.zeros((), weights.dtype), weights)
        sizes = tf.unstack(tf.shape(ids))
        flat = (tf.reduce_prod(tf.shape(ids)[:-1]), sizes[-1])
        table = tf.convert_to_tensor(self.embeddings)
        y = bag(table, tf.reshape(ids, flat), tf.reshape(weights, flat))
        return tf.reshape(y + tf.cast(zero_or_nan, y.dtype), (*sizes[:-1], self.output_dim))

    def compute_output_shape(self, input_shape):
        ids = input_shape[0] if isinstance(input_shape[0], (list, tuple)) else input_shape
        return (*ids[:-1], self.output_dim)
