"""start: a run from its command to its end; TensorFlow is imported once the folder is there."""

from scripts.recipes import find
from scripts.settings import of_recipe
from scripts.training import command_line, run_folder


def run(name, given, folder, *, resume=False, overwrite=False):
    """Train a recipe into a run folder, which is there when all went well.

    Args:
        name: of the recipe.
        given: `{name: value}` of the settings that differ from the recipe's.
        folder: of the run.
        resume: continue an interrupted run.
        overwrite: replace an older run.

    Returns:
        What `metrics.json` holds, or None in a worker that is not the chief.
    """
    settings = of_recipe(find(name), **given)
    opened = run_folder.open_run(folder, name, settings, given, resume, overwrite)
    with command_line.ended_by_signals(), opened as (partial, settings):
        from scripts.data.prepare import damaged_files_named
        from scripts.training import fit

        with damaged_files_named():
            return fit.train(name, settings, partial)
