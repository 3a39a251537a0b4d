"""Data of graphs: as their sources say, safe against hostile files; what they are measured by."""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import pickle
import struct
import types
import zipfile

import networkx
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from custom_layers import SAGEConv
from custom_layers.checks import assert_near
from models.node_classifier import node_classifier
from scripts import evaluate, train
from scripts.data import graphs, nodes
from scripts.data.builders.influencers.influencers_dataset_builder import network, pagerank
from scripts.data.builders.planetoid import planetoid_dataset_builder as planetoid
from scripts.data.builders.planetoid.pickles import read
from scripts.data.builders.tu import tu_dataset_builder as tu
from scripts.data.graph_examples import PARTS, fetch
from scripts.data.likes import divide
from scripts.recipes import RECIPES
from scripts.settings import Settings
from scripts.studies import folds
from scripts.tasks.nodes import accuracy, most_followed, objective
from scripts.training.command_line import InputError
from scripts.training.fit import build

SHARED = os.environ.get("CUSTOM_LAYERS_DATA")
needs_shared = pytest.mark.skipif(SHARED is None, reason="CUSTOM_LAYERS_DATA is not set")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def load(folder):
    return functools.partial(nodes.load_nodes, batch_size=4, seed=0, data_dir=folder)


class Harm:
    """What a hostile pickle makes: a call, here of a function that leaves a trace."""

    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickles_are_refused_and_not_run(tmp_path, protocol):
    trace, path = tmp_path / "trace", tmp_path / "ind.cora.x"
    for harm in (
        Harm(os.system, f"touch {trace}"),
        Harm(eval, f"open({str(trace)!r}, 'w')"),
        Harm(pathlib.Path.touch, trace),
        Harm(getattr, np.ndarray, "tofile"),
        Harm(np.load, str(trace)),
        {1: [Harm(os.mkdir, str(trace))]},
    ):
        path.write_bytes(pickle.dumps(harm, protocol))
        with pytest.raises(InputError, match=r"ind\.cora\.x is not read, for safety: .*asks for"):
            read(path)
        assert not trace.exists()


def test_arrays_of_another_kind_or_size_are_refused(tmp_path):
    """What is allowed cannot be put to another use either."""
    path = tmp_path / "ind.cora.x"
    make = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n"
    large = b"cnumpy\nndarray\nJ" + struct.pack("<i", 2**31 - 1) + b"\x85U\x01b\x87R."
    for content in (
        make + b"ccollections\ndefaultdict\nK\x00\x85U\x01b\x87R.",
        make + large,
        b"\x80\x02cnumpy.core\nmultiarray._reconstruct\n.",
        b"",
        b"no pickle",
        b"\x80\x02c",
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not read, for safety"):
            read(path)


def test_harmless_pickles_are_read(tmp_path):
    graph = collections.defaultdict(list, {0: [1, 2], 1: [0]})
    (tmp_path / "graph").write_bytes(pickle.dumps(graph, 2))
    assert read(tmp_path / "graph") == graph


def test_a_file_is_checked_before_it_is_read(tmp_path):
    path = tmp_path / "ind.cora.x"
    path.write_bytes(b"cora")
    manager = types.SimpleNamespace(_manual_dir=tmp_path)
    sums = {path.name: hashlib.sha256(b"cora").hexdigest()}
    url = f"https://example.com/{path.name}"
    assert fetch(manager, url, sums) == path
    with pytest.raises(InputError, match=r"is not ind\.cora\.x: its sha256 is"):
        fetch(manager, url, planetoid.SUMS)
    elsewhere = types.SimpleNamespace(_manual_dir=None, download=lambda url: path)
    assert fetch(elsewhere, url, sums) == path


@pytest.mark.parametrize("name", ["planetoid/cora", "planetoid/citeseer"])
def test_no_planetoid_file_is_read_unless_all_are_right(name, tmp_path, monkeypatch):
    """All of both data sets have a sum; the last file is wrong here."""
    files = [f"ind.{name.partition('/')[2]}.{file}" for file in planetoid.FILES]
    assert set(files) <= planetoid.SUMS.keys()
    for file in files:
        (tmp_path / file).write_bytes(b"right")
    right = hashlib.sha256(b"right").hexdigest()
    monkeypatch.setattr(planetoid, "SUMS", dict.fromkeys(files, right) | {files[-1]: "0" * 64})
    monkeypatch.setattr(planetoid, "read", lambda path: pytest.fail(f"{path} was read"))
    builder = planetoid.Builder(config=name.partition("/")[2], data_dir=tmp_path / "data")
    with pytest.raises(InputError, match=f"is not {files[-1]}"):
        builder._split_generators(types.SimpleNamespace(_manual_dir=tmp_path))


def matrix(rows):
    """Rows of columns, as a pickled csr_matrix holds them."""
    return types.SimpleNamespace(
        indptr=np.cumsum([0, *map(len, rows)]),
        indices=np.concatenate([*rows, []]).astype(int),
        data=np.ones(sum(map(len, rows)), "float32"),
    )


def test_planetoid_with_a_gap():
    """Nodes 3 and 5 are tested; 4 has no row, as 15 of Citeseer have none; 1 is alone."""
    one_hot = np.eye(2)
    parts = {
        "y": one_hot[[0]],
        "allx": matrix([[0, 2], [], [1]]),
        "ally": one_hot[[0, 1, 1]],
        "tx": matrix([[3], [0, 1, 2]]),
        "ty": one_hot[[1, 0]],
        "graph": {0: [2, 2, 0], 2: [0, 5], 3: [], 4: [], 5: [2]},
    }
    monkey = planetoid.split_of(6, train=[0], validation=[1], test=[5, 3])
    assert [PARTS[i] for i in monkey] == ["train", "validation", "none", "test", "none", "test"]
    parts["allx"].indptr = parts["allx"].indptr[:4]
    example = planetoid.example(parts, np.array([5, 3]), validation=1)
    assert example["num_nodes"] == [6]
    rows = [[0, 2, -1], [-1] * 3, [1, -1, -1], [0, 1, 2], [-1] * 3, [3, -1, -1]]
    assert example["node_ids"].tolist() == rows
    assert example["node_weights"].tolist() == (np.array(rows) >= 0).tolist()
    assert sorted(example["edge_index"].tolist()) == [[0, 2], [2, 0], [2, 5], [5, 2]]
    assert example["labels"].tolist() == [0, 1, 1, 0, 0, 1]
    np.testing.assert_array_equal(example["split"], monkey)


def archive(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt", "/etc/evil.txt", "MUTAG/../../evil.txt", "MUTAG/a/b.txt", "OTHER/A.txt",
        "MUTAG\\..\\evil.txt", "evil.txt", "..",
    ],
)  # fmt: skip
def test_archives_stay_in_their_folder(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = archive(inside / "MUTAG.zip", {"MUTAG/MUTAG_A.txt": "1, 2", name: "evil"})
    with pytest.raises(InputError, match="which is not part of MUTAG"):
        tu.read_texts(path, "MUTAG")
    assert [p.name for p in tmp_path.rglob("*")] == ["inside", "MUTAG.zip"]


def test_zip_bombs_are_refused(tmp_path):
    bomb = archive(tmp_path / "MUTAG.zip", {"MUTAG/MUTAG_A.txt": b"0" * (tu.LARGEST + 1)})
    assert bomb.stat().st_size < 100_000
    with pytest.raises(InputError, match="would unpack to more than 50000000 bytes"):
        tu.read_texts(bomb, "MUTAG")
    # One that lies about its size, in the directory and in the header: no more than it says.
    content = bomb.read_bytes().replace(struct.pack("<I", tu.LARGEST + 1), struct.pack("<I", 4))
    bomb.write_bytes(content)
    with pytest.raises(InputError, match="is not an archive of MUTAG"):
        tu.read_texts(bomb, "MUTAG")
    bomb.write_bytes(b"no archive")
    with pytest.raises(InputError, match="is not an archive of MUTAG"):
        tu.read_texts(bomb, "MUTAG")


def test_graphs_of_the_text_format(tmp_path):
    """Nodes are counted through all graphs from 1 on; edges may stand in any order."""
    files = {
        "A": "4, 5\n1, 2\n2, 1\n5, 4\n2, 3\n3, 2\n",
        "graph_indicator": "1\n1\n1\n2\n2\n",
        "graph_labels": "-1\n1\n",
        "node_labels": "3\n1\n1\n2\n3\n",
    }
    files = {f"MUTAG/MUTAG_{name}.txt": text for name, text in files.items()}
    path = archive(tmp_path / "MUTAG.zip", {**files, "MUTAG/README.txt": "é"})
    first, second = tu.examples(tu.read_texts(path, "MUTAG"), (1, 2, 3), (-1, 1))
    assert first[1]["node_feat"].argmax(1).tolist() == [2, 0, 0]
    assert first[1]["edge_index"].tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert second[1]["edge_index"].tolist() == [[0, 1], [1, 0]]
    assert (first[1]["labels"], second[1]["labels"]) == (0, 1)


def test_karate_club_is_that_of_networkx(load):
    data, club = load("karate_club"), networkx.karate_club_graph()
    assert (data.features, data.classes) == (34, ("Mr. Hi", "Officer"))
    assert set(map(tuple, data.edges)) == set(club.edges) | {(t, s) for s, t in club.edges}
    assert [data.classes[i] for i in data.labels] == [club.nodes[n]["club"] for n in range(34)]
    assert {part: len(data.of(part)) for part in PARTS} == {
        "train": 2,
        "validation": 8,
        "test": 24,
        "none": 0,
    }
    for part in ("train", "validation", "test"):
        ((ids, weights, edges), labels, sample_weights), *others = getattr(data, part)
        assert not others
        assert (ids.shape, weights.shape, edges.shape) == ((34, 1), (34, 1), (156, 2))
        assert labels.shape == (34,)
        assert_near("their mean is one", tf.reduce_mean(sample_weights), 1.0, 1e-6)
        np.testing.assert_array_equal(np.flatnonzero(sample_weights), data.of(part))


def test_the_loss_is_the_mean_of_those_who_count(load):
    data = load("karate_club")
    model = node_classifier(data.features, 2, units=4, l2=0.0)
    model.compile(**objective(data))
    figures = model.evaluate(data.test, verbose=0, return_dict=True)
    probabilities = model.predict_on_batch([data.ids, data.weights, data.edges])
    test = data.of("test")
    loss = -np.log(probabilities[test, data.labels[test]]).mean()
    assert figures["loss"] == pytest.approx(loss, rel=1e-5)
    assert figures["accuracy"] == pytest.approx(accuracy(data, probabilities.argmax(1)), rel=1e-6)


def test_sampled_neighborhoods_that_keep_all_are_the_whole(load):
    """What two convolutions say of the seeds is the same; other samples in each epoch else."""
    data = load("influencers", sizes=(None, None), batch_size=50)
    whole = load("influencers")
    assert int(data.train.cardinality()) == 12
    model = node_classifier(data.features, 2, conv=SAGEConv, units=4)
    expected = model.predict_on_batch([whole.ids, whole.weights, whole.edges])
    seen = []
    for (ids, weights, edges), labels, own in data.train:
        assert all(len(x) & (len(x) - 1) == 0 for x in (ids, edges))  # powers of two
        count = int(tf.math.count_nonzero(own))
        assert_near("their mean is one", tf.reduce_mean(own), 1.0, 1e-6)
        answers = model([ids, weights, edges])[:count]
        # A seed is told by its features, of which the age is unique.
        age = whole.weights[:, 2]
        nodes_ = [int(np.flatnonzero(age == float(a))[0]) for a in weights[:count, 2]]
        assert_near("answers", answers, expected[nodes_], 1e-5)
        np.testing.assert_array_equal(labels[:count], whole.labels[nodes_])
        seen += nodes_
    assert sorted(seen) == whole.of("train").tolist()
    few = load("influencers", sizes=(2, 2), batch_size=600)
    edges = [len(graph[2]) for _ in range(2) for graph, _, _ in few.train]
    assert max(edges) < len(whole.edges)
    weights = [graph[1].numpy() for _ in range(2) for graph, _, _ in few.train]
    assert weights[0].shape != weights[1].shape or (weights[0] != weights[1]).any()


def test_pagerank_is_that_of_networkx():
    edges = network()
    assert len(np.unique(edges, axis=0)) == len(edges)
    assert (edges[:, 0] != edges[:, 1]).all()
    graph = networkx.gnp_random_graph(40, 0.2, seed=0, directed=True)
    ours = pagerank(np.array(graph.edges), 40)
    theirs = networkx.pagerank(graph, tol=1e-12)
    assert min(dict(graph.out_degree).values()) > 0
    assert_near("pagerank", ours, [theirs[n] for n in range(40)], 1e-8)


def test_influencers(load):
    data = load("influencers")
    assert np.bincount(data.labels).tolist() == [1600, 400]
    name, figure = most_followed(data)
    assert name == "most followers"
    assert 0.8 < figure < 0.9


def test_graph_atlas(folder):
    data = graphs.load_graphs("graph_atlas", batch_size=64, seed=0, data_dir=folder)
    graphs_seen = positive = 0
    for part in (data.train, data.validation, data.test):
        for x, labels in part:
            assert x["nodes"].shape[1] == data.features == 1
            assert int(tf.reduce_sum(x["num_nodes"])) == int(tf.math.count_nonzero(x["nodes"]))
            graphs_seen += len(labels)
            positive += int(tf.reduce_sum(labels))
    assert (graphs_seen, positive) == (1253, 1080)


def test_graphs_with_questions(monkeypatch):
    """As tfds' ogbg_molpcba has them: ids in columns, and answers that may be missing."""
    features = tfds.features.FeaturesDict(
        {
            "node_feat": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
            "edge_index": tfds.features.Tensor(shape=(None, 2), dtype=np.int64),
            "labels": tfds.features.Tensor(shape=(3,), dtype=np.float32),
        }
    )
    example = {
        "node_feat": np.array([[0, 1], [3, 0]], "float32"),
        "edge_index": np.array([[0, 1], [1, 0]]),
        "labels": np.array([1, np.nan, 0], "float32"),
    }
    split = types.SimpleNamespace(num_examples=1)
    builder = types.SimpleNamespace(
        info=types.SimpleNamespace(
            features=features,
            metadata={"tasks": ["a", "b", "c"]},
            splits=dict.fromkeys(("train", "validation", "test"), split),
        ),
        as_dataset=lambda **_: tf.data.Dataset.from_tensors(example),
    )
    monkeypatch.setattr(graphs, "prepare", lambda *_: builder)
    data = graphs.load_graphs("ogbg_molpcba", batch_size=2, seed=0, kinds=(4, 2))
    ((x, labels, weights),) = data.test
    assert x["nodes"].numpy().tolist() == [[0, 5], [3, 4]]
    assert labels.numpy().tolist() == [[[1], [0], [0]]]
    assert weights.numpy().tolist() == [[1, 0, 1]]
    assert (data.features, data.classes) == (6, ("a", "b", "c"))
    recipe = RECIPES["molpcba-gin"]
    data = graphs.load_graphs(
        "ogbg_molpcba", batch_size=2, seed=0, kinds=(119, 5)
    )  # fewer columns than there, and smaller, but the recipe's model otherwise
    from models.graph_classifier import graph_classifier

    model = graph_classifier(124, 3, units=(4,), categorical=2, tasks=True)
    model.compile("adam", **recipe.objective(data))
    model.fit(data.train, verbose=0, shuffle=False)
    loss = model.evaluate(data.test, verbose=0)
    p = model.predict(data.test, verbose=0)[0, :, 0]
    assert loss == pytest.approx(-(np.log(p[0]) + np.log(1 - p[2])) / 3, rel=1e-4)


def test_likes_are_divided_in_time():
    of_user = np.array([0] * 10 + [1] * 5)
    movies = np.array([*range(10, 20), 10, 11, 12, 13, 19])
    pairs, users, kept, seen = divide(of_user, movies)
    assert users == 2
    assert kept.tolist() == list(range(10, 18))
    assert len(pairs["train"]) == 12
    assert pairs["validation"].tolist() == []  # 18 and 19 are not known in training
    assert pairs["test"].tolist() == []
    assert seen["train"].sum(1).tolist() == [8, 4]


@needs_shared
def test_cora(folder, load):
    raw = os.path.join(SHARED, "raw" if os.path.isdir(f"{SHARED}/raw") else "", "planetoid")
    data = load("planetoid/cora", download_dir=raw)
    assert (len(data.ids), len(data.edges), data.features) == (2708, 10556, 1433)
    assert {part: len(data.of(part)) for part in PARTS[:3]} == {
        "train": 140,
        "validation": 500,
        "test": 1000,
    }
    assert np.bincount(data.labels[data.of("train")]).tolist() == [20] * 7
    assert_near("rows", data.weights.sum(1), np.ones(2708), 1e-5)


@needs_shared
@pytest.mark.parametrize(("name", "count", "width"), [("mutag", 188, 7), ("enzymes", 600, 3)])
def test_tu(folder, name, count, width):
    raw = os.path.join(SHARED, "raw" if os.path.isdir(f"{SHARED}/raw") else "", "tudataset")
    data = graphs.load_graphs(
        f"tu/{name}", batch_size=64, seed=0, data_dir=folder, download_dir=raw
    )
    total = 0
    for part in (data.train, data.validation, data.test):
        for x, labels in part:
            total += len(labels)
            rows = tf.reduce_sum(x["nodes"], 1) == tf.cast(x["graph_ids"] >= 0, tf.float32)
            assert tf.reduce_all(rows)  # one-hot, but for padding
    assert (total, data.features) == (count, width)


@pytest.mark.long
def test_folds(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(folds, "FOLDS", 2)
    options = ["--epochs", "2", "--units", "3", "--batch-size", "400", "--data-dir", folder]
    folds.main(["graph_atlas", *options, "--output", str(tmp_path)])
    assert "graph_atlas: " in capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    assert [line.partition(",")[0] for line in path.read_text().splitlines()[1:]] == [
        "fold",
        "1",
        "2",
    ]
    labels = np.repeat([0, 1], [40, 20])
    for rest, test in folds.folds(labels):
        assert sorted([*rest, *test]) == list(range(60))
        assert labels[test].mean() == pytest.approx(1 / 3, abs=0.02)


def test_one_graph_is_not_divided_among_devices(folder, tmp_path, capsys):
    options = ["--data-dir", folder, "--output", str(tmp_path / "run"), "--epochs", "1"]
    with pytest.raises(SystemExit):
        train.main(["karate-gcn", "--strategy", "mirrored", *options])
    assert "a batch of this recipe is one graph" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["karate-gcn", pytest.param("atlas-gin", marks=pytest.mark.long)])
def test_recipes_run(name, folder, tmp_path, capsys):
    run = tmp_path / "run"
    train.main([name, "--data-dir", folder, "--output", str(run), "--epochs", "2"])
    assert f"{run}: test accuracy " in capsys.readouterr().out
    metrics = json.loads((run / "metrics.json").read_text())
    picture = "nodes.png" if name == "karate-gcn" else "confusion.png"
    assert (run / picture).stat().st_size > 5000
    evaluate.main([str(run)])
    assert f"test accuracy {metrics['test']['accuracy']:.6f}" in capsys.readouterr().out


def test_patience_ends_a_training(folder, tmp_path, monkeypatch):
    """Nothing is learned at this rate, so that no epoch is better than the first; SGC has a picture
    although it has no hidden layer."""
    patient = dataclasses.replace(RECIPES["cora-sgc"], patience=3)
    monkeypatch.setitem(RECIPES, "cora-sgc", patient)
    arguments = ["cora-sgc", "--data", "karate_club", "--data-dir", folder, "--epochs", "9"]
    train.main([*arguments, "--learning-rate", "1e-30", "--output", str(tmp_path / "run")])
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 1 + 4
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["best_epoch"] == 1
    assert (tmp_path / "run" / "nodes.png").stat().st_size > 5000


def test_learning_rate_stays_where_the_recipe_says(load):
    settings = Settings(learning_rate=0.25, epochs=3)
    data, recipe = load("karate_club"), RECIPES["karate-gcn"]
    for stays, rates in ((True, [0.25, 0.25]), (False, [0.25, 0.0])):
        model = build(dataclasses.replace(recipe, decay=not stays), data, settings, 1)
        found = []
        for iteration in (0, 3):
            model.optimizer.iterations.assign(iteration)
            found.append(float(model.optimizer.learning_rate))
        assert found == rates
