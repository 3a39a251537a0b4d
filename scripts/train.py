"""Train a recipe: python -m scripts.train RECIPE, or --list."""

import csv
import difflib
import pathlib
import sys
import time

from scripts import command, runs
from scripts.recipes import RECIPES, table

SETTINGS = ("epochs", "batch_size", "learning_rate", "l1", "l2", "dropout")  # a recipe has them


def parse(arguments):
    parser = command.Parser(prog="python -m scripts.train", description=__doc__)
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="see --list")
    parser.add_argument("--list", action="store_true", help="print the recipes")
    parser.add_argument("--epochs", type=command.count)
    parser.add_argument("--batch-size", type=command.count)
    parser.add_argument("--learning-rate", type=command.rate, help="at the start; it falls to 0")
    parser.add_argument("--l1", type=command.factor, help="penalty on |weights| of the kernels")
    parser.add_argument("--l2", type=command.factor, help="penalty on squared weights")
    parser.add_argument("--dropout", type=command.fraction, help="fraction of features dropped")
    parser.add_argument("--seed", type=command.seed, default=0, help="of everything random")
    parser.add_argument("--output", help="run folder (default: runs/RECIPE/SEED)")
    parser.add_argument("--overwrite", action="store_true", help="replace that run folder")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard's logs too")
    parser.add_argument("--data-dir", help="prepared data (default: ~/tensorflow_datasets)")
    parser.add_argument("--download-dir", help="files as downloaded (default: below --data-dir)")
    parser.add_argument(
        "--layers", choices=("custom", "keras"), default="custom", help="whose layers to use"
    )
    options = parser.parse_args(arguments)
    if options.recipe is None and not options.list:
        parser.error("name a RECIPE, or see --list")
    return options


def find(name):
    """The recipe of that name, or an error that names the nearest ones."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 3, 0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "see --list"
        raise command.InputError(f"there is no recipe {name}: {hint}")
    return RECIPES[name]


def load_data(recipe, settings):
    """The data of a recipe, or an error that also names the recipes that need no network."""
    try:
        return recipe.data(
            batch_size=settings["batch_size"],
            seed=settings["seed"],
            data_dir=settings["data_dir"],
            download_dir=settings["download_dir"],
        )
    except command.InputError as error:
        offline = ", ".join(name for name, other in RECIPES.items() if other.offline)
        raise command.InputError(f"{error}. Without a network: {offline}") from error


def train(name, settings, folder):
    """Train a recipe and write its run into an existing folder.

    Returns:
        What `metrics.json` holds.
    """
    import keras
    import numpy as np

    import custom_layers
    from scripts import plots
    from scripts.export import export

    recipe = find(name)
    keras.utils.set_random_seed(settings["seed"])
    data = load_data(recipe, settings)
    keras.utils.set_random_seed(settings["seed"])  # preparing data for the first time drew numbers
    layers = {"custom": custom_layers, "keras": keras.layers}[settings["layers"]]
    model = recipe.model(
        data, dropout=settings["dropout"], l1=settings["l1"], l2=settings["l2"], layers=layers
    )
    epochs = settings["epochs"]
    falling = keras.optimizers.schedules.CosineDecay(
        settings["learning_rate"], epochs * int(data.train.cardinality())
    )
    objective = {"loss": recipe.loss, "metrics": list(recipe.metrics), **recipe.objective(data)}
    model.compile(keras.optimizers.Adam(falling), **objective)
    keep_best = keras.callbacks.EarlyStopping(
        recipe.select, mode=recipe.mode, patience=epochs, restore_best_weights=True
    )
    callbacks = [  # the recipe's first: the others see what these log
        *recipe.callbacks(data, folder),
        keep_best,
        keras.callbacks.TerminateOnNaN(),
    ]
    if settings.get("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
    start = time.perf_counter()
    history = model.fit(
        data.train,
        validation_data=data.validation,
        epochs=epochs,
        shuffle=False,  # the pipeline does it
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    seconds = time.perf_counter() - start
    if not np.isfinite(history["loss"]).all():
        raise command.InputError(
            f"the loss was no longer finite in epoch {len(history['loss'])}: "
            f"lower --learning-rate, which was {settings['learning_rate']}"
        )

    baseline = recipe.baseline(data)
    metrics = {
        "test": {
            **model.evaluate(data.test, return_dict=True, verbose=0),
            **recipe.measure(model, data),
        },
        "validation": model.evaluate(data.validation, return_dict=True, verbose=0),
        "baseline": {"name": baseline[0], recipe.figure: baseline[1]},
        "best_epoch": keep_best.best_epoch + 1,
        "parameters": model.count_params(),
        "seconds": round(seconds, 2),
    }
    pictures = recipe.pictures(model, data)
    title = f"{name}, seed {settings['seed']}"
    # A figure that is only measured at the end has no curve: what is logged in its place has.
    logged = [name for name in history if name != "loss" and f"val_{name}" in history]
    drawn = recipe.figure if recipe.figure in logged else (logged or ["loss"])[0]
    pictures["curves.png"] = plots.curves(
        history, keep_best.best_epoch, drawn, title, baseline if drawn == recipe.figure else None
    )
    for file, text in recipe.files(data).items():
        (folder / file).write_text(text, encoding="utf-8")
    for file, picture in pictures.items():
        picture.savefig(folder / file, dpi=120)
    write_history(folder / "history.csv", history)
    model.save(folder / "model.keras")
    export(model, folder / "saved_model")
    runs.write_json(folder / "metrics.json", metrics)
    about = {"versions": runs.versions(), "device": runs.device()}
    runs.write_json(folder / "recipe.json", {"recipe": name, "settings": settings, **about})
    return metrics


def write_history(path, history):
    """One line an epoch, every digit."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["epoch", *history])
        lines.writerows([i, *row] for i, row in enumerate(zip(*history.values(), strict=True), 1))


def main(arguments=None):
    with command.one_line_errors():
        options = parse(arguments)
        if options.list:
            print(table())
            return
        name, recipe = options.recipe, find(options.recipe)
        settings = {key: getattr(recipe, key) for key in SETTINGS}
        for key, value in vars(options).items():
            if key not in ("recipe", "list", "output", "overwrite") and value is not None:
                settings[key] = value
        settings = {"data_dir": None, "download_dir": None, **settings}
        folder = pathlib.Path(options.output or f"runs/{name}/{options.seed}")
        with runs.new_run(folder, options.overwrite) as partial:
            metrics = train(name, settings, partial)
        figure, rival = metrics["test"][recipe.figure], metrics["baseline"]
        print(
            f"{folder}: test {recipe.figure} {figure:.4f} "
            f"({rival['name']}: {rival[recipe.figure]:.4f}), {metrics['seconds']:.0f} s of training"
        )


if __name__ == "__main__":
    main()
