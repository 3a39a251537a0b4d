"""The recipes as a table that fits the terminal, and one recipe in full."""

import dataclasses
import textwrap

from rich.console import Console
from rich.table import Table

from scripts.recipes import RECIPES
from scripts.settings import Hyperparameters

HEAD = ("recipe", "task", "data sets", "layers on show", "figure of merit")
GAP = 2  # spaces right of each cell
LEGEND = "* is used unless --data names another one; + needs no network"


def table(width):
    """All recipes, in as many of the columns as `width` has room for without breaking a name."""
    rows = [HEAD, *(row(name, recipe) for name, recipe in RECIPES.items())]
    columns = list(zip(*rows, strict=True))
    least = [max(len(word) for cell in column for word in cell.split()) for column in columns]
    least[0] = max(map(len, columns[0]))
    shown = len(HEAD)
    while shown > 1 and sum(least[:shown]) + GAP * (shown - 1) > width:
        shown -= 1
    spare = width - sum(least[:shown]) - GAP * (shown - 1)
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for column, narrow in zip(columns[:shown], least, strict=False):
        more = min(max(spare, 0), max(map(len, column)) - narrow)
        grid.add_column(width=narrow + more, overflow="fold")
        spare -= more
    for cells in rows:
        grid.add_row(*cells[:shown])
    rest = f"--list RECIPE tells its settings{''.join(f', {name}' for name in HEAD[shown:])}"
    foot = (textwrap.fill(line, width) for line in (LEGEND, rest))
    return "\n".join([text(grid, width), "", *foot])


def row(name, recipe):
    sets = ", ".join(
        f"{other}{'*' * (other == recipe.data.name)}{'+' * (other in recipe.data.offline)}"
        for other in recipe.data.offline | recipe.data.tfds
    )
    side = "below" if recipe.better == "min" else "above"
    merit = f"{recipe.figure}, {side} {recipe.rival}"
    return name, recipe.task, sets, ", ".join(recipe.shows), merit


def describe(name, width):
    """A recipe: what it is about, its data, its figure, its settings."""
    recipe = RECIPES[name]
    settings = [f"{f.name} {getattr(recipe, f.name)}" for f in dataclasses.fields(Hyperparameters)]
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for cells in zip(HEAD, row(name, recipe), strict=True):
        grid.add_row(*cells)
    grid.add_row("about", recipe.about)
    grid.add_row("settings", ", ".join(settings))
    return "\n".join([text(grid, width), "", textwrap.fill(LEGEND, width)])


def text(grid, width):
    console = Console(width=width, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
