"""Another Python, with PyTorch, that times one call whenever it is asked to."""

import contextlib
import json
import os
import pathlib
import subprocess
import time


class Worker:
    """A process that runs `script`, a file beside this one, on the same processors as this one.

    It answers each question, a line of JSON, with a line of JSON.
    """

    def __init__(self, python, script):
        self.process = subprocess.Popen(
            [python, str(pathlib.Path(__file__).parent / script), str(threads())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question):
        with contextlib.suppress(BrokenPipeError):  # it has ended: the empty answer says so
            print(json.dumps(question), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("benchmark: the PyTorch process ended; its message stands above")
        time.sleep(0.002)  # its idle threads spin a little before they sleep
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def threads():
    """How many processors this process may use, which both sides then use."""
    return len(os.sched_getaffinity(0))
