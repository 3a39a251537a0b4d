"""Files of one's own: what is found in them, wrong ones in one line, and from files to answers."""

import csv
import io
import json
import random
import re
import sys

import keras
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.datasets import load_iris, load_sample_images

from custom_layers.graphs import pack
from scripts import evaluate, predict, train
from scripts.data.own import asked, folders, frames, graphs, series, texts
from scripts.data.own.parts import part_of
from scripts.export import __main__ as export
from scripts.recipes import RECIPES
from scripts.training import run_folder
from scripts.training.command_line import InputError

SIZES = {"batch_size": 8, "seed": 0}


def write_photographs(folder, each=30):
    """Pieces of scikit-learn's two photographs, in several sizes; a folder a class."""
    dice = random.Random(0)
    for name, image in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            top, left = dice.randrange(image.shape[0] - 70), dice.randrange(image.shape[1] - 90)
            piece = image[top : top + 24 + i % 5, left : left + 30]
            (folder / name / f"{i:03}.png").write_bytes(tf.io.encode_png(piece).numpy())
    return folder


def write_flowers(path):
    """Iris, with a category that tells nothing and with values that are missing."""
    iris = load_iris(as_frame=True)
    frame = iris.data.assign(
        color=[("red", "blue")[i % 2] for i in range(150)],
        species=iris.target.map(dict(enumerate(map(str, iris.target_names)))),
    )
    frame.iloc[3, 0], frame.iloc[7, 4] = np.nan, None
    frame.to_csv(path, index=False)
    return path


def write_moods(path):
    dice, words = random.Random(0), {"good": "fine lovely great", "bad": "awful broken sad"}
    rows = [
        (" ".join(dice.choices(f"{words[mood]} the a it was".split(), k=8)) + f" {i}", mood)
        for i in range(60)
        for mood in words
    ]
    pd.DataFrame(rows, columns=["text", "mood"]).to_csv(path, index=False)
    return path


def write_sales(path):
    days = np.arange(300)
    sold = 20 + 5 * np.sin(days / 7 * 2 * np.pi)
    pd.DataFrame({"day": [f"day {i}" for i in days], "sold": sold.round(3)}).to_csv(
        path, index=False
    )
    return path


def rings_and_paths(count=80):
    """Graphs with an edge to the next node, and from the last to the first in every second one."""
    for i in range(count):
        nodes, ring = 5 + i % 6, i % 2
        edges = [(j, (j + 1) % nodes) for j in range(nodes - 1 + ring)]
        edges += [(t, s) for s, t in edges]
        degree = np.bincount(np.array(edges)[:, 0], minlength=nodes).tolist()
        features = [[float(d), i / count] for d in degree]
        yield {"edges": edges, "features": features, "label": "ring" if ring else "path"}


def write_graphs(path):
    path.write_text("\n".join(json.dumps(graph) for graph in rings_and_paths()) + "\n")
    return path


# --- what is found


def labels(part):
    return [int(label) for _, y in part.as_numpy_iterator() for label in np.atleast_1d(y)]


def test_a_folder_of_images(tmp_path):
    folder = write_photographs(tmp_path / "photos")
    with pytest.raises(InputError, match="has images of 5 sizes, from 24 x 30 to 28 x 30: --image"):
        folders.load_folder(folder, **SIZES)
    data = folders.load_folder(folder, image_size=(12, 16), **SIZES)
    assert (data.shape, data.classes) == ((12, 16, 3), ("flower", "temple"))
    assert data.found["classes"] == {"flower": 30, "temple": 30}
    counts = {p: len(labels(getattr(data, p))) for p in ("train", "validation", "test")}
    assert data.found["examples"] == counts
    assert sum(counts.values()) == 60
    x, _ = next(data.train.as_numpy_iterator())
    assert 1 < x.max() <= 255
    # The split is a property of each file: another name or another file changes none.
    (folder / "temple" / "000.png").rename(folder / "temple" / "zzz.png")
    (folder / "flower" / "999.png").write_bytes((folder / "temple" / "zzz.png").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"999.png is no image .*--skip-broken leaves such files"):
        folders.load_folder(folder, image_size=(12, 16), **SIZES)
    again = folders.load_folder(folder, image_size=(12, 16), skip_broken=True, **SIZES)
    assert (again.found["examples"], again.found["broken"]) == (counts, 1)


def test_folders_for_parts(tmp_path):
    for part in ("train", "validation", "test"):
        for name in ("one", "two"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(2):
                gray = np.full((8, 8, 1), 40 * i, "uint8")
                (tmp_path / part / name / f"{i}.png").write_bytes(tf.io.encode_png(gray).numpy())
    data = folders.load_folder(tmp_path, **SIZES)
    assert (data.shape, data.found["split"]) == ((8, 8, 1), "by folder")
    assert data.found["examples"] == {"train": 4, "validation": 4, "test": 4}


def test_a_table(tmp_path):
    data = frames.load_csv(write_flowers(tmp_path / "a.csv"), label="species", **SIZES)
    assert data.classes == ("setosa", "versicolor", "virginica")
    assert data.found["missing"] == {"sepal length (cm)": 1, "color": 1}
    assert data.found["columns"]["color"] == "2 categories"
    assert data.shape == (6,)
    x = np.concatenate([x for x, _ in data.train.as_numpy_iterator()])
    assert x.shape[1] == 5
    assert set(x[~np.isnan(x[:, 4]), 4]) == {0, 1}
    mean = data.columns[1]["mean"]
    assert x[:, 1].mean() == pytest.approx(mean, rel=1e-5)


def test_texts(tmp_path):
    data = texts.load_own_texts(write_moods(tmp_path / "moods.csv"), label="mood", **SIZES)
    assert data.classes == ("bad", "good")
    assert "lovely" in data.vectorizer.get_vocabulary()
    for name in ("x", "y"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for i in range(40):
            (tmp_path / "folder" / name / f"{i}.txt").write_text(f"{name} {i}")
    data = texts.load_own_texts(tmp_path / "folder", **SIZES)
    assert data.found["classes"] == {"x": 40, "y": 40}


def test_a_series(tmp_path):
    data = series.load_own_series(write_sales(tmp_path / "sold.csv"), **SIZES)
    assert (len(data.values), data.found["values"]) == (300, 300)
    x, y = next(data.test.as_numpy_iterator())
    assert (x.shape, y.shape) == ((8, series.HISTORY), (8, series.HORIZON))


def test_graphs_in_both_formats(tmp_path):
    data = graphs.load_own_graphs(write_graphs(tmp_path / "graphs.jsonl"), **SIZES)
    assert (data.features, data.classes) == (2, ("path", "ring"))
    batch, answers = next(data.train.as_numpy_iterator())
    assert len(batch["num_nodes"]) == len(answers) == 8
    folder = tmp_path / "RINGS"
    folder.mkdir()
    edges, owner, wanted, attributes, first = [], [], [], [], 1
    for i, graph in enumerate(rings_and_paths(), 1):
        edges += [f"{s + first}, {t + first}" for s, t in graph["edges"]]
        owner += [str(i)] * len(graph["features"])
        attributes += [", ".join(map(str, row)) for row in graph["features"]]
        wanted.append(str(int(graph["label"] == "ring")))
        first += len(graph["features"])
    files = {"A": edges, "graph_indicator": owner, "graph_labels": wanted}
    for name, lines in {**files, "node_attributes": attributes}.items():
        (folder / f"RINGS_{name}.txt").write_text("\n".join(lines) + "\n")
    data = graphs.load_own_graphs(folder, **SIZES)
    assert (data.features, data.classes) == (2, ("0", "1"))
    assert data.found["nodes"].startswith("5 to 10")


def test_pack_takes_a_plain_list():
    listed = [
        ({"nodes": graph["features"], "edges": graph["edges"]}, graph["label"] == "ring")
        for graph in rings_and_paths(10)
    ]
    batches = list(pack(listed, 8))
    assert [len(labels) for _, labels in batches] == [8, 2]
    features, _ = batches[0]
    assert features["num_nodes"].numpy().tolist() == [len(f["nodes"]) for f, _ in listed[:8]]
    assert features["nodes"].dtype == tf.float32
    assert features["edges"].dtype == tf.int32
    assert next(iter(pack([features for features, _ in listed], 8)))["nodes"].shape[1] == 2
    with pytest.raises(ValueError, match="the list is empty"):
        pack([], 8)


def test_the_split_is_a_property_of_the_example():
    parts = [part_of(str(i).encode()) for i in range(2000)]
    assert parts == [part_of(str(i).encode()) for i in range(2000)]
    shares = {part: parts.count(part) / 2000 for part in set(parts)}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.03)


# --- wrong ones, in one line


PNG = tf.io.encode_png(np.zeros((9, 9, 1), "uint8")).numpy()
FOLDER, CSV = "digits-convnet --data folder:", "wine-mlp --data csv:"
TEXTS = "docstrings-lstm --data texts:"
SERIES, GRAPHS = "temperatures-gru --data series:", "atlas-gin --data graphs:"
GRAPH = '{"edges": [[0, 1]], "features": [[1.0], [2.0]], "label": "a"}\n'
WRONG = [
    (FOLDER + "HERE/none", {}, "folder:HERE/none: there is no such folder"),
    (FOLDER + "HERE", {}, "folder:HERE: expected two folders with files or more"),
    (FOLDER + "HERE", {"a/x.png": "x"}, "folder:HERE: expected two folders with files"),
    (FOLDER + "HERE", {"test/a/x.png": "x"}, "has test but no folder train"),
    (FOLDER + "HERE", {"a/x.png": "x", "b/y.png": "y"}, "HERE/a/x.png is no image that TensorFlow"),
    (
        FOLDER + "HERE --skip-broken",
        {"a/x.png": "x", "b/y.png": "y"},
        "folder:HERE has no image that can be read",
    ),
    (FOLDER + "HERE --image-size 4 4", {"a/x.png": PNG, "b/y.png": PNG}, "of 4 x 4 are too small"),
    (FOLDER + "HERE --label x", {}, "--label: data folder takes no label"),
    (FOLDER + "HERE --image-size 3", {}, "--image-size: expected 2 arguments"),
    (FOLDER + "HERE --image-size 0 3", {}, "--image-size: expected a whole number of at least 1"),
    (CSV + "HERE/none.csv --label y", {}, "csv:HERE/none.csv: there is no such file"),
    (CSV + "HERE --label y", {}, "csv:HERE cannot be read: .*Is a directory"),
    (CSV + "HERE/a.csv", {"a.csv": "x,y\n1,2\n"}, "--label COLUMN names the one to be told: x, y"),
    (CSV + "HERE/a.csv --label z", {"a.csv": "x,y\n1,2\n"}, "has no column z: .* one of x, y"),
    (CSV + "HERE/a.csv --label y", {"a.csv": ""}, "cannot be read: No columns to parse"),
    (CSV + "HERE/a.csv --label y", {"a.csv": "x,y\n"}, "has no rows below its line of names"),
    (CSV + "HERE/a.csv --label y", {"a.csv": "x,y\n1,2\n1,2,3\n"}, "Expected 2 fields in line 3"),
    (CSV + "HERE/a.csv --label y", {"a.csv": "x,y\n1,2\n3,\n"}, "line 3: column y is empty: fill"),
    (CSV + "HERE/a.csv --label y", {"a.csv": "x,y\n1,2\n3,2\n"}, r"column y has 1 classes \(2\)"),
    (CSV + "HERE/a.csv --label y", {"a.csv": "x,y\n1,2.5\n3,4\n"}, "holds numbers such as 2.5"),
    (CSV + "HERE/a.csv --label y", {"a.csv": "x,y\n1,2\n3,4\n"}, "none of them is in the part"),
    (CSV + "HERE/a.csv --image-size 8 8", {}, "--image-size: data csv takes no image-size"),
    (CSV + "HERE/a.csv --label y", {"a.csv": b"x,y\n\xff,1\n"}, "cannot be read: 'utf-8' codec"),
    (TEXTS + "HERE/none", {}, "texts:HERE/none|csv:HERE/none: there is no such file"),
    (TEXTS + "HERE/a.csv", {"a.csv": "text,y\na,b\n"}, "needs --label: --label is one of text, y"),
    (TEXTS + "HERE/a.csv --label z", {"a.csv": "text,y\na,b\n"}, "has no column z"),
    (TEXTS + "HERE/a.csv --label y", {"a.csv": "s,t,y\na,b,c\n"}, "which column is the text"),
    (TEXTS + "HERE/a.csv --label y", {"a.csv": "text,y\na,b\n,c\n"}, "line 3: text or y is empty"),
    (TEXTS + "HERE", {"a/x.txt": b"\xff", "b/y.txt": "y"}, "HERE/a/x.txt is no text in UTF-8"),
    (TEXTS + "HERE", {"a/x.txt": "x"}, r"has 1 classes \(a\), expected 2"),
    (SERIES + "HERE/a.csv", {"a.csv": "x,y\n1,2\n"}, "has 2 columns of numbers: --label names"),
    (SERIES + "HERE/a.csv", {"a.csv": "x\na\n"}, "has 0 columns of numbers: --label names"),
    (SERIES + "HERE/a.csv --label z", {"a.csv": "x\n1\n"}, "has no column z: --label is one of x"),
    (SERIES + "HERE/a.csv", {"a.csv": "x\n1\n2\n"}, "has 2 values, too few for its windows"),
    (
        SERIES + "HERE/a.csv --label x",
        {"a.csv": "x\n1\ntwo\n"},
        "line 3, column x: expected a number, found 'two'",
    ),
    (GRAPHS + "HERE/none", {}, "graphs:HERE/none: there is no such file or folder"),
    (GRAPHS + "HERE/a", {"a": ""}, "graphs:HERE/a is empty: expected a graph a line"),
    (GRAPHS + "HERE/a", {"a": GRAPH + "{"}, "line 2: JSONDecodeError"),
    (GRAPHS + "HERE/a", {"a": GRAPH + "{}"}, "line 2: KeyError.*: expected an object with edges"),
    (
        GRAPHS + "HERE/a",
        {"a": GRAPH.replace("[0, 1]", "[0, 7]")},
        r"line 1: Edge 0 is \[0, 7\], but there are 2 nodes",
    ),
    (
        GRAPHS + "HERE/a",
        {"a": GRAPH + GRAPH.replace("[1.0], [2.0]", "[1.0, 2.0]")},
        "line 2: each node has 2 features, in line 1 1|line 2: Edge 0",
    ),
    (GRAPHS + "HERE/a", {"a": GRAPH}, r"has 1 classes \(a\), expected 2"),
    (GRAPHS + "HERE", {"x.txt": ""}, r"expected one file NAME_A.txt beside .*, found \['x.txt'\]"),
    ("digits-mlp --data csv:HERE/a.csv --label y", {}, "--data csv: this recipe reads folder:PATH"),
    ("python-gru --data texts:HERE", {}, "--data texts: this recipe reads no files"),
    ("digits-mlp --data tfds:mnit", {}, "data set mnit: did you mean mnist"),
    ("digits-mlp --data tfds:mnist:9.9.9", {}, "data set mnist: there is no version 9.9.9, but "),
    ("digits-mlp --data tfds:mine --import no_such", {}, "--import no_such: No module named"),
]


@pytest.mark.parametrize(("line", "files", "pattern"), WRONG, ids=range(len(WRONG)))
def test_wrong_files_are_one_line(line, files, pattern, tmp_path, capsys):
    here = tmp_path / "here"
    here.mkdir()
    for name, content in files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SystemExit, match="2"):
        train.main([*line.replace("HERE", str(here)).split(), "--output", str(tmp_path / "run")])
    error = capsys.readouterr().err.splitlines()[-1].replace(str(here), "HERE")
    assert error.startswith("error: ")
    assert "Without a network" not in error
    assert re.search(pattern, error), error
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


# --- from files to answers


EXAMPLES = {
    "table": (
        ["wine-mlp", "--label", "species", "--epochs", "12"],
        lambda folder: f"csv:{write_flowers(folder / 'flowers.csv')}",
    ),
    "images": (
        ["digits-convnet", "--image-size", "12", "16", "--epochs", "3"],
        lambda folder: f"folder:{write_photographs(folder / 'photos')}",
    ),
    "texts": (
        ["docstrings-convnet", "--label", "mood", "--epochs", "4"],
        lambda folder: f"texts:{write_moods(folder / 'moods.csv')}",
    ),
    "series": (
        ["temperatures-gru", "--epochs", "2"],
        lambda folder: f"series:{write_sales(folder / 'sold.csv')}",
    ),
    "graphs": (
        ["atlas-gin", "--epochs", "3"],
        lambda folder: f"graphs:{write_graphs(folder / 'graphs.jsonl')}",
    ),
}


@pytest.mark.parametrize(
    "kind", ["table", *(pytest.param(k, marks=pytest.mark.long) for k in list(EXAMPLES)[1:])]
)
def test_from_files_to_answers(kind, tmp_path, capsys, monkeypatch):
    """Trained, evaluated, asked, exported, and asked again with onnxruntime: the same answers."""
    arguments, write = EXAMPLES[kind]
    data, run = write(tmp_path), tmp_path / "run"
    train.main([*arguments, "--data", data, "--output", str(run)])
    printed = capsys.readouterr().out
    assert printed.startswith(f"data {data}\n")
    found = json.loads((run / "recipe.json").read_text())["data"]
    assert found["split"] in printed
    evaluate.main([str(run)])
    figure = RECIPES[arguments[0]].figure
    recorded = json.loads((run / "metrics.json").read_text())["test"][figure]
    assert f"test {figure} {recorded:.6f} (recorded: {recorded:.6f})" in capsys.readouterr().out
    path = data.partition(":")[2]
    files = [f"{path}/flower/000.png", f"{path}/temple/001.png"] if kind == "images" else [path]
    predict.main([str(run), *files])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "of"
    predict.main([str(run), *files, "--output", str(tmp_path / "answers.csv")])
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        answers = list(csv.reader(file))[1:]
    assert len(answers) == len(rows)

    model = run_folder.load_model(run)
    _, inputs = asked.inputs_of(model, files)
    expected = asked.run(model, inputs, len(inputs))
    if kind != "series":
        names = asked.classes_of(model)
        assert names == sorted(found["classes"])
        assert [row[1] for row in answers] == [names[i] for i in expected.argmax(1)]
        kept = json.loads((run / "saved_model" / "assets.extra" / "preparation.json").read_text())
        assert kept["classes"] == names
    capsys.readouterr()
    export.main(
        [str(run / "model.keras"), "--format", "onnx", "--output", str(tmp_path / "m.onnx")]
    )
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    if kind == "texts":  # ids of words
        words = asked.layer_of(model, keras.layers.TextVectorization)
        inputs = words(tf.constant(inputs)).numpy()
    if kind == "graphs":
        batch = {k: v.numpy() for k, v in next(iter(pack(inputs, len(inputs)))).items()}
    else:
        batch = {session.get_inputs()[0].name: np.stack(inputs)}
    wanted = {i.name for i in session.get_inputs()}
    [y] = session.run(None, {name: x for name, x in batch.items() if name in wanted})
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_other_files_and_standard_input(tmp_path, capsys, monkeypatch):
    """A run is measured on another file, whose classes it knows, and asked from a pipe."""
    flowers, run = write_flowers(tmp_path / "flowers.csv"), tmp_path / "run"
    line = ["--label", "species", "--epochs", "1", "--data", f"csv:{flowers}"]
    train.main(["wine-mlp", *line, "--output", str(run)])
    frame = pd.read_csv(flowers)
    frame[frame.species != "setosa"].to_csv(tmp_path / "others.csv", index=False)
    evaluate.main([str(run), "--data", f"csv:{tmp_path}/others.csv"])
    assert "test accuracy" in capsys.readouterr().out
    frame.assign(species="rose").to_csv(tmp_path / "roses.csv", index=False)
    with pytest.raises(SystemExit):
        evaluate.main([str(run), "--data", f"csv:{tmp_path}/roses.csv"])
    assert "the model knows no class rose, but setosa" in capsys.readouterr().err
    for text, said in (
        (frame.head(2).to_csv(index=False), None),
        ("a,b\n1,2\n", "has no column sepal length"),
        (
            frame.head(2).astype(str).replace("3.5", "wide").to_csv(index=False),
            "line 2, column sepal",
        ),
        ("", "cannot be read"),
    ):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        if said is None:
            predict.main([str(run), "-"])
            assert [row.split()[0] for row in capsys.readouterr().out.splitlines()] == [
                "of", "-:2", "-:3",
            ]  # fmt: skip
        else:
            with pytest.raises(SystemExit, match="2"):
                predict.main([str(run), "-"])
            assert said in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        predict.main([str(run), str(tmp_path / "nowhere.csv")])
    assert "nowhere.csv: there is no such file" in capsys.readouterr().err
