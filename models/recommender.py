"""recommender: predicts what a user will like, by graph convolutions without kernels (LightGCN).

    x_0 = embeddings of users and items        x_k = D^-½ A D^-½ x_{k-1}        e = mean of all x_k

    score of an item for a user = <e_user, e_item>

A joins users to the items that they liked. It is trained on pairs of items of a user, a liked one
and another one: the softmax cross-entropy of the two scores is -log sigmoid(difference), the loss
of Bayesian personalized ranking (BPR); with more than one other item it is a sampled softmax.

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
        num_nodes: N, the number of users and items.
        units: size of an embedding.
        steps: number of convolutions.
        dropout: fraction of the embeddings' entries dropped.
        l1, l2: factors of the penalty l1 Σ|x| + l2 Σ x² of the embeddings.
        layers: where the layers that Keras has come from; `keras.layers` gives the reference, in
            which only the convolutions are ours.

    Returns:
        A `keras.Model` from `[users (B,), items (B, K), nodes (N,), edges (E, 2)]` to scores
        `(B, K)`. `nodes` are the numbers 0 to N - 1, among them those of users and items. Edges go
        both ways; they may differ from those of training, and include newer ones, say.
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
