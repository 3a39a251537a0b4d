"""Every command that the pages and the Makefile name runs, at toy size.

The texts are read for commands. Each one that is found must be below: in HERE with the arguments
that make it small, or in ELSEWHERE with the test that runs it.
"""

import contextlib
import importlib
import os
import pathlib
import re
import shlex
import subprocess

import pytest

from scripts.benchmark import results

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m ((?:scripts|custom_layers)[\w.]*(?: +[^\s`|#]+)*)")

HERE = {
    "scripts.benchmark --help": "",
    "scripts.benchmark --csv models": "mlp --pairs 1",
    "scripts.benchmark --csv models --mode xla": "mlp --pairs 1",
    "scripts.benchmark --csv lengths": "--pairs 1",
    "scripts.benchmark --csv first": "mlp --pairs 1",
    "scripts.export_table --csv": "--only mlp --formats ONNX --pairs 1",
    "scripts.export_table": "--only mlp --formats ONNX --pairs 1",
    "scripts.benchmark --csv --torch-python PYTHON --against torch": "ReLU --pairs 1",
    "scripts.benchmark --csv --torch-python PYTHON --against torch models": "convnet --pairs 1",
    "scripts.benchmark --csv --torch-python PYTHON --against pyg --mode xla --sizes all "
    "GraphConv GATConv GIN": "--pairs 1",
    "scripts.benchmark --csv --torch-python PYTHON --against pyg --mode xla --threads 1 GCN GAT": (
        "--pairs 1"
    ),
    "scripts.benchmark --csv --mode xla --torch-python PYTHON --against pyg --threads 1 GCN GAT": (
        "--pairs 1"
    ),
}
# Half a minute or more, or a Python with PyTorch.
LONG = ("lengths", "first", "PYTHON", "models --mode xla")

BENCHMARK = "test_benchmark.py::test_layers"
TRAIN = "test_scripts.py::test_a_run_is_whole"
WORKERS = "test_distributed.py::test_two_workers_are_one_process"
ELSEWHERE = {
    "scripts.train --list": "test_recipes.py::test_the_table_is_as_wide_as_the_terminal",
    "scripts.train digits-convnet": TRAIN,
    "scripts.evaluate runs/digits-convnet/0": (
        "test_scripts.py::test_evaluate_measures_what_training_wrote"
    ),
    "scripts.export runs/digits-convnet/0 --format onnx": "test_export.py::test_export_of_a_run",
    "scripts.train RECIPE": TRAIN,
    "scripts.train digits-mlp": TRAIN,
    "scripts.train digits-convnet --overwrite": "test_scripts.py::test_overwrite",
    "scripts.every_recipe": "test_sequence_scripts.py::test_every_recipe",
    "scripts.train digits-mlp --strategy mirrored": WORKERS,  # its reference
    "scripts.train digits-mlp --strategy multiworker": WORKERS,  # what scripts.launch starts
    "scripts.train digits-mlp --strategy multiworker --output runs/two": WORKERS,
    "scripts.train digits-mlp --strategy multiworker --resume runs/two": (
        "test_distributed.py::test_a_worker_is_killed_and_its_disk_is_gone"
    ),
    "scripts.launch RECIPE --workers 2": WORKERS,
    "scripts.launch digits-mlp --workers 2": WORKERS,
    "scripts.ray_train digits-mlp --workers 2": "test_ray.py::test_a_worker_is_killed",
    "scripts.ray_train digits-mlp --workers 2 --output runs/ray": (
        "test_ray.py::test_a_worker_is_killed"
    ),
    "scripts.studies.seeds RECIPE... --seeds 3": "test_seeds.py::test_a_real_run",
    "scripts.studies.seeds cora-gcn --layers custom --seeds 20 --download-dir DOWNLOADS": (
        "test_seeds.py::test_cora"
    ),
    "scripts.studies.folds tu/mutag --download-dir DOWNLOADS": "test_graph_data.py::test_folds",
    "scripts.studies.memory": "test_memory.py::test_each_layer_trains",
    "scripts.studies.exports": "test_export.py::test_others_answer_alike_without_this_package",
    **dict.fromkeys(
        [
            "scripts.train digits-convnet --data folder:photos --image-size 24 32 "
            "--output runs/photos",
            "scripts.train wine-mlp --data csv:flowers.csv --label species --output runs/flowers",
            "scripts.train docstrings-convnet --data texts:moods.csv --label mood "
            "--output runs/moods",
            "scripts.train temperatures-gru --data series:sold.csv --output runs/sold",
            "scripts.train atlas-gin --data graphs:graphs.jsonl --output runs/graphs",
            "scripts.predict runs/photos photos/flower/000.png photos/temple/001.png",
            "scripts.predict runs/flowers flowers.csv --output answers.csv",
            "scripts.predict runs/sold sold.csv",
            "scripts.predict runs/graphs graphs.jsonl",
            "scripts.export runs/photos --format onnx",
        ],
        "data/test_own.py::test_from_files_to_answers",
    ),
    **dict.fromkeys(
        [
            "scripts.predict runs/moods -",
            "scripts.evaluate runs/photos --data folder:more-photos",
        ],
        "data/test_own.py::test_other_files_and_standard_input",
    ),
    "scripts.benchmark --csv --mode eager": BENCHMARK,
    "scripts.benchmark --csv --sizes all": BENCHMARK,
    "scripts.benchmark --csv --mode xla --sizes all": BENCHMARK,
    "scripts.benchmark --markdown": "test_benchmark.py::test_tables_of_readme",
    "scripts.benchmark.scaling": "test_benchmark.py::test_scaling",
    "custom_layers.checks my_layers:GatedDense --input 4,5 --args '{\"units\": 3}'": (
        "test_main.py::test_as_a_command"
    ),
}


def make(*arguments):
    """What make would run."""
    return subprocess.run(
        ["make", "--dry-run", *arguments, "TORCH_PYTHON=PYTHON"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def targets():
    line = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    return line[1].split()


def named():
    """The commands in the pages and the Makefile."""
    texts = [path.read_text(encoding="utf-8") for path in PAGES] + [make(*targets())]
    return {" ".join(found.split()) for text in texts for found in COMMAND.findall(text)}


def test_commands_are_found():
    """A test of the test: in each form that the texts have."""
    text = (
        "`python -m scripts.a b --c`, .venv/bin/python -m scripts.d  # e\n| `python -m scripts` |"
    )
    assert COMMAND.findall(text) == ["scripts.a b --c", "scripts.d", "scripts"]


def test_every_command_runs_in_a_test():
    assert named() == HERE.keys() | ELSEWHERE.keys()


def test_the_other_tests_are_there():
    for place in ELSEWHERE.values():
        file, _, name = place.partition("::")
        (path,) = (ROOT / "tests").rglob(file)
        assert f"def {name}(" in path.read_text(encoding="utf-8"), place


def test_the_pages_name_targets_of_make():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.M)) <= set(targets())


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command of HERE in an empty folder, its CSVs included."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    processors = os.sched_getaffinity(0)

    def run(command):
        name, *words = shlex.split(f"{command} {HERE[command]}")
        package = ROOT.joinpath(*name.split(".")).is_dir()
        module = importlib.import_module(f"{name}.__main__" if package else name)
        monkeypatch.setattr("sys.argv", [name, *words])
        module.main([os.environ["TORCH_PYTHON"] if word == "PYTHON" else word for word in words])

    yield run
    os.sched_setaffinity(0, processors)  # --threads


def with_marks(command):
    marks = [pytest.mark.long] if any(word in command for word in LONG) else []
    if "PYTHON" in command:
        missing = "TORCH_PYTHON" not in os.environ
        marks.append(pytest.mark.skipif(missing, reason="TORCH_PYTHON has no PyTorch"))
    return pytest.param(command, marks=marks)


@pytest.mark.parametrize("command", [with_marks(command) for command in HERE])
def test_command(command, run, capsys):
    help = pytest.raises(SystemExit, match="0") if "--help" in command else contextlib.nullcontext()
    with help:
        run(command)
    assert capsys.readouterr().out


def commands():
    """The modules of scripts/ that can be run, but for one that is run as a file."""
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if 'if __name__ == "__main__"' in text and "command_line" in text:
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("module", list(commands()))
def test_help_tells_what_each_option_is_and_its_default(module, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(module).main(["--help"])
    text = capsys.readouterr().out.partition("options:")[2]
    options = re.split(r"\n  (?=-)", text)[1:]
    assert len(options) > 1
    for option in options:
        flag, _, about = option.strip().partition("  ")
        words = " ".join(about.split()) or " ".join(option.split("\n")[1:])
        if not flag.startswith("-h"):
            assert re.search(r"\w.*\(default: .+\)", words.strip()), option
