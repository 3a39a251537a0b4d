"""Run Keras's test modules, unmodified and with our classes, each in a process of its own.

    python tests/promises/keras_suite/run.py [MODULE ...] [--swap MODULE:CLASS] [--jobs N]

A module is named by any part of its name. For each it prints how many tests pass with Keras's own
classes, how many of these with ours, how many are left out (`left_out.txt`), and how many fail.
The exit status is 1 if one fails, passes although left out, or if nothing of ours was built.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
MODULES = [
    f"keras.src.{package}.{name}_test"
    for package, names in {
        "layers.core": ["dense", "einsum_dense", "embedding", "masking", "wrapper"],
        "layers.attention": [
            "attention",
            "additive_attention",
            "multi_head_attention",
            "grouped_query_attention",
        ],
        "layers.convolutional": ["conv", "conv_transpose"],
        "layers.pooling": [
            "max_pooling",
            "average_pooling",
            "global_max_pooling",
            "global_average_pooling",
        ],
        "layers.rnn": [
            "simple_rnn",
            "lstm",
            "gru",
            "rnn",
            "bidirectional",
            "time_distributed",
            "stacked_rnn_cells",
            "dropout_rnn_cell",
        ],
        "layers.reshaping": ["flatten"],
        "layers.regularization": ["dropout", "activity_regularization", "spatial_dropout"],
        "layers.normalization": [
            "batch_normalization",
            "layer_normalization",
            "group_normalization",
            "rms_normalization",
            "unit_normalization",
        ],
        "layers.activations": ["activation", "elu", "leaky_relu", "prelu", "relu", "softmax"],
        "regularizers": ["regularizers"],
        "layers": ["layer"],
        "models": ["sequential", "functional", "model", "cloning"],
        "saving": ["saving_lib", "saving_api", "serialization_lib"],
        "export": ["saved_model", "tfsm_layer"],
    }.items()
    for name in names
]


def run(modules, swap=(), timeout=1800):
    """The report of one pytest process: {"tests": {name: [outcome, message]}, "built": ...}.

    `built` is {class name: (how often ours was built, how often Keras's)}.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.json")
        command = [sys.executable, "-m", "pytest", "-p", "keras_suite.plugin", "-q", "--tb=short"]
        command += [
            "-c",
            str(HERE / "pytest.ini"),
            "--rootdir",
            str(HERE),
            "-p",
            "no:cacheprovider",
        ]
        command += [f"--report={report}", *(f"--swap={name}" for name in swap)]
        path = [str(HERE.parent), str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "KERAS_HOME": folder,  # nobody's keras.json
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
        }
        done = subprocess.run(
            [*command, "--pyargs", *modules],
            env=environment,
            cwd=folder,
            timeout=timeout,
            capture_output=True,
            text=True,
        )
        if not report.exists():
            raise RuntimeError(f"{modules}:\n{(done.stdout + done.stderr)[-3000:]}")
        return json.loads(report.read_text(encoding="utf-8"))


def compare(module, swap):
    """(passed with Keras's classes, passed with ours, left out, {failed: why}, built)."""
    theirs, ours = run([module])["tests"], run([module], swap)
    wanted = {name for name, (outcome, _) in theirs.items() if outcome == "passed"}
    outcomes = {name: ours["tests"].get(name, ["missing", ""]) for name in wanted}
    passed = [name for name, (outcome, _) in outcomes.items() if outcome == "passed"]
    left_out = [name for name, (outcome, _) in outcomes.items() if outcome == "left out"]
    failed = {
        name: message or outcome
        for name, (outcome, message) in outcomes.items()
        if outcome not in ("passed", "left out")
    }
    return len(wanted), len(passed), len(left_out), failed, ours["built"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", help="parts of names; default: all of them")
    parser.add_argument("--swap", action="append", help="default: all twins in custom_layers")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    arguments = parser.parse_args()
    parts = arguments.modules or [""]
    modules = [m for m in MODULES if any(part in m for part in parts)]
    unknown = [part for part in parts if not any(part in module for module in MODULES)]
    if unknown:
        parser.error(f"no module is called {unknown}; there are {MODULES}")
    swap = arguments.swap or ["custom_layers"]

    total, failures, built = [0, 0, 0, 0], {}, {}
    print(f"{'':48} {'Keras':>6} {'ours':>6} {'left out':>9} {'failed':>7}")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = pool.map(lambda module: compare(module, swap), modules)
        for module, (*numbers, failed, counts) in zip(modules, results, strict=True):
            numbers.append(len(failed))
            failures.update(failed)
            total = [a + b for a, b in zip(total, numbers, strict=True)]
            for name, (ours, theirs) in counts.items():
                before = built.get(name, (0, 0))
                built[name] = (before[0] + ours, before[1] + theirs)
            print_row(module.removeprefix("keras.src."), numbers)
    print_row("sum", total)
    for name, message in failures.items():
        print(f"\nFAILED {name}\n    " + "\n    ".join(message.splitlines()[-8:]))
    print("\nbuilt (Keras's own: through regularizers.get and files that name Keras's class):")
    for name, (ours, theirs) in sorted(built.items()):
        print(f"    {name:24} ours {ours:6}   Keras's {theirs:6}")
    sys.exit(1 if failures or not any(ours for ours, _ in built.values()) else 0)


def print_row(name, numbers):
    keras, ours, left_out, failed = numbers
    print(f"{name:48} {keras:6} {ours:6} {left_out:9} {failed:7}", flush=True)


if __name__ == "__main__":
    main()
