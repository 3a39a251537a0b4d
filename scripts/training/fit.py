"""fit: train the model of a recipe into a run folder, from the start or from a checkpoint."""

import dataclasses
import shutil
import sys

import keras
import numpy as np

import custom_layers
from models.whole import of_images, of_rows, with_names
from scripts.data.images import Images
from scripts.data.own.parts import told
from scripts.data.tables import Table
from scripts.export import formats
from scripts.recipes import find, load_data
from scripts.tasks import plots
from scripts.training import distributed, record
from scripts.training.checkpoint import Checkpoint, state_variables
from scripts.training.command_line import InputError

LAYERS = {"custom": custom_layers, "keras": keras.layers}


@dataclasses.dataclass(frozen=True)
class Trained:
    """model: with its best weights, compiled. best_epoch: counted from 1. seconds: of training."""

    model: keras.Model
    history: dict
    best_epoch: int
    seconds: float


def train(name, settings, folder):
    """Train a recipe and write its run into an existing folder. Returns what `metrics.json` holds,
    or None in a worker that is not the chief."""
    recipe, strategy = find(name), distributed.make_strategy(settings.strategy)
    about = {"versions": record.versions(), "device": record.device()}
    content = {"recipe": name, "settings": dataclasses.asdict(settings), **about}
    record.write_json(folder / "recipe.json", content)
    keras.utils.set_random_seed(settings.seed)
    data = load_data(recipe, settings)
    found = getattr(data, "found", None)
    if found is not None and distributed.task()[0] == 0:
        print(told(data.name, found), flush=True)
        record.write_json(folder / "recipe.json", {**content, "data": found})
    keras.utils.set_random_seed(settings.seed)  # preparing data for the first time drew numbers
    is_chief = distributed.task()[0] == 0
    if settings.strategy != "none" and is_chief:
        print(
            f"{strategy.num_replicas_in_sync} replicas, global batch {settings.batch_size}, "
            f"learning rate {settings.learning_rate}"
        )
    with distributed.lost_worker_ends_process():
        trained = fit(recipe, data, settings, folder, strategy)
        metrics = None
        if is_chief:
            title = f"{name} ({data.name}), seed {settings.seed}"
            metrics = write_run(recipe, data, trained, folder, title)
        distributed.wait_for_all(strategy)
    return metrics


def write_run(recipe, data, trained, folder, title):
    """Measure the trained model, and write it with its figures and pictures."""
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
    # A figure that is only measured at the end has no curve; something that is logged has one.
    logged = [name for name in history if name != "loss" and f"val_{name}" in history]
    drawn = recipe.figure if f"val_{recipe.figure}" in history else (logged or ["loss"])[0]
    pictures["curves.png"] = plots.curves(
        history, trained.best_epoch - 1, drawn, title, baseline if drawn == recipe.figure else None
    )
    for file, text in recipe.files(data).items():
        (folder / file).write_text(text, encoding="utf-8")
    for file, picture in pictures.items():
        picture.savefig(folder / file, dpi=120)
    epochs = range(1, len(history["loss"]) + 1)
    rows = zip(epochs, *history.values(), strict=True)
    record.write_csv(folder / "history.csv", ["epoch", *history], rows)
    model.save(folder / "model.keras")
    formats.write(model, folder / "saved_model")
    record.write_json(folder / "metrics.json", metrics)
    return metrics


def whole(model, data):
    """For the user's own files: the model with what belongs to it, so that it reads what is in
    them and names what it finds."""
    if getattr(data, "found", None) is None or not hasattr(data, "classes"):
        return model
    if isinstance(data, Images):
        return of_images(model, data.classes)
    if isinstance(data, Table):
        return of_rows(model, data.columns, data.classes)
    return with_names(model, data.classes)


def build(recipe, data, settings, steps):
    """The compiled model of a recipe."""
    penalty = {"dropout": settings.dropout, "l1": settings.l1, "l2": settings.l2}
    model = whole(recipe.model(data, **penalty, layers=LAYERS[settings.layers]), data)
    rate = settings.learning_rate
    if recipe.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    objective = {"loss": recipe.loss, "metrics": list(recipe.metrics), **recipe.objective(data)}
    # XLA cannot see the collective operations between workers.
    jit = "auto" if settings.strategy == "none" else False
    model.compile(keras.optimizers.Adam(rate, recipe.momentum), jit_compile=jit, **objective)
    return model


def fit(recipe, data, settings, folder, strategy):
    """Train, writing checkpoints into `folder`, and resume from what is there.

    The training data are read as one endless stream, in which a resumed training skips what it has
    seen: the order of an epoch depends on how many there were before it.
    """
    train, validation = data.train, data.validation
    if settings.strategy != "none":
        if not recipe.divisible:
            raise InputError(
                f"--strategy {settings.strategy}: a batch of this recipe is one graph, whose "
                "nodes cannot be divided among devices"
            )
        size = settings.batch_size
        train, validation = (distributed.shard(part, size) for part in (train, validation))
    steps = int(train.cardinality())
    if steps < 0:  # unknown after a filter
        steps = int(train.reduce(np.int64(0), lambda count, *_: count + 1))
    with strategy.scope():
        model = build(recipe, data, settings, steps)
    if settings.strategy != "none":
        if type(model).train_step is not keras.Model.train_step:
            raise InputError(
                f"--strategy {settings.strategy}: this recipe's model has a training step of "
                "its own, which is written for one device"
            )
        distributed.patch_keras_fit(model, strategy, train)

    epochs = settings.epochs
    keep_best = keras.callbacks.EarlyStopping(
        recipe.select,
        mode=recipe.mode,
        patience=recipe.patience or epochs,
        restore_best_weights=True,
    )
    checkpoint = Checkpoint(folder / "checkpoints", keep_best)
    done, content = distributed.furthest(strategy, *checkpoint.newest())
    if done > epochs or (done and "loss" not in checkpoint.columns(content)):
        raise InputError(
            f"the checkpoint in {checkpoint.folder} belongs to another run, after {done} epochs of "
            f"{epochs}: --overwrite starts again"
        )
    if done:
        checkpoint.restore(model, content)
        print(f"resuming after epoch {done} of {epochs}")
    callbacks = [  # the recipe's first: the others see what these log
        *recipe.callbacks(data, folder),
        keep_best,
        keras.callbacks.TerminateOnNaN(),
        checkpoint,
    ]
    if settings.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
    model.fit(
        train.repeat().skip(done * steps),
        steps_per_epoch=steps,
        validation_data=validation,
        epochs=epochs,
        initial_epoch=done,
        shuffle=False,  # the pipeline does it
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    history = checkpoint.history
    if not np.isfinite(history["loss"]).all():
        shutil.rmtree(checkpoint.folder, ignore_errors=True)  # there is nothing to continue from
        raise InputError(
            f"the loss was no longer finite in epoch {len(history['loss'])}: "
            f"lower --learning-rate, which was {settings.learning_rate}"
        )
    if settings.strategy != "none":  # what follows needs one device
        values = [variable.numpy() for variable in state_variables(model)]
        model = build(recipe, data, settings, steps)
        for variable, value in zip(state_variables(model), values, strict=True):
            variable.assign(value)
    return Trained(model, history, keep_best.best_epoch + 1, checkpoint.seconds)
