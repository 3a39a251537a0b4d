"""The recipes as a table that fits the terminal, and one recipe in full."""

import dataclasses
import itertools
import textwrap

from scripts.recipes import RECIPES

HEAD = ("recipe", "task", "layers on show", "offline data", "tfds data", "figure of merit")
GAP = "  "
SETTINGS = ("epochs", "batch_size", "learning_rate", "dropout", "l1", "l2")


def table(width):
    """All recipes; `*` marks the data set that is taken unless --data names another one."""
    rows = [HEAD, *(row(name, recipe) for name, recipe in RECIPES.items())]
    widths = fitted(rows, width - len(GAP) * (len(HEAD) - 1))
    lines = []
    for cells in rows:
        wrapped = [textwrap.wrap(cell, size) for cell, size in zip(cells, widths, strict=True)]
        for parts in itertools.zip_longest(*wrapped, fillvalue=""):
            padded = [part.ljust(size) for part, size in zip(parts, widths, strict=True)]
            lines.append(GAP.join(padded).rstrip())
    return "\n".join(lines)


def row(name, recipe):
    sets = [
        ", ".join(f"{other}*" if other == recipe.data.name else other for other in names) or "-"
        for names in (recipe.data.offline, recipe.data.tfds)
    ]
    return name, recipe.task, ", ".join(recipe.shows), *sets, merit(recipe)


def merit(recipe):
    side = "below" if recipe.better == "min" else "above"
    return f"{recipe.figure}, {side} {recipe.rival}"


def fitted(rows, room):
    """Widths of the columns: of those beside the first, the widest give way until all fit."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) > room and max(widths[1:]) > 1:
        widths[widths.index(max(widths[1:]), 1)] -= 1
    return widths


def describe(name, width):
    """A recipe: what it is about, its data, its figure, its settings."""
    recipe = RECIPES[name]
    fields = dict(zip(HEAD, row(name, recipe), strict=True))
    values = dataclasses.asdict(recipe)
    fields["about"] = recipe.about
    fields["settings"] = ", ".join(f"{key} {values[key]}" for key in SETTINGS)
    indent = GAP + " " * max(map(len, fields))
    return "\n".join(
        textwrap.fill(value, width, initial_indent=key.ljust(len(indent)), subsequent_indent=indent)
        for key, value in fields.items()
    )
