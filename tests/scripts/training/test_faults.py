"""Interrupted trainings: nothing lost, nothing doubled, whatever the moment.

A run that was killed and resumed ends with the history and the weights of one that was not.
"""

import csv
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from scripts.training.run_folder import load_model, unfinished

ROOT = pathlib.Path(__file__).parents[3]


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.train", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def train(*arguments):
    """Run to the end. Returns (exit status, standard output, standard error)."""
    process = start(*arguments)
    out, err = process.communicate()
    return process.returncode, out, err


def history(folder):
    with (folder / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{k: float(v) for k, v in row.items()} for row in rows]


def assert_same_run(folder, reference):
    """Histories line by line, and the weights."""
    ours, theirs = history(folder), history(reference)
    assert [row["epoch"] for row in ours] == [row["epoch"] for row in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
    weights = [load_model(run).get_weights() for run in (folder, reference)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    assert not unfinished(folder).exists()
    assert not (folder / "checkpoints").exists()


def wait_for_epoch(folder, epoch, process, limit=240):
    path = unfinished(folder) / "checkpoints" / f"epoch-{epoch:05d}.npz"
    until = time.monotonic() + limit
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"no {path} after {limit} s"
        time.sleep(0.02)


RECIPE = ("digits-mlp", "--epochs", 8)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run that nobody interrupts, and how many seconds it takes."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    begun = time.monotonic()
    status, _, err = train(*RECIPE, "--output", folder)
    assert status == 0, err
    return folder, time.monotonic() - begun


def test_killed_and_resumed(reference, tmp_path):
    folder = tmp_path / "run"
    process = start(*RECIPE, "--output", folder)
    wait_for_epoch(folder, 3, process)
    process.kill()
    process.communicate()
    assert not folder.exists()
    status, _, err = train(*RECIPE, "--output", folder)
    assert status == 2
    assert f"--resume {folder} continues it" in err
    status, out, err = train(RECIPE[0], "--resume", folder)
    assert status == 0, err
    assert "resuming after epoch" in out
    assert_same_run(folder, reference[0])
    status, _, err = train(RECIPE[0], "--resume", folder)
    assert (status, "is finished" in err) == (2, True)


@pytest.mark.long
def test_interrupted_by_the_keyboard_and_a_damaged_checkpoint(reference, tmp_path):
    folder = tmp_path / "run"
    # A shell's background job ignores the keyboard, and so do the processes that it starts.
    listening = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start(*RECIPE, "--output", folder, **listening)
    wait_for_epoch(folder, 3, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert f"python -m scripts.train digits-mlp --resume {folder}" in err
    newest = max((unfinished(folder) / "checkpoints").glob("*.npz"))
    newest.write_bytes(newest.read_bytes()[:-1000])
    again = err.splitlines()[-1].partition("to continue: ")[2]  # as it stands, into a shell
    done = subprocess.run(again, shell=True, cwd=ROOT, capture_output=True, text=True)
    out, err = done.stdout, done.stderr
    assert done.returncode == 0, err
    assert f"{newest} cannot be read" in err
    assert "using the previous one" in err
    assert f"resuming after epoch {int(newest.stem[-5:]) - 1} of 8" in out
    assert_same_run(folder, reference[0])


@pytest.mark.long
def test_a_full_disk(reference, tmp_path):
    """Stands in for it: files may not grow beyond 64 kB, so no checkpoint can be written."""
    folder = tmp_path / "run"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); "
    code = limit + "from scripts.train import main; main()"
    arguments = [sys.executable, "-c", code, *map(str, RECIPE), "--output", str(folder)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "File too large; to continue once this is fixed: " in last
    assert last.endswith(f"python -m scripts.train digits-mlp --resume {folder}")
    status, _, err = train(RECIPE[0], "--resume", folder)
    assert status == 0, err
    assert_same_run(folder, reference[0])


def test_the_folder_is_removed(tmp_path):
    folder = tmp_path / "run"
    process = start("digits-mlp", "--epochs", 500, "--output", folder)
    wait_for_epoch(folder, 1, process)
    unfinished(folder).rename(tmp_path / "elsewhere")
    _, err = process.communicate()
    assert process.returncode == 2
    assert "No such file or directory" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.long
def test_resume_keeps_the_settings(tmp_path):
    folder = tmp_path / "run"
    process = start("digits-mlp", "--epochs", 500, "--output", folder)
    wait_for_epoch(folder, 1, process)
    process.kill()
    process.communicate()
    for wrong, message in [
        (["digits-mlp", "--resume", folder, "--epochs", 3], "begun with epochs 500"),
        (["digits-convnet", "--resume", folder], "is a run of digits-mlp"),
        (["digits-mlp", "--resume", tmp_path / "none"], "does not exist: there is nothing"),
    ]:
        status, _, err = train(*wrong)
        assert status == 2
        assert message in err
    (unfinished(folder) / "recipe.json").write_text("{")
    status, _, err = train("digits-mlp", "--resume", folder)
    assert (status, "cannot be read" in err) == (2, True)


def kill_until_done(recipe, folder, reference, seconds, kills, dice):
    """Kill `kills` times at moments spread over a whole run, then let it finish."""
    done = 0
    arguments = [*recipe, "--output", folder]
    while done < kills:
        process = start(*arguments)
        try:
            process.communicate(timeout=dice.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            done += 1
        if process.returncode == 0:  # it was faster than the kill: once more from the start
            assert_same_run(folder, reference)
            arguments = [*recipe, "--output", folder, "--overwrite"]
        elif unfinished(folder).joinpath("recipe.json").exists():
            arguments = [recipe[0], "--resume", folder]
    if process.returncode != 0:
        status, _, err = train(*arguments)
        assert status == 0, err
    assert_same_run(folder, reference)


@pytest.mark.long
@pytest.mark.parametrize(
    "recipe",
    [
        ("digits-mlp", "--epochs", 40),
        ("digits-convnet", "--epochs", 6),
        ("digits-vae", "--epochs", 6),
    ],
    ids=lambda r: r[0],
)
def test_killed_at_random_moments(recipe, tmp_path):
    """Seven kills for each of three recipes."""
    begun = time.monotonic()
    status, _, err = train(*recipe, "--output", tmp_path / "reference")
    assert status == 0, err
    seconds = time.monotonic() - begun
    dice = random.Random(recipe[0])
    kill_until_done(recipe, tmp_path / "run", tmp_path / "reference", seconds, 7, dice)


def resident_mb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.long
def test_memory_does_not_grow(tmp_path):
    """From epoch 10 to epoch 200 by at most 20 MB."""
    process = start("digits-mlp", "--epochs", 250, "--output", tmp_path / "run")
    wait_for_epoch(tmp_path / "run", 10, process)
    early = resident_mb(process)
    wait_for_epoch(tmp_path / "run", 200, process, limit=600)
    late = resident_mb(process)
    process.kill()
    process.communicate()
    assert late - early <= 20, f"{early:.0f} MB after 10 epochs, {late:.0f} MB after 200"
