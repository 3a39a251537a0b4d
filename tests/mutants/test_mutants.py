"""The runner of mutants tells the killed from the others, and its tables fit today's files."""

import subprocess
import sys

import pytest

from tests.mutants import run

MUTANTS = run.load()


# The tables.


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_occurs_once(mutant):
    mutant.planted((run.ROOT / "custom_layers" / mutant.file).read_text(encoding="utf-8"))
    assert mutant.text != mutant.becomes
    assert mutant.files, "no test must notice"
    for file in mutant.files:
        assert (run.ROOT / file.partition("::")[0]).is_file(), file


def test_no_name_is_unknown(tmp_path):
    """A mutant that ends with a NameError would be killed by any test at all."""
    for mutant in MUTANTS:
        source = (run.ROOT / "custom_layers" / mutant.file).read_text(encoding="utf-8")
        (tmp_path / f"{mutant.name}.py").write_text(mutant.planted(source), encoding="utf-8")
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E9,F821", tmp_path]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_there_are_enough():
    assert len(MUTANTS) >= 150
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


# The runner, on a tree of one file.

THING = """
import os
import time

def double(x):
    return 2 * x

def triple(x):
    return 3 * x
"""
TABLE = """
[[thing]]
broken = "doubles the wrong way"
text = '2 * x'
becomes = 'x ** 2'

[[thing]]
broken = "triples the wrong way"
text = '3 * x'
becomes = 'x ** 3'

[[thing]]
broken = "ends its process"
text = '2 * x'
becomes = 'os.abort()'

[[thing]]
broken = "is no Python"
text = 'import os'
becomes = 'import'

[[thing]]
broken = "never ends"
text = '2 * x'
becomes = 'time.sleep(1000)'

[[thing]]
broken = "adds before it multiplies"
text = '3 * x'
becomes = 'x + x + x'
equivalent = "it is the same number"
"""
TEST = """
import pathlib
from custom_layers.room.thing import double

def test_double():
    assert double(3) == 6
    assert str(pathlib.Path.cwd()) in double.__code__.co_filename, "not the copy"
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A library of one file with its test and its table."""
    for name, text in {
        "custom_layers/__init__.py": "",
        "custom_layers/room/thing.py": THING,
        "tests/layers/room/test_thing.py": TEST,
        "room.toml": TABLE,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "allowed", lambda seconds: 5 + seconds)
    return tmp_path


def test_verdicts(tree, capsys):
    before = (tree / "custom_layers/room/thing.py").read_text()
    status = run.main([], tree, tree)
    assert (tree / "custom_layers/room/thing.py").read_text() == before
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| thing-")]
    assert [row[2] for row in rows] == [
        "killed",
        "survived",
        "killed",
        "no verdict",
        "out of time",
        "survived",
    ]
    assert rows[0][3].startswith("tests/layers/room/test_thing.py::test_double")
    assert "signal 6" in rows[2][3]
    assert lines[-5:] == [
        "2 of 5 mutants killed: 40.0 %",
        "thing-2 survived: triples the wrong way ",
        f"thing-4 no verdict: is no Python {rows[3][3].removesuffix(' |')}",
        f"thing-5 out of time: never ends {rows[4][3].removesuffix(' |')}",
        "thing-6 survived, equivalent: it is the same number",
    ]
    assert status == 1


def test_some(tree, capsys):
    assert run.main(["thing-1"], tree, tree) == 0
    assert capsys.readouterr().out.endswith("1 of 1 mutants killed: 100.0 %\n")
    assert len(run.chosen(run.load(tree), ["room"])) == 6
    with pytest.raises(SystemExit, match="there are none of thong"):
        run.main(["thing", "thong"], tree, tree)


def test_a_text_that_no_longer_occurs(tree):
    path = tree / "custom_layers/room/thing.py"
    path.write_text(THING.replace("2 * x", "x * 2"))
    with pytest.raises(ValueError, match=r"thing-1: its text occurs 0 times in room/thing\.py"):
        run.main([], tree, tree)


def test_tests_that_fail_without_a_mutant(tree, capsys):
    path = tree / "tests/layers/room/test_thing.py"
    path.write_text(TEST.replace("== 6", "== 7"))
    assert run.main(["thing-1"], tree, tree) == 1
    assert "thing-1 no verdict: doubles the wrong way tests" in capsys.readouterr().out
