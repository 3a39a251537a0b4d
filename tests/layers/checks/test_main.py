"""python -m custom_layers.checks: arguments, and the exit status."""

import subprocess
import sys

import pytest

from custom_layers.checks.__main__ import main

DENSE = ["keras.layers:Dense", "--input", "4,8,3", "--args", '{"units": 7}', "--promise", "shapes"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (DENSE, 0),
        ([*DENSE, "--promise", "twin", "--twin", "keras.layers:Dense"], 0),
        (["keras.layers:Add", "--input", "2,3", "--input", "2,3", "--promise", "gradient"], 0),
        (
            [
                "keras.layers:LayerNormalization",
                *("--input", "4,5", "--promise", "second_derivative"),
            ],
            1,
        ),
        (["keras.layers:Dense", "--input", "4,8"], 2),
        (["keras.layers:Nothing", "--input", "4,8"], 2),
        (["no.such.module:Layer", "--input", "4,8"], 2),
        (["keras.layers:ReLU", "--input", "4,x"], 2),
        (["keras.layers:ReLU", "--input", "4,8:int33"], 2),
        ([*DENSE, "--args", "{units: 7}"], 2),
        ([*DENSE, "--promise", "speed"], 2),
    ],
)
def test_exit_status(arguments, status, capsys):
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert bool(out) == (status < 2)
    assert len(err.splitlines()) == (status == 2)


def test_help_lists_the_promises(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "second_derivative" in capsys.readouterr().out


def test_as_a_command():
    command = [sys.executable, "-m", "custom_layers.checks", "custom_layers:ReLU"]
    command += ["--input", "2,3", "--promise", "shapes"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "ReLU" in run.stdout
