"""The table of seeds: each run is one line, none is repeated, and figures are summed up."""

import os
import pathlib

import pytest

from scripts.recipes import RECIPES
from scripts.studies import seeds
from scripts.training.command_line import InputError


@pytest.fixture
def trained(monkeypatch):
    """Let each training end at once; returns what was asked for."""
    asked = []

    def train(name, folder, arguments):
        asked.append((name, arguments))
        layers, seed = arguments[1], int(arguments[3])
        figure = RECIPES[name].figure
        value = 0.5 + 0.1 * seed + (layers == "keras")
        return {"test": {figure: value}, "baseline": {figure: 0.25}, "seconds": 1.5}

    monkeypatch.setattr(seeds, "trained_in_a_process", train)
    return asked


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_twins_are_trained_alike_and_summed_up(trained, tmp_path, capsys):
    path = tmp_path / "new" / "seeds.csv"
    seeds.main(["wine-mlp", "--seeds", "3", "--table", str(path), "--data-dir", "D"])
    assert lines(path)[0] == "recipe,epochs,layers,seed,figure,value,baseline"
    assert lines(path)[1:3] == [
        "wine-mlp,60,custom,0,accuracy,0.5,0.25",
        "wine-mlp,60,keras,0,accuracy,1.5,0.25",
    ]
    for layers in ("custom", "keras"):
        given = [arguments for _, arguments in trained if arguments[1] == layers]
        assert [arguments[3] for arguments in given] == ["0", "1", "2"]
        assert all(arguments[4:] == ["--epochs", "60", "--data-dir", "D"] for arguments in given)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "| `wine-mlp` | 60 | accuracy | 0.6 ± 0.1 (3 seeds) | 1.6 ± 0.1 (3 seeds) | 0.25 |"
    )


def test_what_the_table_holds_is_not_repeated(trained, tmp_path, capsys):
    arguments = ["wine-mlp", "--table", str(tmp_path / "seeds.csv"), "--seeds"]
    seeds.main([*arguments, "1"])
    assert capsys.readouterr().out.endswith("| 0.5 | 1.5 | 0.25 |\n"), "one seed has no deviation"
    seeds.main([*arguments, "2"])
    assert [a[3] for _, a in trained] == ["0", "0", "1", "1"]
    assert len(lines(tmp_path / "seeds.csv")) == 5


def test_shorter_runs_are_other_runs(trained, tmp_path, capsys):
    arguments = ["wine-mlp", "--table", str(tmp_path / "seeds.csv"), "--seeds", "1"]
    seeds.main(arguments)
    seeds.main([*arguments, "--epochs", "2"])
    assert len(trained) == 4
    table = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split(" | ")[1] for row in table] == ["60", "2"]


def test_a_run_that_fails_ends_the_command_and_loses_nothing(
    trained, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "seeds.csv"
    pretended = seeds.trained_in_a_process

    def train(name, folder, arguments):
        if len(trained) == 1:
            raise InputError("wine-mlp: the disk is full")
        return pretended(name, folder, arguments)

    monkeypatch.setattr(seeds, "trained_in_a_process", train)
    with pytest.raises(SystemExit, match="2"):
        seeds.main(["wine-mlp", "--table", str(path)])
    assert "error: wine-mlp: the disk is full" in capsys.readouterr().err
    assert len(lines(path)) == 2


def test_one_kind_of_layers(trained, tmp_path, capsys):
    arguments = ["wine-mlp", "--table", str(tmp_path / "seeds.csv"), "--seeds", "2"]
    seeds.main([*arguments, "--layers", "custom"])
    assert [arguments[1] for _, arguments in trained] == ["custom", "custom"]
    assert capsys.readouterr().out.endswith("| 0.55 ± 0.071 (2 seeds) |  | 0.25 |\n")


def test_another_file_is_left_alone(trained, tmp_path, capsys):
    path = tmp_path / "seeds.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        seeds.main(["wine-mlp", "--table", str(path)])
    assert "is not a table of seeds" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_a_real_run(tmp_path, capsys):
    """One process with each kind of layers."""
    table = str(tmp_path / "seeds.csv")
    given = ["--seeds", "1", "--epochs", "1", "--table", table, "--data-dir", str(tmp_path)]
    seeds.main(["wine-mlp", *given])
    rows = seeds.read(tmp_path / "seeds.csv")
    assert [row["layers"] for row in rows] == ["custom", "keras"]
    assert all(0 <= float(row["value"]) <= 1 for row in rows)


@pytest.mark.long
@pytest.mark.skipif("CUSTOM_LAYERS_DATA" not in os.environ, reason="CUSTOM_LAYERS_DATA is not set")
def test_cora(tmp_path):
    """The paper of GCN has 0.815."""
    data = pathlib.Path(os.environ["CUSTOM_LAYERS_DATA"])
    raw = (data / "raw" if (data / "raw").is_dir() else data) / "planetoid"
    given = ["--seeds", "1", "--layers", "custom", "--table", str(tmp_path / "seeds.csv")]
    given += ["--data-dir", str(tmp_path), "--download-dir", str(raw)]
    seeds.main(["cora-gcn", *given])
    [row] = seeds.read(tmp_path / "seeds.csv")
    assert float(row["value"]) > 0.79
