"""The recipes as a table that fits the terminal, and one recipe in full."""

import dataclasses

from rich.console import Console
from rich.table import Table

from scripts.recipes import RECIPES
from scripts.settings import Hyperparameters

HEAD = ("recipe", "task", "layers on show", "offline data", "tfds data", "figure of merit")
GAP = (0, 2, 0, 0)  # blanks above, right of, below, left of each cell


def table(width):
    """All recipes; `*` marks the data set that is taken unless --data names another one."""
    grid = Table(box=None, padding=GAP, pad_edge=False)
    for name in HEAD:
        grid.add_column(name, no_wrap=name == "recipe", overflow="fold")
    for name, recipe in RECIPES.items():
        grid.add_row(*row(name, recipe))
    return text(grid, width)


def row(name, recipe):
    sets = [
        ", ".join(f"{other}*" if other == recipe.data.name else other for other in names) or "-"
        for names in (recipe.data.offline, recipe.data.tfds)
    ]
    side = "below" if recipe.better == "min" else "above"
    merit = f"{recipe.figure}, {side} {recipe.rival}"
    return name, recipe.task, ", ".join(recipe.shows), *sets, merit


def describe(name, width):
    """A recipe: what it is about, its data, its figure, its settings."""
    recipe = RECIPES[name]
    settings = [f"{f.name} {getattr(recipe, f.name)}" for f in dataclasses.fields(Hyperparameters)]
    grid = Table.grid(padding=GAP)
    for cells in zip(HEAD, row(name, recipe), strict=True):
        grid.add_row(*cells)
    grid.add_row("about", recipe.about)
    grid.add_row("settings", ", ".join(settings))
    return text(grid, width)


def text(grid, width):
    console = Console(width=width, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
