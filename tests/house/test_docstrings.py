"""What an editor and a documentation tool see, which read the files and do not run them."""

import ast
import pathlib

LIBRARY = pathlib.Path(__file__).parents[2] / "custom_layers"
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in LIBRARY.rglob("*.py")}


def exported():
    """{name: module} of what `custom_layers/__init__.py` imports from its layer files."""
    for node in ast.walk(TREES[LIBRARY / "__init__.py"]):
        if isinstance(node, ast.ImportFrom) and node.module.count(".") > 1:
            for alias in node.names:
                yield alias.name, node.module


def test_each_exported_name_has_a_literal_docstring():
    names = dict(exported())
    assert len(names) > 50
    for name, module in names.items():
        path = LIBRARY.parent.joinpath(*module.split(".")).with_suffix(".py")
        found = [n for n in TREES[path].body if isinstance(n, ast.ClassDef) and n.name == name]
        assert len(found) == 1, f"{module} has no class {name}"
        assert ast.get_docstring(found[0]), f"{name} has no docstring that is written out"


def test_each_backward_has_a_line():
    lacking = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_backward")
        if not ast.get_docstring(node)
    }
    assert not lacking


def test_types_are_in_the_wheel():
    assert (LIBRARY / "py.typed").exists()
    assert 'custom_layers = ["py.typed"]' in (LIBRARY.parent / "pyproject.toml").read_text()
