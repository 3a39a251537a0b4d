"""Plant mistakes in the library, one at a time, and see whether its tests notice: make mutants.

    python -m tests.mutants.run [NAME ...]     of some: `lstm-2`, `lstm`, `recurrent`

Each .toml file beside this one lists the mistakes in a folder of custom_layers/; `top` is for the
files outside of the folders:

    [[lstm]]                                   in the file lstm.py of that folder
    broken = "what is then wrong"
    text = 'exact text, which occurs once'
    becomes = 'the text that replaces it'
    tests = ["tests/..."]                      what must notice, beside the mirrored test file
    equivalent = "why no test can notice"      if so; it does not count in the score

A mistake is planted in a copy of the tree. The tests run there in a process of their own, first
without the mistake, when they must pass. A mutant is killed if a test fails or the process dies. It
is not if it cannot be imported, or if its tests run out of time.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

from scripts.training import record

ROOT = pathlib.Path(__file__).parents[2]
TABLES = pathlib.Path(__file__).parent
KILLED, SURVIVED, TIME, BROKEN = "killed", "survived", "out of time", "no verdict"


@dataclasses.dataclass(frozen=True)
class Mutant:
    """name: `lstm-2`, the second of lstm.py. file: below custom_layers/. The others: as above."""

    name: str
    file: str
    broken: str
    text: str
    becomes: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""

    @property
    def files(self):
        """The test files that must notice: the mirrored one, then those that the table names."""
        folder, name = os.path.split(self.file)
        mirrored = os.path.join("tests", "layers", folder, f"test_{name}")
        return (mirrored, *self.tests) if (ROOT / mirrored).exists() else self.tests

    def planted(self, source):
        """The text of the file with the mistake in it.

        Raises:
            ValueError: the text to replace does not occur exactly once.
        """
        if (count := source.count(self.text)) != 1:
            raise ValueError(f"{self.name}: its text occurs {count} times in {self.file}")
        return source.replace(self.text, self.becomes)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """kind: KILLED, SURVIVED, TIME or BROKEN. by: the test that failed, or what went wrong."""

    kind: str
    by: str = ""
    seconds: float = 0.0


def load(tables=TABLES):
    """All mutants, by folder and file."""
    found = []
    for path in sorted(tables.glob("*.toml")):
        folder = "" if path.stem == "top" else f"{path.stem}/"
        for name, rows in tomllib.loads(path.read_text(encoding="utf-8")).items():
            for number, row in enumerate(rows, 1):
                row["tests"] = tuple(row.get("tests", ()))
                found.append(Mutant(f"{name}-{number}", f"{folder}{name}.py", **row))
    return found


def chosen(mutants, names):
    """Those of these names, files or folders; all without names."""

    def keys(mutant):
        return {mutant.name, *mutant.file.removesuffix(".py").split("/")}

    if unknown := set(names) - set().union(*map(keys, mutants)):
        raise SystemExit(f"mutants: there are none of {', '.join(sorted(unknown))}")
    return [mutant for mutant in mutants if not names or keys(mutant) & set(names)]


def run(tests, root, limit, mutant=None):
    """The verdict of these test files in a copy of the tree at `root`, with a mutant planted."""
    leave_out = shutil.ignore_patterns(".*", "__pycache__", "runs", "build", "*.egg-info")
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "tree"
        shutil.copytree(root, copy, ignore=leave_out)
        if mutant:
            path = copy / "custom_layers" / mutant.file
            path.write_text(mutant.planted(path.read_text(encoding="utf-8")), encoding="utf-8")
        begun = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-rfE"]
        with (copy / "output").open("w+") as output:
            process = subprocess.Popen(
                [*command, *tests], cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)},
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                return Verdict(TIME, f"after {limit:.0f} s", limit)
            finally:
                end(process)
            output.seek(0)
            return judged(process.returncode, output.read(), time.perf_counter() - begun)


def end(process):
    """End a process and all processes that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def judged(status, output, seconds):
    """The verdict of an exit status of pytest: 0 passed, 1 failed, below 0 killed by a signal."""
    if status == 0:
        return Verdict(SURVIVED, "", seconds)
    if status < 0:
        return Verdict(KILLED, f"its process died of signal {-status}", seconds)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
    if status == 1:
        return Verdict(KILLED, failed[0] if failed else "", seconds)
    last = (output.strip().splitlines() or ["no output"])[-1]
    return Verdict(BROKEN, f"pytest ended with {status}: {last}", seconds)


def allowed(seconds):
    """How long tests may take that take so many seconds without a mutant."""
    return 5 * seconds + 60


def judge(mutant, passing, root):
    """The verdict on a mutant, whose test files must pass without it. One file after the other."""
    for file in mutant.files:
        sound = passing(file)
        if sound.kind != SURVIVED:
            return Verdict(BROKEN, f"{file} fails without it: {sound.by}")
        verdict = run([file], root, allowed(sound.seconds), mutant)
        if verdict.kind != SURVIVED:
            return verdict
    return verdict


def judge_all(mutants, root=ROOT, jobs=1):
    """(mutant, verdict) of each, as they come."""
    for mutant in mutants:
        mutant.planted((root / "custom_layers" / mutant.file).read_text(encoding="utf-8"))
    passing = functools.cache(lambda file: run([file], root, limit=1800))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        verdicts = pool.map(lambda mutant: judge(mutant, passing, root), mutants)
        yield from zip(mutants, verdicts, strict=True)


def report(judged):
    """The table of all mutants, then the score and each one that was not killed."""
    rows = [(m.name, m.broken, v.kind, v.by) for m, v in judged]
    lines = [record.markdown(["mutant", "broken", "verdict", "by"], rows), ""]
    counted = [(m, v) for m, v in judged if not m.equivalent]
    killed = sum(v.kind == KILLED for _, v in counted)
    if counted:
        share = 100 * killed / len(counted)
        lines.append(f"{killed} of {len(counted)} mutants killed: {share:.1f} %")
    lines += [f"{m.name} {v.kind}: {m.broken} {v.by}" for m, v in counted if v.kind != KILLED]
    for m, v in judged:
        if m.equivalent:
            lines.append(f"{m.name} {v.kind}, equivalent: {m.equivalent}")
    return "\n".join(lines)


def main(arguments=None, root=ROOT, tables=TABLES):
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mutant, a file or a folder")
    parser.add_argument("--jobs", type=int, default=1, help="how many at the same time")
    options = parser.parse_args(arguments)
    seen = []
    for mutant, verdict in judge_all(chosen(load(tables), options.names), root, options.jobs):
        print(f"{mutant.name}: {verdict.kind} {verdict.by} ({verdict.seconds:.0f} s)", flush=True)
        seen.append((mutant, verdict))
    print(f"\n{report(seen)}")
    return 0 if all(v.kind == KILLED or m.equivalent for m, v in seen) else 1


if __name__ == "__main__":
    sys.exit(main())
