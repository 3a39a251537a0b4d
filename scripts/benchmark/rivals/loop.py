"""The loop of the other side: it times one call whenever a line on standard input asks for it.

    PYTHON loop.py pytorch|pyg

PYTHON is one that has PyTorch. The file is run as it is, so the modules beside it are imported by
their bare names. Each has `prepare(name, size, arrays) -> {pass: function}` and `versions()`.
"""

import importlib
import json
import sys
import time

import numpy as np


def main(rival):
    module, passes = importlib.import_module(rival), {}
    for line in sys.stdin:
        question = json.loads(line)
        if "prepare" in question:
            with np.load(question["file"]) as arrays:
                passes = module.prepare(question["prepare"], question["size"], dict(arrays))
            answer = list(passes)
        elif "versions" in question:
            answer = module.versions()
        else:
            start = time.perf_counter()
            passes[question["time"]]()
            answer = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
