"""Another Python, with PyTorch, that times one call whenever it is asked to."""

import contextlib
import functools
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np

LOOP = pathlib.Path(__file__).parent / "loop.py"


class Worker:
    """A process that runs `loop.py` of a rival, on the same processors as this one.

    It answers each question, a line of JSON, with a line of JSON.
    """

    def __init__(self, python, rival):
        self.process = subprocess.Popen(
            [python, LOOP, rival], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **question):
        with contextlib.suppress(BrokenPipeError):  # it has ended: the empty answer says so
            print(json.dumps(question), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("benchmark: the PyTorch process ended; its message is above")
        time.sleep(0.002)  # its idle threads spin a little before they sleep
        return json.loads(line)

    def timers(self, case, data):
        """{pass: timer} of the other side of a case; empty where it has no such layer."""
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file, **data)
            file.flush()
            passes = self.ask(prepare=case.name, size=case.size, file=file.name)
        return {name: functools.partial(self.ask, time=name) for name in passes}

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
