"""Train a recipe: python -m scripts.train RECIPE, or --list (with a RECIPE: that one in full)."""

import contextlib
import csv
import difflib
import pathlib
import shutil
import sys

from scripts.data import damage
from scripts.recipes import RECIPES, listing
from scripts.training import command_line, run_folder
from scripts.training.distributed import STRATEGIES

COMMANDS = ("recipe", "list", "output", "overwrite", "resume")  # the other options are settings
FROM_RECIPE = ("epochs", "batch_size", "learning_rate", "l1", "l2", "dropout")
DEFAULTS = {
    "seed": 0,
    "layers": "custom",
    "strategy": "none",
    "tensorboard": False,
    "data_dir": None,
    "download_dir": None,
}


def parse(arguments):
    parser = command_line.Parser(prog="python -m scripts.train", description=__doc__)
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="see --list")
    parser.add_argument("--list", action="store_true", help="print the recipes, or one")
    parser.add_argument("--data", metavar="NAME", help="of another data set, such as --list tells")
    parser.add_argument("--epochs", type=command_line.count)
    parser.add_argument("--batch-size", type=command_line.count)
    parser.add_argument("--learning-rate", type=command_line.rate, help="at the start")
    parser.add_argument(
        "--l1", type=command_line.factor, help="penalty on |weights| of the kernels"
    )
    parser.add_argument("--l2", type=command_line.factor, help="penalty on squared weights")
    parser.add_argument(
        "--dropout", type=command_line.fraction, help="fraction of features dropped"
    )
    parser.add_argument("--seed", type=command_line.seed, help="of everything random")
    parser.add_argument("--output", help="run folder (default: runs/RECIPE/[NAME-]SEED)")
    parser.add_argument("--overwrite", action="store_true", help="replace that run folder")
    parser.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    parser.add_argument("--strategy", choices=STRATEGIES, help="devices or machines to train on")
    parser.add_argument(
        "--tensorboard", action="store_true", default=None, help="write TensorBoard's logs too"
    )
    parser.add_argument("--data-dir", help="prepared data (default: ~/tensorflow_datasets)")
    parser.add_argument("--download-dir", help="files as downloaded (default: below --data-dir)")
    parser.add_argument("--layers", choices=("custom", "keras"), help="whose layers to use")
    options = parser.parse_args(arguments)
    if options.recipe is None and not options.list:
        parser.error("name a RECIPE, or see --list")
    return options


def find(name):
    """The recipe of that name, or an error that names the nearest ones."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 3, 0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "see --list"
        raise command_line.InputError(f"there is no recipe {name}: {hint}")
    return RECIPES[name]


def load_data(recipe, settings):
    """The data of a recipe, or an error that also names the recipes that need no network."""
    try:
        return recipe.data(
            settings.get("data"),
            batch_size=settings["batch_size"],
            seed=settings["seed"],
            data_dir=settings["data_dir"],
            download_dir=settings["download_dir"],
        )
    except command_line.InputError as error:
        offline = ", ".join(name for name, other in RECIPES.items() if other.offline)
        raise command_line.InputError(f"{error}. Without a network: {offline}") from error


def train(name, settings, folder):
    """Train a recipe and write its run into an existing folder.

    Returns:
        What `metrics.json` holds, or None in a worker that is not the chief.
    """
    from scripts.training import distributed

    recipe, strategy = find(name), distributed.make_strategy(settings["strategy"])
    import keras

    from scripts.training.fit import fit

    about = {"versions": run_folder.versions(), "device": run_folder.device()}
    run_folder.write_json(folder / "recipe.json", {"recipe": name, "settings": settings, **about})
    keras.utils.set_random_seed(settings["seed"])
    data = load_data(recipe, settings)
    keras.utils.set_random_seed(settings["seed"])  # preparing data for the first time drew numbers
    if settings["strategy"] != "none" and distributed.task()[0] == 0:
        print(
            f"{strategy.num_replicas_in_sync} replicas, global batch {settings['batch_size']}, "
            f"learning rate {settings['learning_rate']}"
        )
    with distributed.lost_worker_ends_process():
        trained = fit(recipe, data, settings, folder, strategy)
        metrics = None
        if distributed.task()[0] == 0:
            metrics = write_run(name, recipe, data, settings, trained, folder)
        distributed.wait_for_all(strategy)
    return metrics


def write_run(name, recipe, data, settings, trained, folder):
    """Measure the trained model, and write it with its figures and pictures."""
    from scripts.export import formats
    from scripts.tasks import plots

    model, history, baseline = trained.model, trained.history, recipe.baseline(data)
    metrics = {
        "test": {
            **model.evaluate(data.test, return_dict=True, verbose=0),
            **recipe.measure(model, data),
        },
        "validation": model.evaluate(data.validation, return_dict=True, verbose=0),
        "baseline": {"name": baseline[0], recipe.figure: baseline[1]},
        "best_epoch": trained.best_epoch,
        "parameters": model.count_params(),
        "seconds": round(trained.seconds, 2),
    }
    pictures = recipe.pictures(model, data)
    title = f"{name} ({data.name}), seed {settings['seed']}"
    # A figure that is only measured at the end has no curve: what is logged in its place has.
    logged = [name for name in history if name != "loss" and f"val_{name}" in history]
    drawn = recipe.figure if f"val_{recipe.figure}" in history else (logged or ["loss"])[0]
    pictures["curves.png"] = plots.curves(
        history, trained.best_epoch - 1, drawn, title, baseline if drawn == recipe.figure else None
    )
    for file, text in recipe.files(data).items():
        (folder / file).write_text(text, encoding="utf-8")
    for file, picture in pictures.items():
        picture.savefig(folder / file, dpi=120)
    write_history(folder / "history.csv", history)
    model.save(folder / "model.keras")
    formats.write(model, folder / "saved_model")
    run_folder.write_json(folder / "metrics.json", metrics)
    return metrics


def write_history(path, history):
    """One line an epoch, every digit."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["epoch", *history])
        lines.writerows([i, *row] for i, row in enumerate(zip(*history.values(), strict=True), 1))


@contextlib.contextmanager
def open_run(folder, options, name, settings, given):
    """The unfinished run's folder and its settings, of a new run or of one to go on with."""
    from scripts.training import distributed

    again = f"python -m scripts.train {name} --resume {folder}"
    index, _ = distributed.task()
    if index:  # only the chief writes the run; the others keep checkpoints
        folder = folder.parent / f"{folder.name}-worker-{index}"
    lost = settings["strategy"] == "multiworker" and not run_folder.unfinished(folder).exists()
    if options.resume and not lost:
        opened = run_folder.resumed_run(folder)
        settings = run_folder.resumed_settings(folder, name, given)
    else:  # a new run, or a worker whose disk was lost
        opened = run_folder.new_run(folder, options.overwrite)
    try:
        with opened as partial:
            yield partial, settings
    except KeyboardInterrupt:
        print(f"interrupted; to go on: {again}", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        raise command_line.InputError(f"{error}; to go on when that is mended: {again}") from error


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
        name, recipe = options.recipe, find(options.recipe)
        given = {
            key: value
            for key, value in vars(options).items()
            if key not in COMMANDS and value is not None
        }
        settings = {key: getattr(recipe, key) for key in FROM_RECIPE} | DEFAULTS
        settings |= {"data": recipe.data.name} | given
        prefix = f"{options.data.replace('/', '-')}-" if options.data else ""
        folder = options.resume or options.output or f"runs/{name}/{prefix}{settings['seed']}"
        run = open_run(pathlib.Path(folder), options, name, settings, given)
        with run as (partial, settings), damage.told_by_file():
            metrics = train(name, settings, partial)
        if metrics is None:
            return
        figure, rival = metrics["test"][recipe.figure], metrics["baseline"]
        print(
            f"{folder}: test {recipe.figure} {figure:.4f} "
            f"({rival['name']}: {rival[recipe.figure]:.4f}), {metrics['seconds']:.0f} s of training"
        )


if __name__ == "__main__":
    main()
