"""fit: train the model of a recipe, from the start or from a checkpoint, on one device or many."""

import dataclasses
import shutil
import sys

import keras
import numpy as np

import custom_layers
from scripts.training import command_line, distributed
from scripts.training.checkpoint import Checkpoint, state_variables

LAYERS = {"custom": custom_layers, "keras": keras.layers}


@dataclasses.dataclass(frozen=True)
class Trained:
    """model: with its best weights, compiled. best_epoch: counted from 1. seconds: of training."""

    model: keras.Model
    history: dict
    best_epoch: int
    seconds: float


def build(recipe, data, settings, steps):
    """The compiled model of a recipe."""
    model = recipe.model(
        data, **{k: settings[k] for k in ("dropout", "l1", "l2")}, layers=LAYERS[settings["layers"]]
    )
    rate = settings["learning_rate"]
    if recipe.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, settings["epochs"] * steps)
    objective = {"loss": recipe.loss, "metrics": list(recipe.metrics), **recipe.objective(data)}
    # XLA cannot see the collective operations between workers.
    jit = "auto" if settings["strategy"] == "none" else False
    model.compile(keras.optimizers.Adam(rate, recipe.momentum), jit_compile=jit, **objective)
    return model


def fit(recipe, data, settings, folder, strategy):
    """Train, writing checkpoints into `folder`, and resume from what is there.

    The training data are read as one endless stream, in which a resumed training skips what it has
    seen: the order of an epoch depends on how many there were before it.
    """
    train, validation = data.train, data.validation
    if settings["strategy"] != "none":
        if not recipe.divisible:
            raise command_line.InputError(
                f"--strategy {settings['strategy']}: a batch of this recipe is one graph, whose "
                "nodes cannot be divided among devices"
            )
        size = settings["batch_size"]
        train, validation = (distributed.shard(part, size) for part in (train, validation))
    steps = int(train.cardinality())
    if steps < 0:  # unknown after a filter
        steps = int(train.reduce(np.int64(0), lambda count, *_: count + 1))
    with strategy.scope():
        model = build(recipe, data, settings, steps)
    if settings["strategy"] != "none":
        if type(model).train_step is not keras.Model.train_step:
            raise command_line.InputError(
                f"--strategy {settings['strategy']}: this recipe's model has a training step of "
                "its own, which is written for one device"
            )
        distributed.mend_fit(model, strategy, train)

    epochs = settings["epochs"]
    keep_best = keras.callbacks.EarlyStopping(
        recipe.select,
        mode=recipe.mode,
        patience=recipe.patience or epochs,
        restore_best_weights=True,
    )
    checkpoint = Checkpoint(folder / "checkpoints", keep_best)
    done, content = distributed.furthest(strategy, *checkpoint.newest())
    if done > epochs or (done and "loss" not in checkpoint.columns(content)):
        raise command_line.InputError(
            f"the checkpoint in {checkpoint.folder} is of another run, after {done} epochs of "
            f"{epochs}: --overwrite begins anew"
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
    if settings.get("tensorboard"):
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
        shutil.rmtree(checkpoint.folder, ignore_errors=True)  # there is nothing to go on with
        raise command_line.InputError(
            f"the loss was no longer finite in epoch {len(history['loss'])}: "
            f"lower --learning-rate, which was {settings['learning_rate']}"
        )
    if settings["strategy"] != "none":  # what follows needs one device
        values = [variable.numpy() for variable in state_variables(model)]
        model = build(recipe, data, settings, steps)
        for variable, value in zip(state_variables(model), values, strict=True):
            variable.assign(value)
    return Trained(model, history, keep_best.best_epoch + 1, checkpoint.seconds)
