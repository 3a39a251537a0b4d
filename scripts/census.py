"""Hold every layer of keras.layers and of custom_layers to its promises, and write docs/census.md:

    python -m scripts.census                        all rows
    python -m scripts.census --of keras Dense LSTM  some

Each row has a process of its own, so that a layer that ends its process does not end the census;
the promise that ended it is left out when the row is taken up again.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import signal
import sys
import tempfile
import warnings

# As most processors have it; TensorFlow decides by the processor.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from scripts.studies.census_findings import FINDINGS
from scripts.studies.census_rows import KERAS, OWN
from scripts.training import record

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "census.md"
RESULTS = pathlib.Path(__file__).parent / "results" / "census.csv"
COLUMNS = ["of", "row", "promise", "verdict", "note"]
LIBRARIES = ("keras", "custom_layers")


def rows(library):
    """The rows of a library, told by the name of the class with which a row begins."""
    if library == "keras":
        return KERAS
    names = dir(layers_of(library))
    return {name: row for name, row in {**KERAS, **OWN}.items() if name.split()[0] in names}


def layers_of(library):
    import keras

    import custom_layers

    return keras.layers if library == "keras" else custom_layers


def examine(library, name, left_out, file):
    """Prove a row, promise by promise, and write each finding as a line of JSON."""
    from custom_layers.checks.proof import ALL, prove
    from custom_layers.checks.report import CannotCheck
    from custom_layers.checks.subject import Subject

    make, inputs, call = rows(library)[name]
    namespace = layers_of(library)
    try:
        subject = Subject(lambda: make(namespace), inputs, call)
    except CannotCheck as error:
        print(json.dumps({"promise": "call", "verdict": "broken", "note": str(error)}), file=file)
        return
    for promise in ALL:
        if promise.__name__ not in left_out:
            print(json.dumps({"begun": promise.__name__}), file=file, flush=True)
            finding = dataclasses.asdict(prove(promise, subject))
            print(json.dumps(finding, default=str), file=file, flush=True)
    if "notes" not in left_out:
        print(json.dumps({"begun": "notes"}), file=file, flush=True)
        note = " ".join(subject.notes())
        print(json.dumps({"promise": "notes", "verdict": "told", "note": note}), file=file)


def examine_in_a_process(library, name):
    """The findings of a row; a promise at which its process ends is broken."""
    from custom_layers.checks import elsewhere

    findings = []
    while True:
        if elsewhere.start().poll() is not None:  # a row has ended it
            elsewhere.start.cache_clear()
            elsewhere.start()  # here: the processes of the rows inherit it
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "findings.jsonl")
            child = os.fork()
            if child == 0:
                try:
                    tempfile.tempdir = folder
                    done = [finding["promise"] for finding in findings]
                    with path.open("w", encoding="utf-8") as out:
                        examine(library, name, done, out)
                finally:
                    os._exit(0)
            _, status = os.waitpid(child, 0)
            lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        begun = [line["begun"] for line in lines if "begun" in line]
        found = [line for line in lines if "promise" in line]
        findings += found
        if not os.WIFSIGNALED(status):
            return findings
        name_of_signal = signal.Signals(os.WTERMSIG(status)).name
        note = f"ends the process ({name_of_signal})"
        findings.append({"promise": begun[-1], "verdict": "broken", "note": note})


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="ROW", help="rows, all if none is named")
    parser.add_argument("--of", choices=LIBRARIES, action="append", help="a library, both if none")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="where findings go")
    parser.add_argument("--page", type=pathlib.Path, default=PAGE, help="where the page goes")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if not options.names and not options.of:
        options.results.unlink(missing_ok=True)
    for library in options.of or LIBRARIES:
        for name in rows(library):
            if options.names and name not in options.names:
                continue
            findings = examine_in_a_process(library, name)
            for finding in findings:
                columns = [finding[column] for column in ("promise", "verdict", "note")]
                record.append_csv(options.results, COLUMNS, [library, name, *columns])
            broken = [f["promise"] for f in findings if f["verdict"] == "broken"]
            print(f"{library} {name}: {', '.join(broken) or 'holds'}", flush=True)
    options.page.write_text(page(record.read_csv(options.results)[0]), encoding="utf-8")
    return 0


def page(results):
    """docs/census.md: what breaks, how to see it in five lines, and the table of all rows."""
    verdicts = {}  # (library, row): {promise: verdict}; a row that was taken again is told anew
    for line in results:
        row = verdicts.setdefault((line["of"], line["row"]), {})
        row[line["promise"]] = line["verdict"]
    versions = record.versions()
    text = [
        "# A census of Keras's layers",
        "`python -m scripts.census` holds each layer to the promises of `custom_layers.checks`. "
        f"Keras {versions['keras']}, TensorFlow {versions['tensorflow']}, on a CPU with oneDNN.",
    ]
    for library in LIBRARIES:
        found = [row for (of, _), row in verdicts.items() if of == library]
        clean = [row for row in found if "broken" not in row.values()]
        text.append(f"`{library}`: {len(found)} rows, {len(clean)} hold all that applies to them.")
    text.append("## Findings\n\nEach was looked at by hand; the lines below it show it.")
    for finding in FINDINGS:
        code = finding.code.strip()
        text.append(f"### {finding.title}\n\n{finding.text}\n\n```python\n{code}\n```")
    text.append("## All rows")
    table = []
    for (library, name), row in verdicts.items():
        broken = [promise for promise, verdict in row.items() if verdict == "broken"]
        held = sum(verdict == "held" for verdict in row.values())
        table.append([library, name, held, ", ".join(broken) or "none"])
    text.append(record.markdown(["of", "row", "promises held", "broken"], table))
    return "\n\n".join(text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
