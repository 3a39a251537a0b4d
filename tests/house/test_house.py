"""The rules of the house, read off the source files."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "custom_layers").rglob("*.py"))
FLOORS = {
    **dict.fromkeys(["base", "gradients", "_version"], 0),
    **dict.fromkeys(["windows", "segments", "recurrence", "over_time", "recurrent_cell", "rnn"], 1),
    # every layer file is on floor 2
    **dict.fromkeys(["checks", "convert", "graphs", "preparation"], 3),
}


def imports(path):
    """(module, names) of each import in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.module, [alias.name for alias in node.names]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.name)
def test_imports_only_look_down(path):
    if path.stem == "__init__":
        return
    floor = FLOORS.get(path.stem, 2)
    for module, names in imports(path):
        top, name = module.partition(".")[0], module.rpartition(".")[2]
        assert top not in {"models", "scripts", "tests"}, f"{path.name} imports {module}"
        if top == "custom_layers" and name != top:
            other = FLOORS.get(name, 2)
            assert other <= floor, f"{path.name} (floor {floor}) imports {name} (floor {other})"
            if other == floor == 2:
                shared = [n for n in names if not n.islower() and not n.startswith("_")]
                assert not shared, f"{path.name} imports classes {shared} of {name}"


@pytest.mark.parametrize("folder", ["models", "scripts"])
def test_models_and_scripts_look_down(folder):
    above = {"models": {"scripts", "tests"}, "scripts": {"tests"}}[folder]
    for path in (ROOT / folder).rglob("*.py"):
        for module, _ in imports(path):
            assert module.partition(".")[0] not in above, f"{path} imports {module}"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.name)
def test_each_file_has_its_test(path):
    if not path.stem.startswith("_"):
        folder = path.parent.relative_to(ROOT / "custom_layers")
        assert (ROOT / "tests" / "layers" / folder / f"test_{path.name}").exists()


def test_files_read_in_one_sitting():
    for folder in ("custom_layers", "models", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 250, f"{path} has {lines} lines, 250 is the ceiling"


def test_no_drawers():
    for folder in ("custom_layers", "models", "scripts"):
        names = {path.stem for path in (ROOT / folder).rglob("*.py")}
        assert not names & {"utils", "common", "core", "helpers", "datasets"}
