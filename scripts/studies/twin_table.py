"""Train recipes with our layers and with Keras's, over seeds, and set their figures side by side:

    python -m scripts.studies.twin_table digits-convnet wine-mlp --seeds 3

Each run adds a line to a table, and no run that the table holds is repeated: an interrupted command
goes on where it was. Further arguments go to scripts.train.
"""

import csv
import pathlib
import statistics
import tempfile

from scripts.recipes import RECIPES
from scripts.training import command_line
from scripts.training.run_folder import trained_in_a_process

COLUMNS = ("recipe", "epochs", "layers", "seed", "figure", "value", "baseline")
LAYERS = ("custom", "keras")


def read(path):
    """The rows that a table holds; none where there is no table."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise command_line.InputError(
                f"{path} is no table of twins: its first line should be {','.join(COLUMNS)}"
            )
        return list(rows)


def append(path, row):
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            table.writeheader()
        table.writerow(row)


def measure(name, epochs, layers, seed, arguments):
    """The row of one run, which is trained in a process and a folder of its own."""
    given = ["--layers", layers, "--seed", str(seed), "--epochs", str(epochs), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        metrics = trained_in_a_process(name, pathlib.Path(folder) / "run", given)
    figure = RECIPES[name].figure
    values = (name, epochs, layers, seed, figure, f"{metrics['test'][figure]:.6g}")
    values += (f"{metrics['baseline'][figure]:.6g}",)
    return dict(zip(COLUMNS, values, strict=True))


def markdown(rows):
    """Mean and standard deviation (of a sample) over the seeds, a line for each recipe."""
    lines = [
        "| recipe | epochs | figure | custom | keras | baseline |",
        "|---|---|---|---|---|---|",
    ]
    for name, epochs in dict.fromkeys((row["recipe"], row["epochs"]) for row in rows):
        here = [row for row in rows if (row["recipe"], row["epochs"]) == (name, epochs)]
        cells = [f"`{name}`", epochs, here[0]["figure"]]
        for layers in LAYERS:
            values = [float(row["value"]) for row in here if row["layers"] == layers]
            cells.append(spread(values))
        lines.append(f"| {' | '.join([*cells, here[0]['baseline']])} |")
    return "\n".join(lines)


def spread(values):
    if len(values) < 2:
        return ", ".join(f"{value:.4g}" for value in values)
    deviation = statistics.stdev(values)
    return f"{statistics.mean(values):.4g} ± {deviation:.2g} ({len(values)} seeds)"


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.studies.twin_table", description=__doc__)
    parser.add_argument("recipes", nargs="+", choices=RECIPES, metavar="RECIPE")
    parser.add_argument("--seeds", type=command_line.count, default=3, help="how many, from 0 on")
    parser.add_argument("--epochs", type=command_line.count, help="(default: the recipe's)")
    parser.add_argument("--table", default="scripts/results/twins.csv", help="the CSV file")
    options, others = parser.parse_known_args(arguments)  # the others are for scripts.train
    with command_line.one_line_errors():
        path = pathlib.Path(options.table)
        done = {tuple(row[key] for key in COLUMNS[:4]) for row in read(path)}
        for name in options.recipes:
            epochs = options.epochs or RECIPES[name].epochs
            for seed in range(options.seeds):
                for layers in LAYERS:
                    if (name, str(epochs), layers, str(seed)) not in done:
                        row = measure(name, epochs, layers, seed, others)
                        append(path, row)
                        print(*row.values(), flush=True)
        print(markdown([row for row in read(path) if row["recipe"] in options.recipes]))


if __name__ == "__main__":
    main()
