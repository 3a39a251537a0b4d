"""Train recipes with several seeds, with our layers and with Keras's, and compare their figures:

    python -m scripts.studies.seeds digits-convnet wine-mlp --seeds 3
    python -m scripts.studies.seeds cora-gcn --layers custom --seeds 20 --download-dir DOWNLOADS

Each run adds a row to a table, and no run that the table holds is repeated: an interrupted command
continues where it was. Further arguments go to scripts.train.
"""

import pathlib
import statistics
import tempfile

from scripts.recipes import RECIPES
from scripts.training import command_line, record
from scripts.training.run_folder import trained_in_a_process

COLUMNS = ["recipe", "epochs", "layers", "seed", "figure", "value", "baseline"]
LAYERS = ("custom", "keras")


def read(path):
    """The rows that a table holds; none if there is no table."""
    if not path.exists():
        return []
    rows, _ = record.read_csv(path)
    if rows and list(rows[0]) != COLUMNS:
        raise command_line.InputError(
            f"{path} is not a table of seeds: its first line should be {','.join(COLUMNS)}"
        )
    return rows


def measure(name, epochs, layers, seed, arguments):
    """The row of one run, which has a process and a folder of its own."""
    given = ["--layers", layers, "--seed", str(seed), "--epochs", str(epochs), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        metrics = trained_in_a_process(name, pathlib.Path(folder) / "run", given)
    figure = RECIPES[name].figure
    values = (f"{metrics[part][figure]:.6g}" for part in ("test", "baseline"))
    return [name, str(epochs), layers, str(seed), figure, *values]


def summary(rows):
    """Mean and standard deviation (of a sample) over the seeds, a line for each recipe."""
    lines = []
    for name, epochs in dict.fromkeys((row["recipe"], row["epochs"]) for row in rows):
        here = [row for row in rows if (row["recipe"], row["epochs"]) == (name, epochs)]
        cells = [
            spread([float(row["value"]) for row in here if row["layers"] == layers])
            for layers in LAYERS
        ]
        lines.append([f"`{name}`", epochs, here[0]["figure"], *cells, here[0]["baseline"]])
    return record.markdown(["recipe", "epochs", "figure", *LAYERS, "baseline"], lines)


def spread(values):
    if len(values) < 2:
        return ", ".join(f"{value:.4g}" for value in values)
    deviation = statistics.stdev(values)
    return f"{statistics.mean(values):.4g} ± {deviation:.2g} ({len(values)} seeds)"


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.studies.seeds", description=__doc__)
    parser.add_argument(
        "recipes", nargs="+", choices=RECIPES, metavar="RECIPE", help="what to train"
    )
    parser.add_argument("--seeds", type=command_line.count, default=3, help="how many, from 0 on")
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=LAYERS, help="whose layers")
    parser.add_argument(
        "--epochs",
        type=command_line.count,
        help="passes over the training data (default: the recipe's)",
    )
    parser.add_argument("--table", default="scripts/results/seeds.csv", help="the CSV file")
    options, others = parser.parse_known_args(arguments)  # the others are for scripts.train
    with command_line.one_line_errors():
        path = pathlib.Path(options.table)
        done = [list(row.values())[:4] for row in read(path)]
        for name in options.recipes:
            epochs = options.epochs or RECIPES[name].epochs
            for seed in range(options.seeds):
                for layers in options.layers:
                    if [name, str(epochs), layers, str(seed)] not in done:
                        row = measure(name, epochs, layers, seed, others)
                        record.append_csv(path, COLUMNS, row)
                        print(*row, flush=True)
        print(summary([row for row in read(path) if row["recipe"] in options.recipes]))


if __name__ == "__main__":
    main()
