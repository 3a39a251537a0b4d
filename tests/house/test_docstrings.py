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


def constructor(name, classes):
    """The `__init__` of a class, its own or that of a base in the same file; None if elsewhere."""
    if name not in classes:
        return None
    own = [n for n in classes[name].body if getattr(n, "name", None) == "__init__"]
    bases = (constructor(getattr(base, "id", None), classes) for base in classes[name].bases)
    return own[0] if own else next(filter(None, bases), None)


def test_each_argument_of_a_public_constructor_has_a_type():
    lacking = {}
    for name, module in exported():
        tree = TREES[LIBRARY.parent.joinpath(*module.split(".")).with_suffix(".py")]
        classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
        function = constructor(name, classes)
        arguments = function.args.args[1:] + function.args.kwonlyargs if function else []
        if untyped := [a.arg for a in arguments if a.annotation is None]:
            lacking[name] = untyped
    assert not lacking


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
