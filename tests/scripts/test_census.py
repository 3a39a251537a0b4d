"""The census: one process a row, a row that dies among others, and the page."""

import subprocess
import sys

from scripts import census
from scripts.studies.census_findings import FINDINGS
from scripts.studies.census_rows import KERAS, OWN
from scripts.training import record


def test_rows():
    assert len(KERAS) >= 90
    ours = census.rows("custom_layers")
    assert {"Dense", "LSTM", "GraphConv"} <= ours.keys()
    assert "Lambda" not in ours
    assert len(ours) > len(OWN)


def test_a_row(tmp_path):
    """As a command: a process that has run TensorFlow cannot be forked."""
    command = [sys.executable, "-W", "ignore", "-m", "scripts.census", "--of", "keras"]
    command += ["Identity", "--results", tmp_path / "census.csv", "--page", tmp_path / "census.md"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "keras Identity: holds\n"
    lines, _ = record.read_csv(tmp_path / "census.csv")
    assert {line["verdict"] for line in lines} == {"held", "does not apply", "told"}
    assert "| keras | Identity |" in (tmp_path / "census.md").read_text(encoding="utf-8")


def test_a_row_that_ends_its_process(tmp_path):
    """The promise at which it died is broken, and the others are proven."""
    code = """
import os, sys
from scripts import census
from custom_layers.checks import proof
from custom_layers.checks.report import Held
def dies(subject):
    "It dies."
    os.abort()
def holds(subject):
    "It holds."
    return Held()
proof.ALL = (dies, holds)
for finding in census.examine_in_a_process("keras", "Identity"):
    print(finding["promise"], finding["verdict"], finding["note"])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.splitlines()[:2] == [
        "dies broken ends the process (SIGABRT)",
        "holds held ",
    ], run.stderr


def test_findings_show_themselves_in_a_few_lines():
    for finding in FINDINGS:
        lines = [line for line in finding.code.strip().splitlines() if line]
        assert len(lines) <= 6, finding.title  # five, and an import
        compile(finding.code, finding.title, "exec")
