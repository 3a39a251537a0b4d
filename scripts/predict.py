"""Ask a trained run about files: python -m scripts.predict RUN FILES...

Images; CSV files of tables, texts or a series; text files; JSON lines of graphs; `-` reads standard
input. Prints a table, or writes CSV with --output.
"""

import csv
import pathlib

from scripts.training import command_line, run_folder, untrusted
from scripts.training.command_line import InputError


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.predict", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a folder that scripts.train wrote")
    parser.add_argument("files", metavar="FILES", nargs="+", help="what to ask about")
    parser.add_argument("--column", help="of a CSV file of texts or a series (default: the only)")
    parser.add_argument("--output", help="a CSV file with all probabilities (default: print)")
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        run_folder.read_run(options.run)
        untrusted.check_model(pathlib.Path(options.run) / "model.keras")
        model = run_folder.load_model(options.run)
        head, rows = answers(model, options.files, options.column)
        if options.output:
            try:
                with open(options.output, "x", newline="", encoding="utf-8") as file:
                    csv.writer(file, lineterminator="\n").writerows([head, *rows])
            except OSError as error:
                raise InputError(
                    f"cannot write to {options.output} ({error.strerror}): --output names a new "
                    "file"
                ) from error
            print(f"{options.output}: {len(rows)} answers")
        else:
            print(
                table(head[:3], [row[:3] for row in rows]) if len(head) > 3 else table(head, rows)
            )


def answers(model, files, column=None):
    """The head and the rows of the answers of a model about files."""
    from scripts.data.own import asked

    names, inputs = asked.inputs_of(model, files, column)
    y = asked.run(model, inputs, len(names))
    classes = asked.classes_of(model)
    if classes is None:  # numbers: forecasts
        return ["of", *(f"ahead_{i + 1}" for i in range(y.shape[1]))], [
            [name, *(f"{value:g}" for value in row)] for name, row in zip(names, y, strict=True)
        ]
    rows = []
    for name, row in zip(names, y, strict=True):
        best = int(row.argmax())
        rows.append([name, classes[best], f"{row[best]:.4f}", *(f"{value:.6f}" for value in row)])
    return ["of", "class", "probability", *classes], rows


def table(head, rows):
    """Columns with blanks between them; what a terminal would obey is shown, not done."""
    cells = [[command_line.one_line(str(cell)) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    main()
