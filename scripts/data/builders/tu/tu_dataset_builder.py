"""tu: graphs of molecules and proteins with a class each, of TU Dortmund, as a tfds data set."""

import dataclasses
import io
import pathlib
import zipfile

import numpy as np
import tensorflow_datasets as tfds

from scripts.data.graph_examples import fetch, graph_features, structure
from scripts.training.command_line import InputError
from scripts.training.untrusted import NOT_ZIP

URL = "https://www.chrsmrrs.com/graphkerneldatasets/"
SUMS = {
    "MUTAG.zip": "20f52db82d6d85d5f67d2fa42c3fb705d05934be44329314ab17b05d0c012f7e",
    "ENZYMES.zip": "0ca7125d7978788346fc6ba5c3cc643b6122153b304220c2230bcb09f99f8ffb",
    "PROTEINS.zip": "fe9d19741637486ea1fd285bf669fce0b117e10b03cdd379f6a5e6197fc830ae",
    "NCI1.zip": "eae6b0c076d59e667c67de0039cfc3214eefb91a8dddc2fa3099126da02d4376",
    "PTC_MR.zip": "2f935126a9ec684e13ed9ff5ea389f62c4c70f41dcedb3e1114c0b0947103200",
}
LARGEST = 50_000_000  # bytes of all unpacked texts; the largest of these sets has a sixth of it
# In the source, classes and kinds of nodes are integers that need not start at 0.
MUTAGENIC = ("not mutagenic", "mutagenic")


@dataclasses.dataclass
class TUConfig(tfds.core.BuilderConfig):
    kinds: tuple = ()  # of nodes: the numbers that the source has for them
    labels: tuple = ()  # the numbers that the source has for the classes
    classes: tuple = ()  # their names


def config(name, description, kinds, labels, classes):
    return TUConfig(name=name, description=description, kinds=kinds, labels=labels, classes=classes)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `tu`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Five of the sets."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        config("mutag", "188 molecules.", tuple(range(7)), (-1, 1), MUTAGENIC),
        config(
            "enzymes",
            "600 proteins, six classes of enzymes.",
            (1, 2, 3),
            tuple(range(1, 7)),
            tuple(f"EC {i}" for i in range(1, 7)),
        ),
        config("proteins", "1113 proteins.", (0, 1, 2), (1, 2), ("enzyme", "no enzyme")),
        config("nci1", "4110 molecules.", tuple(range(1, 38)), (0, 1), ("inactive", "active")),
        config("ptc_mr", "344 molecules.", tuple(range(18)), (-1, 1), ("harmless", "carcinogenic")),
    ]

    def _info(self):
        chosen = self.builder_config
        return self.dataset_info_from_configs(
            features=graph_features(
                tfds.features.ClassLabel(names=chosen.classes), len(chosen.kinds)
            ),
            homepage="https://chrsmrrs.github.io/datasets/",
        )

    def _split_generators(self, dl_manager):
        path = fetch(dl_manager, f"{URL}{self.builder_config.name.upper()}.zip", SUMS)
        return {"train": self._generate_examples(path)}

    def _generate_examples(self, path):
        chosen = self.builder_config
        texts = read_texts(path, chosen.name.upper())
        yield from examples(texts, chosen.kinds, chosen.labels)


def read_texts(path, name):
    """`{"A": ..., "graph_indicator": ...}`: the texts of an archive, unpacked in memory.

    Raises:
        InputError: the archive holds a file that is not part of the data set `name`, too much, or
            less than it says.
    """
    texts = {}
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise InputError(f"{path} would unpack to more than {LARGEST} bytes")
            for entry in archive.infolist():
                parts = pathlib.PurePosixPath(entry.filename).parts
                if (
                    not 1 <= len(parts) <= 2
                    or parts[0] != name
                    or ".." in parts
                    or "\\" in entry.filename
                ):
                    raise InputError(
                        f"{path} holds {entry.filename!r}, which is not part of {name}"
                    )
                if parts[-1].startswith(f"{name}_"):
                    with archive.open(entry) as file:
                        content = file.read(LARGEST)  # whatever the archive says of its size
                    texts[parts[-1][len(name) + 1 :].removesuffix(".txt")] = content.decode("ascii")
    except (UnicodeDecodeError, *NOT_ZIP) as error:
        raise InputError(f"{path} is not an archive of {name}: {error}") from error
    return texts


def numbers(text):
    return np.loadtxt(io.StringIO(text), delimiter=",", dtype="int64", ndmin=1)


def examples(texts, kinds, labels):
    """(number, example) of each graph; nodes are numbered across all graphs, from 1."""
    graph_of = numbers(texts["graph_indicator"]) - 1
    kind = np.searchsorted(kinds, numbers(texts["node_labels"]))
    edges = numbers(texts["A"]) - 1
    edges = edges[np.argsort(graph_of[edges[:, 0]], kind="stable")]
    classes = np.searchsorted(labels, numbers(texts["graph_labels"]))
    first = np.searchsorted(graph_of, np.arange(len(classes) + 1))
    first_edge = np.searchsorted(graph_of[edges[:, 0]], np.arange(len(classes) + 1))
    one_hot = np.eye(len(kinds), dtype="float32")[kind]
    for i, label in enumerate(classes.tolist()):
        nodes = one_hot[first[i] : first[i + 1]]
        own = edges[first_edge[i] : first_edge[i + 1]] - first[i]
        yield (
            i,
            {
                **structure(len(nodes), own),
                "node_feat": nodes,
                "labels": label,
            },
        )
