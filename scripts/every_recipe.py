"""Train every recipe that needs no network, and check that it beats its baseline:

    python -m scripts.every_recipe

For as many epochs as that takes, or for all with --full. Further arguments go to scripts.train.
"""

import pathlib
import sys

from scripts.recipes import RECIPES
from scripts.training import command_line
from scripts.training.run_folder import trained_in_a_process


def run(name, folder, arguments):
    """Train a recipe. Returns its line, and whether it beats its baseline."""
    try:
        metrics = trained_in_a_process(name, folder, arguments)
    except command_line.InputError as error:
        return str(error), False
    recipe, rival = RECIPES[name], metrics["baseline"]
    figure = metrics["test"][recipe.figure]
    better = recipe.beats(figure, rival[recipe.figure])
    return (
        f"{name}: {recipe.figure} {figure:.4f}, {rival['name']} {rival[recipe.figure]:.4f}, "
        f"{metrics['seconds']:.0f} s{'' if better else ': not better'}"
    ), better


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.every_recipe", description=__doc__)
    parser.add_argument("--output", default="runs/every", help="folder of the runs")
    parser.add_argument(
        "--full",
        action="store_true",
        help="train for all epochs (default: as many as it takes to beat the baseline)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=RECIPES,
        metavar="RECIPE",
        help="just these (default: all that need no network)",
    )
    options, others = parser.parse_known_args(arguments)  # the others are for scripts.train
    names = options.only or [name for name, recipe in RECIPES.items() if recipe.offline]
    worse = 0
    for name in names:
        epochs = None if options.full else RECIPES[name].short
        short = [] if epochs is None else ["--epochs", str(epochs)]
        line, good = run(name, pathlib.Path(options.output) / name, [*short, *others])
        print(line, flush=True)
        worse += not good
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
