"""Ray Train: a worker is killed, Ray starts all again, nothing is lost. Needs the extra `ray`."""

import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from scripts import ray_train
from scripts.data.prepare import prepare
from scripts.training import run_folder

ROOT = pathlib.Path(__file__).parents[2]


def test_mistakes_need_no_ray(tmp_path, capsys):
    for arguments, message in [
        (["digit-mlp"], "there is no recipe digit-mlp: did you mean digits-mlp"),
        (["digits-mlp", "--workers", "0"], "--workers: expected a whole number of at least 1"),
        (["digits-mlp", "--output", str(tmp_path)], f"{tmp_path} exists: --output names another"),
    ]:
        with pytest.raises(SystemExit, match="2"):
            ray_train.main(arguments)
        assert message in capsys.readouterr().err


def workers_of(folder):
    """The processes of Ray's workers that belong to this test."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::RayTrainWorker" in (process / "cmdline").read_bytes():
                environment = (process / "environ").read_bytes()
                if f"RUN_OF_TEST={folder}".encode() in environment:
                    found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return sorted(found)


def test_a_worker_is_killed(tmp_path):
    pytest.importorskip("ray")
    prepare("digits", str(tmp_path / "data"))
    folder = tmp_path / "run"
    arguments = ["digits-mlp", "--epochs", "8", "--workers", "2", "--output", folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.ray_train", *map(str, arguments)]
        + ["--data-dir", str(tmp_path / "data")],
        cwd=ROOT,
        env={**os.environ, "RUN_OF_TEST": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    path = run_folder.unfinished(folder) / "checkpoints" / "epoch-00002.npz"
    until = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(workers_of(folder)[-1], signal.SIGKILL)
    out, _ = process.communicate(timeout=500)
    assert process.returncode == 0, out[-3000:]
    assert "resuming after epoch" in out
    with (folder / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, 9)]
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert not run_folder.unfinished(folder).exists()
