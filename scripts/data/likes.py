"""likes: who liked what (MovieLens), as three tf.data pipelines for a recommender.

    ((users (B,), items (B, 2), nodes (N,), edges (E, 2)), zeros (B,))

Of the two items of a user, the first is liked and the other is drawn at random from those that the
user did not like in training; the label 0 is the place of the liked one. Each user's likes are in
chronological order: the first four fifths are for training and make the edges, the next tenth is
for validation, the last one for testing.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from custom_layers.graphs import add_reverse_edges
from scripts.data.prepare import prepare

ENDS = (0.8, 0.9)  # where validation and test begin, for each user


@dataclasses.dataclass(frozen=True)
class Likes:
    """train, validation, test: as above.

    pairs: of each part, rows (user, item), all of them numbers of nodes. edges: both ways.
    users, items: their numbers; user u is node u, and item i node users + i. titles: of the items.
    seen: (users, items), what a user liked before the test part's time.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    pairs: dict[str, np.ndarray]
    edges: np.ndarray
    users: int
    items: int
    titles: tuple[str, ...]
    seen: np.ndarray


def load_likes(name, *, batch_size, seed, data_dir=None, download_dir=None, least=4.0):
    """The pipelines of a data set of ratings.

    Args:
        name: of a tfds data set such as `movielens/latest-small-ratings`.
        batch_size: of all three parts.
        seed: of the order of the training part, and of the items drawn at random.
        data_dir, download_dir: see `prepare`.
        least: the lowest rating of an item that counts as liked.
    """
    builder = prepare(name, data_dir, download_dir)
    rows = [
        (r["user_id"], r["timestamp"], r["movie_id"], r["movie_title"].decode())
        for r in builder.as_dataset(split="train", shuffle_files=False).as_numpy_iterator()
        if r["user_rating"] >= least
    ]
    rows.sort()  # by user, then by time
    of_user, _, movies, titles = zip(*rows, strict=True)
    of_user = np.unique(of_user, return_inverse=True)[1]
    pairs, users, kept, seen = divide(of_user, np.array(movies))
    title = dict(zip(movies, titles, strict=True))
    edges = add_reverse_edges(pairs["train"]).astype("int32")
    nodes = np.arange(users + len(kept), dtype="int32")

    def pipeline(part, number):
        chosen = pairs[part].astype("int32")
        positives = tf.data.Dataset.from_tensor_slices(chosen)
        if part == "train":
            positives = positives.shuffle(len(chosen), seed=seed)
        again = part == "train"  # with new random items in each epoch
        draws = tf.data.Dataset.random(seed + number, rerandomize_each_iteration=again)
        graph = tf.constant(nodes), tf.constant(edges)
        known = tf.constant(seen["train"])

        def with_others(pair, draw):
            liked = pair[:, 1]
            # The first of eight drawn ones that the user does not like yet.
            shape = (tf.shape(pair)[0], 8)
            drawn = tf.random.stateless_uniform(shape, [draw, 0], 0, len(kept), tf.int32)
            places = tf.stack([tf.repeat(pair[:, :1], 8, 1), drawn], -1)
            fresh = tf.argmin(tf.cast(tf.gather_nd(known, places), tf.int32), 1)
            other = users + tf.gather(drawn, fresh, batch_dims=1)
            inputs = pair[:, 0], tf.stack([liked, other], 1), *graph
            return inputs, tf.zeros_like(liked)

        batches = tf.data.Dataset.zip(positives.batch(batch_size), draws)
        return batches.map(with_others, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    return Likes(
        name=name,
        **{part: pipeline(part, i) for i, part in enumerate(pairs)},
        pairs=pairs,
        edges=edges,
        users=users,
        items=len(kept),
        titles=tuple(title[movie] for movie in kept.tolist()),
        seen=seen["train"] | seen["validation"],
    )


def divide(of_user, movies):
    """Split each user's likes, which are in chronological order.

    Returns:
        `{part: pairs}`; how many users there are; the movies that somebody liked in training, the
        only ones that can be recommended, and so the only ones in the other parts; and for each
        part which items `(users, items)` a user liked in it.
    """
    users = of_user.max() + 1
    count = np.bincount(of_user, minlength=users)
    begin = np.cumsum(count) - count
    share = (np.arange(len(of_user)) - begin[of_user]) / count[of_user]
    part_of = np.searchsorted(ENDS, share, side="right")
    kept = np.unique(movies[part_of == 0])
    pairs, seen = {}, {}
    for i, part in enumerate(("train", "validation", "test")):
        rows = np.flatnonzero((part_of == i) & np.isin(movies, kept))
        item = np.searchsorted(kept, movies[rows])
        pairs[part] = np.stack([of_user[rows], users + item], 1)
        seen[part] = np.zeros((users, len(kept)), bool)
        seen[part][of_user[rows], item] = True
    return pairs, int(users), kept, seen
