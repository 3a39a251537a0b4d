"""karate_club: friendships in a club that split in two, as a data set of tfds."""

import networkx
import numpy as np
import tensorflow_datasets as tfds

from custom_layers.graphs import to_edges
from scripts.data.graph_examples import node_features, split_of, structure

CLASSES = ("Mr. Hi", "Officer")
LEADERS = (0, 33)  # the two whom the members followed, the only ones with a label for training


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `karate_club`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "34 members."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=node_features(CLASSES),
            homepage="https://networkx.org/documentation/stable/reference/generated/"
            "networkx.generators.social.karate_club_graph.html",
            metadata=tfds.core.MetadataDict(features=34),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        club = networkx.karate_club_graph()
        edges, _ = to_edges(club)
        nodes = np.arange(len(club))
        others = np.random.RandomState(0).permutation(np.setdiff1d(nodes, LEADERS))
        yield (
            0,
            {
                **structure(len(club), edges),
                "node_ids": nodes[:, None].astype(
                    "int32"
                ),  # all that is known of a member is who it is
                "node_weights": np.ones((len(club), 1), "float32"),
                "labels": [CLASSES.index(club.nodes[node]["club"]) for node in nodes],
                "split": split_of(
                    len(club), train=list(LEADERS), validation=others[:8], test=others[8:]
                ),
            },
        )
