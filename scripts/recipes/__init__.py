"""The recipes: what is trained on what, and what is measured.

A recipe is one entry of RECIPES. Its functions import what they need when called: TensorFlow takes
seconds to import, and neither the table of recipes nor a misspelled name should wait for it.
"""

import difflib
import importlib

from scripts.recipes.graphs import GRAPH_RECIPES
from scripts.recipes.image_classes import IMAGE_CLASSES
from scripts.recipes.image_tasks import IMAGE_TASKS
from scripts.recipes.series_and_tables import NUMBER_RECIPES
from scripts.recipes.texts import TEXT_RECIPES
from scripts.training.command_line import InputError, MissingData

RECIPES = {**IMAGE_CLASSES, **IMAGE_TASKS, **NUMBER_RECIPES, **TEXT_RECIPES, **GRAPH_RECIPES}


def find(name):
    """The recipe of that name, or an error that names the nearest ones."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 3, 0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "see --list"
        raise InputError(f"there is no recipe {name}: {hint}")
    return RECIPES[name]


def load_data(recipe, settings, like=None):
    """The data of a recipe, or an error that also names the recipes that need no network."""
    if settings.import_module is not None:
        try:
            importlib.import_module(settings.import_module)
        except ImportError as error:
            raise InputError(f"--import {settings.import_module}: {error}") from error
    try:
        return recipe.data(
            settings.data,
            batch_size=settings.batch_size,
            seed=settings.seed,
            data_dir=settings.data_dir,
            download_dir=settings.download_dir,
            label=settings.label,
            image_size=settings.image_size,
            skip_broken=settings.skip_broken,
            like=like,
        )
    except MissingData as error:
        offline = ", ".join(name for name, other in RECIPES.items() if other.offline)
        raise InputError(f"{error}. Without a network: {offline}") from error
