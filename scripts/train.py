"""Train a recipe: python -m scripts.train RECIPE, or --list (with a RECIPE: that one in full)."""

import re
import shutil

from scripts import settings
from scripts.recipes import find, listing
from scripts.training import command_line, distributed, start


def parse(arguments):
    parser = command_line.Parser(prog="python -m scripts.train", description=__doc__)
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="what to train; --list names them"
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the recipes, or what RECIPE is (default: train it)",
    )
    settings.add_options(parser)
    parser.add_argument("--output", help="run folder (default: runs/RECIPE/[DATA-]SEED)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the run in that folder (default: keep it, and say so)",
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="continue an interrupted run (default: begin a new one)"
    )
    options = parser.parse_args(arguments)
    if options.recipe is None and not options.list:
        parser.error("name a RECIPE, or see --list")
    return options


def main(arguments=None):
    with command_line.one_line_errors():
        options = parse(arguments)
        if options.list:
            width = shutil.get_terminal_size((160, 24)).columns
            if options.recipe is None:
                print(listing.table(width), flush=True)
            elif find(options.recipe):
                print(listing.describe(options.recipe, width))
            return
        recipe, given = find(options.recipe), settings.given(options)
        prefix = f"{re.sub('[^A-Za-z0-9.]+', '-', options.data)}-" if options.data else ""
        folder = f"runs/{options.recipe}/{prefix}{settings.of_recipe(recipe, **given).seed}"
        folder = options.resume or options.output or folder
        distributed.end_with_launcher()
        metrics = start.run(
            options.recipe,
            given,
            folder,
            resume=options.resume is not None,
            overwrite=options.overwrite,
        )
        if metrics is not None:
            figure, rival = metrics["test"][recipe.figure], metrics["baseline"]
            print(
                f"{folder}: test {recipe.figure} {figure:.4f} ({rival['name']}: "
                f"{rival[recipe.figure]:.4f}), {metrics['seconds']:.0f} s of training"
            )


if __name__ == "__main__":
    main()
