"""recommender: what a user will like, by graph convolutions without kernels (LightGCN).

    x_0 = embeddings of users and items        x_k = D^-½ A D^-½ x_{k-1}        e = mean of all x_k

    score of an item for a user = <e_user, e_item>

A joins users with the items that they liked. Trained on pairs (liked, another one) of a user: the
softmax cross-entropy of two scores, the liked one first, is -log sigmoid(difference), the loss of
Bayesian personalized ranking (BPR); with more others it is its sampled softmax.

He, Deng, Wang, Li, Zhang & Wang, LightGCN, SIGIR 2020; Rendle et al., BPR, UAI 2009.
"""

import keras

import custom_layers
from custom_layers import APPNP
from models.penalty import penalty


def recommender(
    num_nodes, *, units=32, steps=3, dropout=0.0, l1=0.0, l2=1e-6, layers=custom_layers
):
    """A model of scores.

    Args:
        num_nodes: N, users and items.
        units: size of an embedding.
        steps: how many convolutions.
        dropout: fraction of the embeddings' entries that is dropped.
        l1, l2: factors of the penalty l1 Σ|x| + l2 Σ x² of the embeddings.
        layers: where layers that Keras has come from; `keras.layers` gives the reference, in which
            only the convolutions are ours.

    Returns:
        A `keras.Model` from `[users (B,), items (B, K), nodes (N,), edges (E, 2)]`, where `nodes`
        counts 0 to N - 1 and users and items are among these numbers, to scores `(B, K)`. Edges
        go both ways; others than in training may be given, such as newer ones.
    """
    users = keras.Input(batch_shape=(None,), dtype="int32", name="users")
    items = keras.Input(batch_shape=(None, None), dtype="int32", name="items")
    nodes = keras.Input(batch_shape=(None,), dtype="int32", name="nodes")
    edges = keras.Input(batch_shape=(None, 2), dtype="int32", name="edges")
    x = layers.Embedding(
        num_nodes,
        units,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.1),
        embeddings_regularizer=penalty(l1, l2, layers),
        name="embeddings",
    )(nodes)
    x = layers.Dropout(dropout, name="dropout")(x)
    all_steps = [x]
    for i in range(1, steps + 1):
        convolution = APPNP(1, alpha=0, add_self_loops=False, name=f"convolution_{i}")
        all_steps.append(convolution([all_steps[-1], edges]))
    e = keras.layers.Average(name="average")(all_steps) if steps else x
    of_users = keras.ops.expand_dims(keras.ops.take(e, users, axis=0), 1)  # (B, 1, units)
    scores = keras.ops.sum(of_users * keras.ops.take(e, items, axis=0), -1)
    return keras.Model([users, items, nodes, edges], scores, name="recommender")
