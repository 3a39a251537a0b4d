"""graph_atlas: which graphs of up to seven nodes have a triangle, as a data set of tfds."""

import networkx
import numpy as np
import tensorflow_datasets as tfds

from custom_layers.graphs import to_edges
from scripts.data.graph_examples import graph_features, structure

CLASSES = ("no triangle", "triangle")
ENDS = {"train": 0.8, "validation": 0.9, "test": 1.0}


def split(count):
    """`{part: numbers of graphs}`, the same everywhere: `RandomState` never changes its numbers."""
    order = np.random.RandomState(0).permutation(count)
    ends = [round(end * count) for end in ENDS.values()]
    return dict(zip(ENDS, np.split(order, ends[:-1]), strict=True))


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `graph_atlas`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1253 graphs."}  # noqa: RUF012

    def _info(self):
        return self.dataset_info_from_configs(
            features=graph_features(tfds.features.ClassLabel(names=CLASSES), width=1),
            homepage="https://networkx.org/documentation/stable/reference/generators.html",
        )

    def _split_generators(self, dl_manager):
        graphs = networkx.graph_atlas_g()
        parts = split(len(graphs))
        return {part: self._generate_examples(graphs, rows) for part, rows in parts.items()}

    def _generate_examples(self, graphs, rows):
        for i in rows.tolist():
            edges, _ = to_edges(graphs[i])
            yield (
                i,
                {
                    **structure(len(graphs[i]), edges),
                    "node_feat": np.ones((len(graphs[i]), 1), "float32"),
                    "labels": int(any(networkx.triangles(graphs[i]).values())),
                },
            )
