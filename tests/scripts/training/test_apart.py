"""Runs that cannot spoil each other: the lock, signals, links, and processes that nobody wants."""

import contextlib
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from scripts.training import command_line, run_folder, start
from scripts.training.command_line import InputError
from scripts.training.lock import hold, locked
from scripts.training.run_folder import unfinished

ROOT = pathlib.Path(__file__).parents[3]
IGNORED = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}


@pytest.fixture(autouse=True)
def signals_are_heard():
    """Whoever starts the tests may ignore signals, as nohup does; what the tests start does not."""
    defaults = {signal.SIGHUP: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}
    defaults[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, how) for number, how in defaults.items()}
    yield
    for number, how in before.items():
        signal.signal(number, how)


def begin(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.train", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition, process, limit=240):
    end = time.monotonic() + limit
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def told(err):
    """The arguments of the command to go on that an interrupted process names."""
    head, _, command = err.splitlines()[-1].partition("; to continue: ")
    program, *arguments = shlex.split(command)
    assert head == "interrupted"
    assert (ROOT / program).samefile(sys.executable)
    return arguments


def refused(folder, pattern, **options):
    with pytest.raises(InputError, match=pattern):
        start.run("digits-mlp", {}, folder, **options)


@pytest.fixture
def no_training(monkeypatch):
    from scripts.training import fit

    monkeypatch.setattr(fit, "train", lambda *arguments: pytest.fail("it was trained"))


# --- the lock


def test_one_process_writes_a_run(tmp_path, no_training):
    """And neither --overwrite nor --resume comes between; SIGTERM is then Ctrl-C."""
    folder = tmp_path / "run"
    process = begin("digits-mlp", "--epochs", 500, "--output", folder)
    until(lambda: run_folder.begun(unfinished(folder)), process)
    for options in ({}, {"overwrite": True}, {"resume": True}):
        begun = time.monotonic()
        refused(folder, f"{folder} is being written by process {process.pid}: wait", **options)
        assert time.monotonic() - begun < 0.5
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == command_line.INTERRUPTED
    assert told(err) == ["-m", "scripts.train", "digits-mlp", "--resume", str(folder)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.unfinished"]
    refused(folder, "is unfinished: --resume")


def test_the_lock_ends_with_its_process(tmp_path, no_training):
    folder = tmp_path / "run"
    code = (
        "import pathlib, sys, time\nfrom scripts.training.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    command = [sys.executable, "-c", code, folder]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    refused(folder, f"by process {process.pid}:")
    process.kill()
    process.communicate()
    assert (tmp_path / ".run.lock").exists()
    with locked(folder):
        refused(folder, f"by process {os.getpid()}:")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_that_is_being_removed_is_none(replaced, tmp_path):
    """Who had opened the file before its holder removed it does not hold the next one's."""
    path = tmp_path / "lock"
    real, opened = os.open, []

    def open_and_lose(*arguments):
        opened.append(real(*arguments))
        if len(opened) == 1:
            path.unlink()
            if replaced:
                path.write_text("")  # not by os.open
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", open_and_lose)
        held = hold(path)
    assert len(opened) == 2
    assert held == opened[1]
    assert hold(path) is None
    os.close(held)


# --- signals


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_the_first_seconds(number, tmp_path):
    """While TensorFlow is being imported: the next start is not hindered, with or without it."""
    folder = tmp_path / "a run"
    process = begin("digits-mlp", "--output", folder)
    until((unfinished(folder) / "recipe.json").exists, process)
    process.send_signal(number)
    _, err = process.communicate()
    if number != signal.SIGKILL:
        assert process.returncode == command_line.INTERRUPTED
        assert told(err) == ["-m", "scripts.train", "digits-mlp", "--resume", str(folder)]
    for resume in (True, False):
        settings = start.of_recipe(start.find("digits-mlp"))
        with run_folder.open_run(folder, "digits-mlp", settings, {}, resume) as (partial, _):
            (partial / "written").touch()
        assert (folder / "written").exists()
        unfinished(folder).mkdir()
        (folder / "recipe.json").rename(unfinished(folder) / "recipe.json")
        (folder / "written").unlink()
        folder.rmdir()


def test_what_is_ignored_stays_so():
    """As under nohup."""
    code = (
        "import os, signal\nfrom scripts.training.command_line import ended_by_signals\n"
        "with ended_by_signals():\n    os.kill(os.getpid(), signal.SIGHUP)\nprint('here')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **IGNORED)
    assert done.stdout == "here\n", done.stderr


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with command_line.ended_by_signals(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


# --- places where no run can be written


def test_a_link_as_output(tmp_path, no_training):
    for name, target in (("dangling", "nowhere"), ("to-a-run", "run"), ("to-itself", "to-itself")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").touch()
    before = sorted(tmp_path.rglob("*"))
    for name in ("dangling", "to-a-run", "to-itself"):
        for options in ({}, {"overwrite": True}, {"resume": True}):
            refused(tmp_path / name, f"{name} is a link to .*: --output names another", **options)
    assert sorted(tmp_path.rglob("*")) == before
    unfinished(tmp_path / "other").symlink_to(tmp_path / "run")
    refused(tmp_path / "other", "cannot write to .*symbolic link")
    assert (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.parametrize("name", ["", "..", "/", "x" * 300, "a\0b", "/proc/run", "/dev/null/run"])
def test_a_folder_that_cannot_be_written(name, no_training):
    refused(name, "is no name of a folder|cannot write to .*: --output names another folder")


# --- workers


WORKER = """
import os, signal, socket, sys, time
from scripts.training import command_line, distributed
import json
config = json.loads(os.environ["TF_CONFIG"])
index = config["task"]["index"]
host, port = config["cluster"]["worker"][index].split(":")
listening = socket.create_server((host, int(port)))
distributed.PATIENCE = 1
distributed.end_with_launcher()
with command_line.one_line_errors(), command_line.ended_by_signals():
    if index == 1:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # waits for the other one, as in TensorFlow
    open(f"{index}.ready", "w").close()
    time.sleep(120)
"""
LAUNCHER = """
import os, sys
sys.path.insert(0, os.environ["ROOT"])
from scripts import launch
from scripts.training import distributed
distributed.PATIENCE = 1
launch.main(["digits-mlp", "--workers", "2", "--output", "my runs/two"])
"""


@pytest.fixture
def launched(tmp_path):
    """A launcher whose workers do nothing but listen; the second does not end when it is told."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text(f"__path__.append({str(ROOT / 'scripts')!r})")
    (tmp_path / "scripts" / "train.py").write_text(WORKER)
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], cwd=tmp_path, text=True, stderr=subprocess.PIPE,
        env={**os.environ, "ROOT": str(ROOT), "PYTHONPATH": ""},
    )  # fmt: skip
    until(lambda: all((tmp_path / f"{index}.ready").exists() for index in (0, 1)), process)
    workers = psutil.Process(process.pid).children()
    ports = [c.laddr.port for worker in workers for c in worker.net_connections("tcp")]
    assert (len(workers), len(ports)) == (2, 2)
    yield process, workers, ports
    for each in (process, *workers):
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            each.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_launcher_leaves_nobody_behind(number, launched):
    process, workers, ports = launched
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    if number == signal.SIGKILL:
        psutil.wait_procs(workers, timeout=10)
    else:
        assert process.returncode == command_line.INTERRUPTED
        task = ["digits-mlp", "--workers", "2", "--resume", "my runs/two"]
        assert told(err) == ["-m", "scripts.launch", *task]
    assert not any(worker.is_running() for worker in workers)
    for port in ports:
        with socket.socket() as asking:
            assert asking.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_real_launcher_is_ended_and_goes_on(number, tmp_path):
    folder = tmp_path / "run"
    task = ["-m", "scripts.launch", "digits-mlp", "--epochs", "60", "--batch-size", "32"]
    command = [sys.executable, *task, "--output", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until(lambda: run_folder.begun(unfinished(folder)), process)
    workers = psutil.Process(process.pid).children()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    line = err.splitlines()[-1].partition("to continue: ")[2]
    if number == signal.SIGKILL:
        line = command_line.shell_command("scripts.launch", "digits-mlp", "--resume", folder)
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch" in done.stdout
    assert (folder / "model.keras").exists()
