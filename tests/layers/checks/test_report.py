"""The report of a proof: a table, the details of what broke, one error that tells all."""

import numpy as np
import pytest

from custom_layers.checks.report import (
    Broken,
    Finding,
    Report,
    compare,
    compare_float32,
    one_line,
)

HELD = Finding("gradient", "held", 1e-9)
BROKEN = Finding("config", "broken", 0.5, "output 0: off", 1.0, 2.0, (0, 3), "a factor 2")


def test_a_report_is_a_table():
    text = str(Report("Dense", ("It is random.",), (HELD, BROKEN)))
    for words in ("Dense", "held", "broken", "1.0e-09", "It is random.", "expected 1.0, got 2.0"):
        assert words in text
    assert "at entry (0, 3)" in text
    assert "probable cause: a factor 2" in text


def test_raise_if_broken_tells_what():
    Report("Dense", (), (HELD,)).raise_if_broken()
    report = Report("Dense", (), (HELD, BROKEN))
    assert report["config"] is report.broken[0]
    with pytest.raises(AssertionError, match="config: output 0: off"):
        report.raise_if_broken()


def test_compare_names_the_entry():
    expected = np.arange(6.0).reshape(2, 3)
    got = expected.copy()
    got[1, 2] += 0.1
    assert compare("x", got, expected, 0.2) == pytest.approx(0.02)
    with pytest.raises(Broken, match="x: off by 1.00e-01") as caught:
        compare("x", got, expected, 0.01)
    assert caught.value.entry == (1, 2)
    assert (caught.value.expected, caught.value.got) == (5.0, 5.1)
    for wrong in (np.full((2, 3), np.nan), expected[:1]):
        with pytest.raises(Broken):
            compare("x", wrong, expected, 10.0)


def test_compare_of_strings_and_integers():
    assert compare("x", np.array(["a"]), np.array(["a"]), 0.0) == 0
    with pytest.raises(Broken):
        compare("x", np.array(["a"]), np.array(["b"]), 0.0)
    with pytest.raises(Broken, match="off"):
        compare_float32("x", np.array([1, 2]), np.array([1, 3]))


def test_an_error_in_one_line():
    error = ValueError(
        "Exception encountered when calling F.call().\n\x1b[1mno\x1b[0m\n\n"
        "Arguments received by F.call(): x"
    )
    assert one_line(error) == "ValueError: no"
