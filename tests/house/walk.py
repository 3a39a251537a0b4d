"""The recorded walk: through how many files of the project one step, or one command, runs.

    python tests/house/walk.py           prints the files of each walk, and their number

A file counts if the profiler sees a function of it called; what runs only because the file is
imported does not. A reader who follows the step opens these files and no others.
"""

import contextlib
import inspect
import os
import pathlib
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
PROJECT = tuple(f"{ROOT / folder}/" for folder in ("custom_layers", "models", "scripts"))


def files_of(walk):
    """The files of the project whose functions `walk()` calls, in any thread, sorted."""
    seen = set()

    def note(frame, event, _):
        code = frame.f_code
        # The bodies of modules and classes, which an import runs, are not CO_OPTIMIZED.
        is_function = event == "call" and code.co_flags & inspect.CO_OPTIMIZED
        if is_function and code.co_filename.startswith(PROJECT):
            seen.add(code.co_filename)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        walk()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(str(pathlib.Path(name).relative_to(ROOT)) for name in seen)


def step(make, inputs):
    """One training step of a layer, from its constructor to the gradients of its weights."""

    def walk():
        import tensorflow as tf

        layer = make()

        @tf.function
        def train():
            with tf.GradientTape() as tape:
                y = tf.reduce_sum(layer(inputs, training=True))
            return tape.gradient(y, layer.trainable_variables)

        layer(inputs)
        train()

    return walk


def command(line):
    """`python -m scripts.train` with these arguments, in this process; its output is discarded."""
    import scripts.training.fit  # noqa: F401  (train imports it late; imports are no steps)
    from scripts import train

    def walk():
        with (
            tempfile.TemporaryDirectory() as folder,
            open(os.devnull, "w") as nothing,
            contextlib.redirect_stdout(nothing),
            contextlib.redirect_stderr(nothing),
        ):
            train.main([*line.split(), "--output", f"{folder}/run"])

    return walk


def walks():
    import numpy as np

    import custom_layers as cl

    nodes, edges = np.ones((3, 2), "float32"), np.array([[0, 1], [1, 2]], "int32")
    return {
        "one step of LSTM": step(lambda: cl.LSTM(3), np.ones((2, 4, 2), "float32")),
        "one step of Conv2D": step(lambda: cl.Conv2D(3, 2), np.ones((2, 4, 4, 2), "float32")),
        "one step of GATConv": step(lambda: cl.GATConv(3), [nodes, edges]),
        "scripts.train digits-convnet --epochs 1": command("digits-convnet --epochs 1"),
    }


def main():
    for name, walk in walks().items():
        files = files_of(walk)
        print(f"{len(files):3d} files: {name}", *(f"      {file}" for file in files), sep="\n")


if __name__ == "__main__":
    main()
