"""What a proof found: one finding a promise, printed as a table.

A promise is a function of a `Subject`. It returns `Held` or raises `Broken` or `DoesNotApply`; any
other exception that the layer raises inside of it breaks it too.
"""

import dataclasses
import io
import re

import numpy as np
import rich.console
import rich.table

from custom_layers.checks.near import errors, largest, probable_cause


class CannotCheck(ValueError):
    """The layer cannot be built or called, or the arguments of the check are wrong."""


class DoesNotApply(Exception):
    """Why a promise says nothing about this layer."""


class Broken(AssertionError):
    """A promise that does not hold: what broke, and how."""

    def __init__(self, what, *, expected=None, got=None, entry=None, error=None, cause=None):
        super().__init__(what)
        self.expected, self.got, self.entry = expected, got, entry
        self.error, self.cause = error, cause


@dataclasses.dataclass(frozen=True)
class Held:
    """A promise that holds: the largest relative error, and what else is worth knowing."""

    error: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What became of one promise."""

    promise: str
    verdict: str  # "held", "broken" or "does not apply"
    error: float | None = None  # the largest one, relative to the largest entry
    note: str = ""  # what broke; or a remark
    expected: object = None
    got: object = None
    entry: tuple | None = None
    cause: str | None = None

    def details(self):
        """What broke, in lines."""
        yield f"{self.promise}: {self.note}"
        if self.expected is not None or self.got is not None:
            at = "" if self.entry is None else f" at entry {self.entry}"
            yield f"    expected {self.expected}, got {self.got}{at}"
        if self.cause:
            yield f"    probable cause: {self.cause}"


@dataclasses.dataclass(frozen=True)
class Report:
    """All findings about one layer. Printed, it is a table."""

    layer: str
    notes: tuple[str, ...]  # what is known of the layer: random, stateful, its noise
    findings: tuple[Finding, ...]

    @property
    def broken(self):
        return [finding for finding in self.findings if finding.verdict == "broken"]

    def __getitem__(self, promise):
        return next(finding for finding in self.findings if finding.promise == promise)

    def raise_if_broken(self):
        """Raise an AssertionError that tells each broken promise."""
        if self.broken:
            lines = [line for finding in self.broken for line in finding.details()]
            raise AssertionError("\n".join([f"{self.layer} breaks:", *lines]))

    def __str__(self):
        table = rich.table.Table("promise", "verdict", "error", "remark", title=self.layer)
        for finding in self.findings:
            error = "" if finding.error is None else f"{finding.error:.1e}"
            table.add_row(finding.promise, finding.verdict, error, finding.note)
        console = rich.console.Console(file=io.StringIO(), width=110)
        console.print(table, markup=False)
        lines = [console.file.getvalue().rstrip(), *self.notes]
        lines += [line for finding in self.broken for line in finding.details()]
        return "\n".join(lines)


def compare(what, got, expected, allowed, *, floor=0.0, batch=None):
    """Raise `Broken` unless `got` is within `allowed` of `expected`, in absolute numbers.

    Returns:
        The largest error, relative to the largest entry of `expected` or to `floor`.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        raise Broken(f"{what}: wrong shape", expected=expected.shape, got=got.shape)
    if got.dtype.kind in "OSU":
        if (got != expected).any():
            raise Broken(f"{what}: other values", expected=expected.tolist(), got=got.tolist())
        return 0.0
    off = errors(got, expected)
    off = np.where(np.isnan(off), np.inf, off)
    error = off.max(initial=0)
    scale = max(largest(expected), floor) or 1.0
    if error > allowed:
        entry = np.unravel_index(off.argmax(), off.shape)
        raise Broken(
            f"{what}: off by {error:.2e}, allowed {allowed:.1e}",
            expected=_number(expected[entry]),
            got=_number(got[entry]),
            entry=tuple(int(i) for i in entry),
            error=float(error / scale),
            cause=probable_cause(got, expected, batch),
        )
    return float(error / scale)


def compare_float32(what, got, expected, cause=None, size=0.0):
    """`compare` two computations in float32 of one function; `cause` is told if they differ.

    What they may be off follows from the largest entry of `expected`, or from `size`.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    size = max(size, largest(expected)) if expected.dtype.kind == "f" else 0.0
    try:
        return compare(what, got, expected, 3e-5 * size + 1e-30)
    except Broken as broken:
        broken.cause = cause or broken.cause
        raise


def compare_outputs_and_gradients(where, got, expected, count):
    """The largest error of `count` outputs and of the gradients that follow, by `compare_float32`.

    All gradients have the size of the largest: of numbers that cancel, as in the gradient of a bias
    before a softmax, which is 0, what is left is their rounding.
    """
    size = max((largest(x) for x in expected[count:]), default=0.0)
    worst = 0.0
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        what = f"output or gradient {i}{where}"
        worst = max(worst, compare_float32(what, a, b, size=size if i >= count else 0.0))
    return worst


def one_line(error):
    """An exception in one line, without the colors and the list of arguments that Keras adds."""
    text = re.sub("\x1b\\[[0-9]+m", "", str(error)).partition("Arguments received by")[0]
    text = re.sub(r"Exception encountered when calling \S+\(\)\.", "", text)
    return f"{type(error).__name__}: {' '.join(text.split())}"[:300]


def _number(x):
    return float(f"{float(x):.6g}")
