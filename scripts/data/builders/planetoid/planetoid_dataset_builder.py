"""planetoid: papers that cite each other (Cora, Citeseer) in the public split, a tfds data set."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from custom_layers.graphs import add_reverse_edges
from scripts.data.builders.planetoid.pickles import read
from scripts.data.graph_examples import fetch, node_features, split_of, structure

URL = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/"
FILES = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")
# fmt: off
SUMS = {
    "ind.cora.x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
    "ind.cora.y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
    "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    "ind.citeseer.x": "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6",
    "ind.citeseer.y": "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
    "ind.citeseer.tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
    "ind.citeseer.ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
    "ind.citeseer.allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
    "ind.citeseer.ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
    "ind.citeseer.graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
    "ind.citeseer.test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
}
# fmt: on


@dataclasses.dataclass
class PlanetoidConfig(tfds.core.BuilderConfig):
    features: int = 0  # words
    classes: tuple = ()


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `planetoid`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Cora and Citeseer."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        PlanetoidConfig(
            name="cora",
            description="2708 papers on machine learning, 1433 words, 7 classes.",
            features=1433,
            classes=(
                "Theory",
                "Reinforcement Learning",
                "Genetic Algorithms",
                "Neural Networks",
                "Probabilistic Methods",
                "Case Based",
                "Rule Learning",
            ),
        ),
        PlanetoidConfig(
            name="citeseer",
            description="3327 papers, 3703 words, 6 classes (numbers in the source).",
            features=3703,
            classes=tuple(map(str, range(6))),
        ),
    ]

    def _info(self):
        return self.dataset_info_from_configs(
            features=node_features(self.builder_config.classes),
            homepage="https://github.com/kimiyoung/planetoid",
            metadata=tfds.core.MetadataDict(features=self.builder_config.features),
        )

    def _split_generators(self, dl_manager):
        paths = {}
        for file in FILES:  # all are checked before any is read
            paths[file] = fetch(dl_manager, f"{URL}ind.{self.builder_config.name}.{file}", SUMS)
        return {"train": self._generate_examples(paths)}

    def _generate_examples(self, paths):
        parts = {file: read(paths[file]) for file in FILES[:-1]}
        order = np.array(paths["test.index"].read_text().split(), int)
        yield 0, example(parts, order)


def example(parts, order, validation=500):
    """The graph, from the content of the files.

    Rows 0 to len(allx) - 1 are those of `allx` and `ally`; row i of `tx` and `ty` is that of node
    order[i]. Test nodes have the highest numbers; some of Citeseer's have no row: these have no
    words, and their labels do not count.
    """
    num_nodes = max(parts["graph"]) + 1
    rows = np.concatenate([np.arange(len(parts["ally"])), order])
    one_hot = np.zeros((num_nodes, parts["ally"].shape[1]))
    one_hot[rows] = np.concatenate([parts["ally"], parts["ty"]])
    words = {}  # of each node: the nonzero columns and their values
    for start, matrix in ((0, parts["allx"]), (len(parts["ally"]), parts["tx"])):
        ends = matrix.indptr
        for i in range(len(ends) - 1):
            begin, end = ends[i : i + 2]
            words[rows[start + i]] = matrix.indices[begin:end], matrix.data[begin:end]
    longest = max(len(ids) for ids, _ in words.values())
    node_ids = np.full((num_nodes, longest), -1, "int32")
    node_weights = np.zeros((num_nodes, longest), "float32")
    for node, (ids, values) in words.items():
        node_ids[node, : len(ids)] = ids
        node_weights[node, : len(ids)] = values
    pairs = [(node, other) for node, others in parts["graph"].items() for other in others]
    edges = add_reverse_edges(np.array(pairs))
    edges = edges[edges[:, 0] != edges[:, 1]]
    labelled = len(parts["y"])
    return {
        **structure(num_nodes, edges),
        "node_ids": node_ids,
        "node_weights": node_weights,
        "labels": one_hot.argmax(1),
        "split": split_of(
            num_nodes,
            train=np.arange(labelled),
            validation=np.arange(labelled, labelled + validation),
            test=order,
        ),
    }
