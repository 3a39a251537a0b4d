"""The benchmark: what it times is what it says, its arithmetic is right, its files are whole."""

import contextlib
import dataclasses
import importlib
import os
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.image import imread
from tensorflow.python.eager import context

import custom_layers
from custom_layers.checks import assert_near
from scripts.benchmark import __main__ as benchmark
from scripts.benchmark import first_steps, graphs, layers, models, results, scaling, trainings
from scripts.benchmark.layers import every_case, tiny_cases
from scripts.benchmark.results import command, row, tables, write_csv
from scripts.benchmark.rivals.worker import Worker
from scripts.benchmark.timing import Case, compare, kept_bytes, passes, quantile
from scripts.training.record import read_csv

SPACES = (custom_layers, keras.layers)
PAIRS = [(0.001, 0.002), (0.002, 0.003), (0.001, 0.004)]


# What is timed


@pytest.mark.parametrize("mode", ["graph", "xla", "eager"])
def test_forward_and_step_of_a_layer(mode):
    layer = custom_layers.Dense(3)
    x = tf.random.stateless_normal((4, 5), (0, 0))
    forward, step = passes(layer, x, mode).values()
    assert_near("y", forward(), layer(x), 1e-5)
    dx, dkernel, dbias = step()
    assert_near("dx", dx, np.ones((4, 3)) @ layer.kernel.numpy().T, 1e-5)
    assert_near("dkernel", dkernel, x.numpy().T @ np.ones((4, 3)), 1e-5)
    assert_near("dbias", dbias, np.full(3, 4.0), 1e-5)


def test_integers_have_no_gradient():
    layer = custom_layers.GraphConv(3, use_bias=False)
    inputs = [tf.ones((4, 2)), tf.constant([[0, 1], [1, 2]])]
    dx, dkernel = passes(layer, inputs, "graph")["step"]()
    assert dx.shape == (4, 2)
    assert dkernel.shape == (2, 3)


def test_who_goes_first_alternates():
    calls = []
    times = compare(lambda: calls.append("a") or 1, lambda: calls.append("b") or 2, 4, warm_up=2)
    assert times == [(1, 2)] * 4
    assert "".join(calls) == "abab" + "baab" * 2


def test_kept_bytes():
    """Dense keeps its input, which is there anyway; what it hands on is counted."""
    x = tf.ones((8, 5))
    assert kept_bytes(custom_layers.Dense(3), x) == 8 * 3 * 4
    assert kept_bytes(custom_layers.Flatten(), x) <= 16, "a shape"
    kept = kept_bytes(custom_layers.Dropout(0.5), tf.ones((64, 1000)))
    assert kept < 1.1 * 64_000 * 4, "a seed is kept, no mask"


def test_a_call_lasts_as_long_as_it_should():
    """Of a case that is too fast for the clock, one call makes many steps on both sides."""
    asked = []

    def timer(seconds):
        return lambda steps: asked.append(steps) or seconds

    case = Case("name", "size", None, least=0.08, warm_up=1)
    assert case.times(timer(0.004), timer(0.01), 2) == [(0.004, 0.01)] * 2
    assert asked == [2, 2, 2, 2] + [8] * 6
    asked.clear()
    case.times(timer(1e-6), timer(1e-6), 1)
    assert asked[-1] == 50


@pytest.mark.parametrize("cases", [every_case, tiny_cases])
def test_every_case_is_a_layer_of_both(cases, monkeypatch):
    built = []
    monkeypatch.setattr(layers, "passes", lambda layer, x, mode: built.append((layer, x)) or {})
    for case in cases():
        built.clear()
        for space in SPACES:
            case.timers(case.data(), space, "graph")
        (ours, x), (theirs, _) = built
        x = keras.KerasTensor(x.shape, x.dtype.name)
        assert ours(x).shape == theirs(x).shape, case
        assert ours.count_params() == theirs.count_params(), case
        inner = ours.layer if isinstance(ours, layers.OnItself) else ours
        assert type(inner).__module__.startswith("custom_layers."), case


@pytest.mark.parametrize("case", models.every_model(), ids=lambda c: c.name)
def test_every_model_is_the_same_with_both(case, monkeypatch):
    built = []
    monkeypatch.setattr(models, "fit_and_predict", lambda *batch: built.append(batch) or {})
    for space in SPACES:
        case.timers({}, space, "graph")
    (ours, x, y), (theirs, *_) = built
    assert ours.count_params() == theirs.count_params()
    inputs = x if isinstance(x, tuple) else (x,)
    assert case.size == " and ".join("x".join(map(str, part.shape)) for part in inputs)
    assert len(ours(x)) == len(y) == len(inputs[0])


@pytest.mark.parametrize("name", ["mlp", pytest.param("gan", marks=pytest.mark.long)])
def test_fit_and_predict_of_a_model(name):
    found = next(c for c in models.every_model() if c.name == name)
    found = dataclasses.replace(found, least=0.001)
    rows = list(benchmark.case_rows(found, "graph", 3, "keras", None))
    assert [r["pass"] for r in rows] == ["fit", "predict"]
    assert all(r["ours_ms"] > 0 and r["pairs"] == 3 for r in rows)


def test_training_goes_on_from_call_to_call(monkeypatch):
    model = models.compiled(models.made_of(models.mlp, (64,), 10), *SPACES[:1], "mse", "graph")
    x, y = models.arrays(model, [(64, 64)], "mse")
    fit = models.fit_and_predict(model, x, y)["fit"]
    losses = [fit(20).history["loss"][0] for _ in range(4)]
    assert losses[-1] < losses[0]
    assert int(model.optimizer.iterations) == 80


def test_lengths_of_an_epoch():
    batches = list(models.batches_of_lengths())
    shapes = [x.shape for x, _ in batches]
    assert len(batches) == 101
    assert len({length for _, length in shapes}) == 50
    assert shapes[-1] == (8, 10)
    assert {rows for rows, _ in shapes[:-1]} == {32}


def test_an_epoch_of_many_lengths():
    options = {"lengths": 2, "each": 1, "batch": 4}
    seconds = models.epochs_of_lengths("custom_layers", "graph", **options)
    assert min(seconds) > 0


def test_first_epochs_are_in_processes_of_their_own(monkeypatch):
    """Pairs of the next epoch are those of the same processes."""
    numbers = iter(range(100))

    def epochs(function, arguments):
        assert function is models.epochs_of_lengths
        assert importlib.import_module(arguments[0]) in SPACES
        return next(numbers), 10 + next(numbers)

    pool = type("Pool", (), {"apply": staticmethod(epochs)})
    context = type("Context", (), {"Pool": lambda self, count: contextlib.nullcontext(pool)})
    monkeypatch.setattr(models.multiprocessing, "get_context", lambda method: context())
    (case,) = models.many_lengths()
    ours, theirs = (case.timers({}, space, "graph") for space in SPACES)
    assert list(ours) == ["first", "next"]
    assert case.times(ours["first"], theirs["first"]) == [(2, 0), (4, 6), (10, 8)]
    assert case.times(ours["next"], theirs["next"]) == [(13, 11), (15, 17), (21, 19)]


@pytest.mark.parametrize("name", ["mlp", "gan"])
def test_first_steps(name):
    first, new, grown = first_steps.first_steps("custom_layers", "graph", name)
    assert min(first, new) > 0 <= grown


def test_a_new_shape_is_that_of_the_same_process(monkeypatch):
    numbers = iter(range(100))

    def run(function, layers, mode, name):
        assert (function, mode, name) == (first_steps.first_steps, "graph", "mlp")
        assert importlib.import_module(layers) in SPACES
        number = next(numbers)
        return number, 10 + number, 1000

    monkeypatch.setattr(first_steps, "in_new_process", run)
    case = first_steps.every_first()[0]
    ours, theirs = (case.timers({}, space, "graph") for space in SPACES)
    assert case.times(ours["first"], theirs["first"], 2) == [(1, 0), (2, 3)]
    assert case.times(ours["new shape"], theirs["new shape"], 2) == [(11, 10), (12, 13)]
    assert case.kept({}, custom_layers) == 1000


def test_trainings_see_the_same_arrays():
    case = trainings.every_training()[0]
    assert case.name == "convnet"
    data = case.data()
    assert data["x"].shape == (1280, 28, 28, 1)
    assert data["y"].shape == (1280,)
    assert data["batch"] == 64
    few = {name: part[:64] if part.ndim else part for name, part in data.items()}
    ours = case.timers(few, custom_layers, "graph")
    assert list(ours) == ["epoch", "epoch beside torch.compile"]
    assert ours["epoch"]() > 0


def test_the_graphs_have_the_sizes_of_their_names():
    cora = graphs.citations()
    assert cora["ids"].shape == cora["weights"].shape == (2708, 18)
    assert cora["edges"].shape == (10556, 2)
    assert all(len(set(row)) == 18 for row in cora["ids"][:50].tolist())
    assert cora["ids"].max() < 1433
    enzymes = graphs.many_graphs(600, 33, 124, 3, 6)
    assert len(enzymes["node_counts"]) == 600
    assert enzymes["node_counts"].sum() == len(enzymes["nodes"])
    assert enzymes["edge_counts"].sum() == len(enzymes["edges"])
    assert enzymes["node_counts"].mean() == pytest.approx(33, rel=0.05)
    assert enzymes["edge_counts"].mean() == pytest.approx(124, rel=0.05)
    ends = np.repeat(enzymes["node_counts"], enzymes["edge_counts"])
    assert (enzymes["edges"] < ends[:, None]).all()


SMALL = {
    "GCN": lambda: graphs.citations(30, 40, 50, 4, 3),
    "GAT": lambda: graphs.citations(30, 40, 50, 4, 3),
    "GraphConv": lambda: graphs.big_graph(20, 60, 8),
    "GATConv": lambda: graphs.big_graph(20, 60, 8),
    "GIN": lambda: graphs.many_graphs(40, 5, 8, 3, 2),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long) if n == "GIN" else n for n in SMALL]
)
def test_graphs_run(name):
    mode = "xla" if name.endswith("Conv") else "graph"
    found = next(c for c in graphs.every_graph_case() if c.name == name)
    timers = found.timers(SMALL[name](), custom_layers, mode)
    assert list(timers) in (["forward", "step"], ["10 steps"], ["10 epochs"])
    for timer in timers.values():
        (function,) = timer.args
        for part in tf.nest.flatten(function()):
            assert np.isfinite(np.asarray(getattr(part, "values", part))).all()


# The other process

RIVAL = """
import sys

def prepare(name, size, arrays):
    return {} if name == "ReLU" else {"sum": lambda: print(arrays["x"].sum(), file=sys.stderr)}

def versions():
    return {"rival": "1.0"}
"""


def test_worker(tmp_path, monkeypatch, capfd):
    """`loop.py` with a rival that needs no PyTorch."""
    (tmp_path / "a_rival.py").write_text(RIVAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = Worker(sys.executable, "a_rival")
    data = {"x": np.arange(4)}
    assert worker.ask(versions=True) == {"rival": "1.0"}
    assert worker.timers(Case("ReLU", "4", None), data) == {}
    timers = worker.timers(Case("Dense", "4", None), data)
    assert list(timers) == ["sum"]
    assert 0 < timers["sum"]() < 1
    assert capfd.readouterr().err == "6\n"
    with pytest.raises(SystemExit, match="PyTorch process ended"):
        worker.ask(time="nothing")
    assert "KeyError" in capfd.readouterr().err
    worker.close()


# Tables and files


def test_row():
    r = row("Dense", "2x3", "graph", "Keras", "step", PAIRS, 0.0005, (2048, 4096))
    assert r["ours_ms"] == 1
    assert r["other_ms"] == 3
    assert (r["ratio_q1"], r["ratio"], r["ratio_q3"]) == (1.75, 2, 3)
    assert (r["floor_ms"], r["ours_kept_kb"], r["other_kept_kb"], r["pairs"]) == (0.5, 2, 4, 3)
    assert quantile([1, 2, 3], 0.5) == 2


def test_show_and_geometric_mean(capsys):
    rows = [row(n, "2", "graph", "Keras", "fit", [(1, r)]) for n, r in (("a", 0.5), ("b", 8))]
    assert results.show(iter(rows)) == rows
    assert capsys.readouterr().out.splitlines()[-1] == "fit: geometric mean 2.00, least 0.50"


def test_csv_tells_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--torch-python", "/home/me/python", "--csv"])
    rows = [row("Dense", "2x3 -> 4", "graph", "PyTorch", "step", PAIRS)]
    write_csv(tmp_path / "a.csv", rows, {"torch": "2.0"})
    again, comments = read_csv(tmp_path / "a.csv")
    assert again == [{k: str(v) for k, v in rows[0].items()}]
    assert f"{len(os.sched_getaffinity(0))} cores" in comments[0]
    assert comments[1] == f"tensorflow {tf.__version__}, keras {keras.__version__}, torch 2.0"
    assert comments[2] == "python -m scripts.benchmark --torch-python PYTHON --csv"
    assert command(["--torch-python"]) == "--torch-python"


@pytest.fixture
def results_folder(tmp_path, monkeypatch):
    """A README and a folder of CSVs that are not the project's."""
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "README", tmp_path / "README.md")
    monkeypatch.setattr(sys, "argv", ["benchmark"])
    (tmp_path / "README.md").write_text(f"before\n{results.BEGIN}old\n{results.END}after\n")
    for subject, against in (("keras", "Keras"), ("pyg1", "PyG")):
        rows = [
            row(name, "2", "graph", against, "step", [(1e-3, 1e-3 * ratio)])
            for name, ratio in (("Dense", 0.5), ("LSTM", 8))
        ]
        write_csv(results.results_path(subject, "graph"), rows)
    return tmp_path


def test_tables_of_readme(results_folder):
    for _ in range(2):
        benchmark.main(["--markdown"])
        text = (results_folder / "README.md").read_text()
        assert text.startswith("before\n<!-- speed")
        assert text.endswith("<!-- end of speed -->\nafter\n")
        assert "old" not in text
        assert (
            text.count("| layers, Keras | graph | step | 2 | 2.00 | 0.50 (`Dense`) | 8.00 |") == 1
        )
        assert text.count("| LSTM, 2 | PyG | graph | step | 1 | 8 | 8.00 |") == 1
        assert text.count("python -m scripts.benchmark") == 2


def test_readme_has_the_marks():
    text = results.README.read_text(encoding="utf-8")
    assert text.index(results.BEGIN) < text.index(results.END)


def test_without_csvs_readme_stays(results_folder):
    for path in results_folder.glob("*.csv"):
        path.unlink()
    with pytest.raises(SystemExit, match="no CSV"):
        results.write_readme()
    assert "old" in (results_folder / "README.md").read_text()


def test_markdown_of_the_committed_results():
    paths = sorted(results.RESULTS.glob("benchmark-*.csv"))
    assert tables(paths).count("\n") > len(paths)


# The commands


@pytest.mark.parametrize("mode", ["graph", "xla", "eager"])
def test_layers(mode, results_folder, capsys):
    arguments = ["Dense", "--mode", mode, "--pairs", "3", "--csv"]
    benchmark.main(arguments)
    assert "Dense" in capsys.readouterr().out
    rows, _ = read_csv(results.results_path("keras", mode))
    assert [r["pass"] for r in rows] == ["forward", "step"]
    kept = {r["ours_kept_kb"] for r in rows}
    assert kept == ({"", "512"} if mode == "graph" else {""})
    assert {r["size"] for r in rows} == {"2x5x4" if mode == "eager" else "256x512 -> 512"}


def test_words_and_options_in_any_order():
    arguments = benchmark.parse(["models", "--mode", "xla", "mlp", "--pairs", "5", "gan"])
    assert (arguments.subject, arguments.name) == ("models", ["mlp", "gan"])
    assert [c.name for c in benchmark.chosen(arguments)] == ["mlp", "gan"]
    small = benchmark.chosen(benchmark.parse([]))
    every = benchmark.chosen(benchmark.parse(["--sizes", "all"]))
    assert 0 < len(small) < len(every) == len(every_case())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("LSTMM", "unknown name LSTMM; known: AveragePooling2D"),
        ("models Dense", "unknown name Dense; known: autoencoder"),
        ("lengths LSTM", "unknown name LSTM; known: none"),
        ("--pairs 0", "--pairs: expected a whole number of at least 1, received '0'"),
        ("--threads 9999", "--threads 9999: there are"),
        ("--mode fast", "--mode: invalid choice: 'fast'"),
        ("--against pyg", "--against pyg needs --torch-python"),
        ("--against torch --torch-python /nowhere", "--torch-python /nowhere is not a program"),
        ("models --against torch", "--against torch needs --torch-python"),
        ("models --against pyg", "models are measured against keras, not pyg"),
        ("lengths --against torch", "lengths are measured against keras, not torch"),
        ("lengths --mode eager", "lengths are measured with --mode graph or xla, not eager"),
        ("--nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_mistakes(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        benchmark.main(arguments.split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_scaling(results_folder, tmp_path, capsys):
    picture = tmp_path / "scaling.png"
    most = ["--most", "1000", "--pairs", "3", "--output", str(picture)]
    scaling.main(["edges", *most])
    assert imread(picture)[..., :3].std() > 0.05
    rows, _ = read_csv(next(results_folder.glob("scaling-keras-graph-*.csv")))
    assert [(r["panel"], r["size"]) for r in rows] == [("edges", "1000")]


def test_sides_of_a_scaling_are_the_same():
    ours, theirs = scaling.graph_sides(200)[0]
    for layer, x in (ours, theirs):
        layer(x)
    theirs[0].dense.set_weights(ours[0].get_weights())
    assert_near("y", theirs[0](theirs[1]), ours[0](ours[1]), 1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("heights", "unknown panel heights; known: steps, batch, width, edges"),
        ("edges --mode xla", "XLA has no sparse product"),
        ("steps --most 3", "--most 3 leaves no size"),
    ],
)
def test_mistakes_of_scaling(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        scaling.main(arguments.split())
    assert message in capsys.readouterr().err


# What makes inference fast


@contextlib.contextmanager
def optimized_graphs():
    """The graphs that TensorFlow makes of functions traced inside, after its optimizer."""
    graphs = []
    context.context().enable_graph_collection()
    try:
        yield graphs
        collected = context.context().export_run_metadata().function_graphs
        graphs += [g.post_optimization_graph for g in collected]
    finally:
        context.context().disable_graph_collection()


@pytest.mark.parametrize("inside", [True, False], ids=["activation", "layer"])
def test_convolution_bias_and_relu_are_one_kernel(inside):
    """Neither the custom gradient nor how the bias is added keeps the optimizer from fusing."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("fused by other kernels there")
    convolution = custom_layers.Conv2D(8, 3, activation="relu" if inside else None)
    layers = [convolution] if inside else [convolution, custom_layers.ReLU()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    predict = tf.function(lambda x: model(x, training=False))
    with optimized_graphs() as graphs:
        predict(tf.ones((2, 8, 8, 3)))
    nodes = [node for graph in graphs for node in graph.node]
    fused = [node for node in nodes if node.op == "_FusedConv2D"]
    assert [list(node.attr["fused_ops"].list.s) for node in fused] == [[b"BiasAdd", b"Relu"]]
    assert not {"Conv2D", "BiasAdd", "Relu"} & {node.op for node in nodes}
