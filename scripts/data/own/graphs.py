"""graphs: many small graphs with a class each, `graphs:PATH`.

JSON lines: {"edges": [[0, 1], [1, 0]], "features": [[0.5], [1.0]], "label": "ring"}
or a folder in the text format of TU Dortmund: NAME_A.txt, NAME_graph_indicator.txt, ...
"""

import json
import pathlib

import numpy as np

from scripts.data.graphs import Graphs
from scripts.data.own.parts import PARTS, check_parts, classes_of, part_of
from scripts.training.command_line import InputError


def load_own_graphs(path, *, batch_size, seed, like=None):
    """The pipelines of graphs, packed.

    Args:
        path: of a file of JSON lines, or of a folder in the TU format.
        batch_size: graphs a batch.
        seed: of the order of the training part.
        like: `classes` of a trained model, for which all of this is a test.
    """
    import tensorflow as tf

    from custom_layers.graphs import pack

    path, name = pathlib.Path(path), f"graphs:{path}"
    graphs = of_tu(path) if path.is_dir() else of_lines(path)
    classes = classes_of(name, [label for _, label in graphs], like)
    content = {part: [] for part in PARTS}
    for graph, label in graphs:
        key = json.dumps([graph["edges"].tolist(), graph["nodes"].tolist(), label])
        content["test" if like else part_of(key.encode())].append((graph, classes.index(label)))
    counts = {part: len(examples) for part, examples in content.items()}
    check_parts(name, counts, "add graphs", like)
    width = graphs[0][0]["nodes"].shape[1]
    signature = (
        {
            "nodes": tf.TensorSpec((None, width), tf.float32),
            "edges": tf.TensorSpec((None, 2), tf.int32),
        },
        tf.TensorSpec((), tf.int64),
    )

    def pipeline(part):
        examples = tf.data.Dataset.from_generator(
            lambda: iter(content[part]), output_signature=signature
        )
        examples = examples.apply(tf.data.experimental.assert_cardinality(counts[part]))
        if part == "train":
            examples = examples.shuffle(max(1, counts[part]), seed=seed)
        return pack(examples, batch_size).prefetch(tf.data.AUTOTUNE)

    nodes = [len(graph["nodes"]) for graph, _ in graphs]
    edges = [len(graph["edges"]) for graph, _ in graphs]
    return Graphs(
        name=name,
        **{part: pipeline(part) for part in PARTS},
        features=width,
        classes=tuple(classes),
        found={
            "examples": counts,
            "classes": {c: sum(label == c for _, label in graphs) for c in classes},
            "nodes": f"{min(nodes)} to {max(nodes)}, {width} features each",
            "edges": f"{min(edges)} to {max(edges)}, as rows (source, target)",
            "split": "by hash of the graph",
        },
    )


def of_lines(path):
    """(graph, label) of each line."""
    if not path.is_file():
        raise InputError(f"graphs:{path}: there is no such file or folder")
    graphs = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"graphs:{path} is no text in UTF-8: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            graphs.append(one(line, f"graphs:{path}, line {number}"))
            if graphs[-1][0]["nodes"].shape[1] != graphs[0][0]["nodes"].shape[1]:
                raise InputError(
                    f"graphs:{path}, line {number}: each node has "
                    f"{graphs[-1][0]['nodes'].shape[1]} features, in line 1 "
                    f"{graphs[0][0]['nodes'].shape[1]}"
                )
    if not graphs:
        raise InputError(f"graphs:{path} is empty: expected a graph a line")
    return graphs


def one(line, place, labeled=True):
    """The graph in a line of JSON, and its label."""
    from custom_layers.graphs import check_edges

    try:
        content = json.loads(line)
        nodes = np.array(content["features"], "float32")
        edges = np.array(content["edges"], "int32").reshape(-1, 2)
        label = str(content["label"]) if labeled else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{place}: {error!r}: expected an object with edges (pairs of nodes), features (a row "
            "of numbers a node) and label"
        ) from error
    if nodes.ndim != 2 or len(nodes) == 0:
        raise InputError(f"{place}: features: expected as many numbers for each node")
    try:
        check_edges(edges, len(nodes))
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error
    return {"nodes": nodes, "edges": edges}, label


def of_tu(path):
    """(graph, label) of each graph in the TU text format, a node's label one-hot, or its degree."""
    names = [file.name.removesuffix("_A.txt") for file in path.glob("*_A.txt")]
    if len(names) != 1:
        raise InputError(
            f"graphs:{path}: expected one file NAME_A.txt beside NAME_graph_indicator.txt and "
            f"NAME_graph_labels.txt, found {sorted(file.name for file in path.iterdir())[:9]}"
        )

    def read(kind, kinds="int64"):
        file = path / f"{names[0]}_{kind}.txt"
        try:
            return np.loadtxt(file, kinds, delimiter=",", ndmin=2)
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read: {error}") from error

    edges, owner = read("A") - 1, read("graph_indicator")[:, 0] - 1
    labels = read("graph_labels")[:, 0]
    if (path / f"{names[0]}_node_attributes.txt").exists():
        features = read("node_attributes", "float32")
    elif (path / f"{names[0]}_node_labels.txt").exists():
        kinds = read("node_labels")[:, 0]
        features = (kinds[:, None] == np.unique(kinds)).astype("float32")
    else:
        features = np.bincount(edges[:, 0], minlength=len(owner))[:, None].astype("float32")
    if len(features) != len(owner) or edges.min() < 0 or edges.max() >= len(owner):
        raise InputError(f"graphs:{path}: the files tell of different numbers of nodes")
    graphs = []
    for i, label in enumerate(labels):
        inside = np.flatnonzero(owner == i)
        mine = edges[owner[edges[:, 0]] == i] - inside[0]
        graph = {"nodes": features[inside], "edges": mine.astype("int32")}
        graphs.append((graph, str(label)))
    return graphs
