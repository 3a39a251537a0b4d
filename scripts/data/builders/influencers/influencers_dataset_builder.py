"""influencers: who is influential in a generated social network, as a data set of tfds."""

import numpy as np
import tensorflow_datasets as tfds

from scripts.data.graph_examples import node_features, split_of, structure

PEOPLE, BOTS = 1600, 400
BOUGHT = 160  # people who bought followers: bots, which follow many, and anybody who pays
SHARE = 0.2  # of all accounts that are influencers
CLASSES = ("other", "influencer")
COLUMNS = ("log(1 + followers)", "log(1 + following)", "age of the account")


def network():
    """Edges (E, 2), each row (follower, followed), the same everywhere."""
    random = np.random.RandomState(0)
    fame = random.lognormal(0, 1.2, PEOPLE)
    fame /= fame.sum()
    pairs = set()
    for person in range(PEOPLE):
        count = min(1 + int(random.lognormal(1.8, 0.8)), 100)
        chosen = random.choice(PEOPLE, count, replace=False, p=fame)
        pairs.update((person, other) for other in chosen.tolist() if other != person)
    buyers = random.choice(PEOPLE, BOUGHT, replace=False)
    for bot in range(PEOPLE, PEOPLE + BOTS):
        pairs.update((bot, other) for other in random.choice(buyers, 40, replace=False).tolist())
        pairs.update((bot, other) for other in random.choice(PEOPLE, 40).tolist())
    return np.array(sorted(pairs))


def pagerank(edges, num_nodes, restart=0.15, steps=100):
    """The share of its steps that a random walk along the edges spends at each account (N,).

    r_t = restart / N + (1 - restart) Σ_{s follows t} r_s / (how many s follows)
    """
    following = np.bincount(edges[:, 0], minlength=num_nodes)
    rank = np.full(num_nodes, 1 / num_nodes)
    for _ in range(steps):
        sent = rank / np.maximum(following, 1)
        rank = np.bincount(edges[:, 1], sent[edges[:, 0]], num_nodes)
        rank = restart / num_nodes + (1 - restart) * rank
    return rank


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `influencers`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "2000 accounts."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=node_features(CLASSES, width=len(COLUMNS)),
            metadata=tfds.core.MetadataDict(features=len(COLUMNS), columns=list(COLUMNS)),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        edges, count = network(), PEOPLE + BOTS
        rank = pagerank(edges, count)
        degrees = [np.log1p(np.bincount(edges[:, i], minlength=count)) for i in (1, 0)]
        age = np.random.RandomState(1).uniform(0, 1, count)
        parts = np.split(np.random.RandomState(2).permutation(count), [600, 1000])
        yield (
            0,
            {
                **structure(count, edges),
                "node_feat": np.stack([*degrees, age], 1).astype("float32"),
                "labels": (rank > np.quantile(rank, 1 - SHARE)).astype("int64"),
                "split": split_of(count, train=parts[0], validation=parts[1], test=parts[2]),
            },
        )
