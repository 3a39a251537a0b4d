"""Runs on texts: what they leave, what writes and translates with them, which recipes are good."""

import dataclasses
import json
import subprocess
import types

import numpy as np
import pytest

from scripts import every_recipe, sample, train, translate
from scripts.recipes import RECIPES
from scripts.recipes.texts import characters, language, seq2seq

TINY = {
    "tiny-language": dataclasses.replace(
        RECIPES["python-gru"], data=characters("stdlib_source", 50), model=language("GRU", 4)
    ),
    "tiny-translation": dataclasses.replace(
        RECIPES["words-to-digits"], model=seq2seq(embedding=4, units=6)
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`{name: run folder}` of tiny models, trained for one epoch in big batches."""
    folder = tmp_path_factory.mktemp("runs")
    RECIPES.update(TINY)
    for name in TINY:
        train.main(
            [name, "--output", str(folder / name), "--data-dir", str(folder / "data")]
            + ["--epochs", "1", "--batch-size", "1000", "--learning-rate", "0.02"]
        )
    yield {name: folder / name for name in TINY}
    for name in TINY:
        del RECIPES[name]


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_run_of_a_language_model(runs):
    folder = runs["tiny-language"]
    assert (folder / "surprise.png").stat().st_size > 10_000
    vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    assert {"\n", " ", "e", "{"} <= set(vocabulary)
    figures = metrics(folder)
    nats, rival = (figures[key]["sparse_categorical_crossentropy"] for key in ("test", "baseline"))
    assert figures["baseline"]["name"] == "unigram"
    assert 2 < rival < 3.5
    assert 1 < nats < 4.6  # ln of the size of the vocabulary


def test_sample(runs, capsys):
    run = str(runs["tiny-language"])
    texts = []
    for seed in ("0", "0", "1"):
        sample.main([run, "--length", "40", "--start", "def é", "--seed", seed])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("def é")
    assert len(texts[0]) == 5 + 40 + 1


def test_run_of_a_translation(runs):
    folder = runs["tiny-translation"]
    assert (folder / "translations.png").stat().st_size > 10_000
    figures = metrics(folder)["test"]
    for name in ("bleu", "exact", "bleu_greedy", "exact_greedy"):
        assert 0 <= figures[name] <= 1
    assert metrics(folder)["baseline"]["exact"] == 0  # no number of the test part is in training


def test_translate(runs, capsys):
    run = str(runs["tiny-translation"])
    translate.main([run, "forty-two", "no such words", "", "--beams", "2"])
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 4
    assert all(set(line) <= set("0123456789") for line in lines)


@pytest.mark.parametrize("text", [[], ["--beams", "0", "one"]], ids=str)
def test_mistakes_of_the_user(runs, text, capsys):
    with pytest.raises(SystemExit) as exit:
        translate.main([str(runs["tiny-translation"]), *text])
    assert exit.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_runs_of_another_kind(runs, tmp_path, capsys):
    for main, run, word in (
        (translate.main, runs["tiny-language"], "is not the run of a translation"),
        (sample.main, runs["tiny-translation"], "is not the run of a language model"),
        (sample.main, tmp_path, "is not a run"),
    ):
        with pytest.raises(SystemExit):
            main([str(run)] + (["x"] if main is translate.main else []))
        error = capsys.readouterr().err
        assert word in error
        assert error.count("\n") == 1


# --- every recipe


def test_recipes_are_complete():
    for name, recipe in RECIPES.items():
        assert name == name.lower()
        assert len(recipe.about) < 150
        assert recipe.better in {"min", "max"}
        assert recipe.beats(0.2, 0.1) == (recipe.better == "max")


def pretend(monkeypatch, figure, returncode=0):
    """Let a training end at once with this figure, against a baseline of 0.5."""

    def run(command, **options):
        folder, name = command[command.index("--output") + 1], command[3]
        content = {
            "test": {RECIPES[name].figure: figure},
            "baseline": {"name": "rival", RECIPES[name].figure: 0.5},
            "seconds": 1.0,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
        return types.SimpleNamespace(returncode=returncode, stderr="warning\nerror: no network\n")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("figure", "returncode", "code", "word"),
    [(0.6, 0, 0, "0.6000"), (0.5, 0, 1, "not better"), (np.nan, 0, 1, "not better"),
     (0.6, 2, 1, "wine-mlp: no network")],
)  # fmt: skip
def test_every_recipe(monkeypatch, tmp_path, capsys, figure, returncode, code, word):
    pretend(monkeypatch, figure, returncode)
    with pytest.raises(SystemExit) as exit:
        every_recipe.main(["--output", str(tmp_path), "--only", "wine-mlp", "--epochs", "1"])
    assert exit.value.code == code
    assert word in capsys.readouterr().out


def test_every_recipe_is_brief_unless_asked(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(every_recipe, "run", lambda *given: (asked.append(given[2]) or "", True))
    for more in ([], ["--full"], ["--epochs", "1", "--full"]):
        with pytest.raises(SystemExit, match="0"):
            every_recipe.main(["--output", str(tmp_path), "--only", "wine-mlp", *more])
    assert asked == [["--epochs", str(RECIPES["wine-mlp"].short)], [], ["--epochs", "1"]]


def test_every_recipe_takes_those_without_a_network(monkeypatch, tmp_path, capsys):
    pretend(monkeypatch, 0.6)
    with pytest.raises(SystemExit):
        every_recipe.main(["--output", str(tmp_path)])
    names = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [name for name, recipe in RECIPES.items() if recipe.offline]
    assert "trec-convnet" not in names
