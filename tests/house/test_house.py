"""The rules of the house, read off the source files."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "custom_layers").rglob("*.py"))
SOURCES = sorted(
    path
    for folder in ("custom_layers", "models", "scripts")
    for path in (ROOT / folder).rglob("*.py")
)
CEILING = 400  # lines of code for one concept; 250 are typical
FILES_IN_A_FOLDER = 24

# The floor of each module of the library, by its path below custom_layers. Layer files are on 2.
FLOORS = {
    **dict.fromkeys(["_version", "base", "gradients", "private_apis"], 0),
    **dict.fromkeys(["convolutional.windows", "convolutional.correlation"], 1),
    **dict.fromkeys(["recurrent.recurrence", "recurrent.cudnn", "recurrent.rnn"], 1),
    **dict.fromkeys(["normalization.channels"], 1),
    **dict.fromkeys(["attention.einsum_dense"], 1),
    **dict.fromkeys(["graph.segments", "graph.graph_layer"], 1),
    **dict.fromkeys(["checks", "convert", "graphs", "pickling", "graph.preparation"], 3),
}


def module_of(path):
    """The dotted name of a source file: `custom_layers.core.dense`, or `custom_layers.core`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imports(path):
    """(module, names) of each import, with `from package import module` told as that module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            modules = [n.name for n in node.names if f"{node.module}.{n.name}" in MODULES]
            for name in modules:
                yield f"{node.module}.{name}", []
            names = [n.name for n in node.names if n.name not in modules]
            if names:
                yield node.module, names


def floor_of(module):
    """The floor of `custom_layers.<...>`; of a package, that of its highest name, 2 or more."""
    name = module.partition(".")[2]
    while name and name not in FLOORS:
        name = name.rpartition(".")[0]
    return FLOORS.get(name, 2)


def wrong_imports(path, module):
    """What a file of the library imports that it may not, in words."""
    floor, room = floor_of(module), module.rpartition(".")[0]
    for other, names in imports(path):
        top = other.partition(".")[0]
        if top in {"models", "scripts", "tests"}:
            yield f"{module} imports {other}"
        if top != "custom_layers" or floor == 3:
            continue
        if other not in MODULES or other == "custom_layers":
            yield f"{module} imports {other}, which is no file of the library below it"
        elif floor_of(other) > floor:
            yield f"{module} (floor {floor}) imports {other} (floor {floor_of(other)})"
        elif floor_of(other) == 2 or (floor_of(other) == 1 and other.rpartition(".")[0] != room):
            classes = [n for n in names if n[:1].isupper() and not n.isupper()]
            if classes:
                yield f"{module} imports the classes {classes} of {other}"


@pytest.mark.parametrize("path", LIBRARY, ids=module_of)
def test_imports_only_look_down(path):
    if path.name != "__init__.py":
        assert not list(wrong_imports(path, module_of(path)))


def test_both_forms_of_import_are_seen(tmp_path):
    """A test of the test: each of these was once passed over."""
    for text, said in {
        "from custom_layers.convolutional import conv": None,
        "from custom_layers import convert": "imports custom_layers.convert (floor 3)",
        "import custom_layers.convert": "imports custom_layers.convert (floor 3)",
        "from custom_layers import Dense": "imports custom_layers, which is no file",
        "from custom_layers.core.dense import Dense, affine": "imports the classes ['Dense']",
        "from scripts import train": "imports scripts.train",
    }.items():
        path = tmp_path / "file.py"
        path.write_text(text)
        found = " ".join(wrong_imports(path, "custom_layers.pooling.pooling"))
        assert (said in found) if said else not found, text


def test_no_circles():
    graph = {m: {o for o, _ in imports(p) if o in MODULES and o != m} for m, p in MODULES.items()}
    done = set()

    def visit(module, above):
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for other in graph[module]:
                visit(other, [*above, module])
            done.add(module)

    for module in graph:
        if module != "custom_layers":
            visit(module, [])


@pytest.mark.parametrize("folder", ["models", "scripts"])
def test_models_and_scripts_look_down(folder):
    above = {"models": {"scripts", "tests"}, "scripts": {"tests"}}[folder]
    for path in (ROOT / folder).rglob("*.py"):
        for module, _ in imports(path):
            assert module.partition(".")[0] not in above, f"{path} imports {module}"


@pytest.mark.parametrize("path", LIBRARY, ids=module_of)
def test_each_file_has_its_test(path):
    if path.name.startswith("_") or path.name == "graphs.py":  # it only passes names on
        return
    folder = path.parent.relative_to(ROOT / "custom_layers")
    assert (ROOT / "tests" / "layers" / folder / f"test_{path.name}").exists()


def lines_of_code(path):
    """Lines that are neither blank nor part of a docstring or of a constructor's signature."""
    text = path.read_text(encoding="utf-8")
    left_out = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                left_out |= set(range(value.lineno, value.end_lineno + 1))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            left_out |= set(range(node.lineno, node.body[0].lineno))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for number, line in lines if line.strip() and number not in left_out)


def test_files_read_in_one_sitting():
    long = {str(path): lines_of_code(path) for path in SOURCES if lines_of_code(path) > CEILING}
    assert not long, f"{CEILING} lines of code are the ceiling"


def test_folders_show_what_is_in_them():
    for folder in {path.parent for path in SOURCES} - {ROOT / "scripts" / "data" / "builders"}:
        files = list(folder.glob("*.py"))
        assert len(files) <= FILES_IN_A_FOLDER, f"{folder} has {len(files)} files"


def test_no_drawers():
    names = {path.stem for path in SOURCES}
    assert not names & {"utils", "common", "core", "helpers", "datasets"}
