"""check_layer: hold any Keras layer to everything that a layer promises."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras

from custom_layers.checks.conduct import (
    determinism,
    inference_keeps_state,
    training_step,
    weights_in_build,
)
from custom_layers.checks.derivatives import autodiff_agrees, gradient, second_derivative
from custom_layers.checks.formats import compiled, precision
from custom_layers.checks.masks import masks
from custom_layers.checks.report import Broken, CannotCheck, DoesNotApply, Finding, Report, one_line
from custom_layers.checks.saving import (
    config,
    copies,
    keras_file,
    replicas,
    saved_model,
    weights_file,
)
from custom_layers.checks.shapes import batch_of_one, empty_batch, shapes, unknown_sizes
from custom_layers.checks.subject import Subject
from custom_layers.checks.twin import twin

# Every promise: a function of a Subject, told by its name and by the first line of its docstring.
ALL = (
    shapes,
    gradient,
    second_derivative,
    autodiff_agrees,
    compiled,
    precision,
    unknown_sizes,
    batch_of_one,
    masks,
    config,
    weights_in_build,
    inference_keeps_state,
    determinism,
    training_step,
    weights_file,
    keras_file,
    copies,
    saved_model,
    replicas,
    twin,
    empty_batch,
)


def check_layer(
    layer: keras.layers.Layer | Callable,
    inputs: Any,
    *,
    twin: type | None = None,
    promises: Sequence[str | Callable] = ALL,
    seed: int = 0,
    **call,
) -> Report:
    """Hold a Keras layer to its promises.

    Args:
        layer: a layer, or a function without arguments that makes one, such as
            `lambda: MyLayer(3)`. It is made many times, under several dtype policies: leave its
            `dtype` to the policy. Keras, NumPy and TensorFlow are seeded.
        inputs: what it is called with: arrays or a structure of them, the batch first.
        twin: a layer class for which it drops in, made from the same config.
        promises: those to prove, functions of `ALL` or their names.
        seed: of weights, directions and random numbers.
        **call: further arguments of the call, such as `training=True` or `mask=...`. Arrays among
            them are inputs too.

    Returns:
        A `Report`: print it, or `report.raise_if_broken()` in a test.

    Raises:
        CannotCheck: the layer cannot be made or called, or there is no such promise.
    """
    promises = [_promise(promise) for promise in promises]
    subject = Subject(layer, inputs, call, twin, seed)
    findings = tuple(prove(promise, subject) for promise in promises)
    return Report(subject.name, tuple(subject.notes()), findings)


def prove(promise, subject):
    """What becomes of one promise of a layer: a `Finding`."""
    try:
        held = promise(subject)
    except DoesNotApply as reason:
        return Finding(promise.__name__, "does not apply", note=str(reason))
    except Broken as broken:
        return Finding(
            promise.__name__,
            "broken",
            broken.error,
            str(broken),
            broken.expected,
            broken.got,
            broken.entry,
            broken.cause,
        )
    except Exception as error:
        return Finding(promise.__name__, "broken", note=f"raised {one_line(error)}")
    return Finding(promise.__name__, "held", **dataclasses.asdict(held))


def _promise(promise):
    if callable(promise):
        return promise
    found = [function for function in ALL if function.__name__ == promise]
    if not found:
        names = ", ".join(function.__name__ for function in ALL)
        raise CannotCheck(f"there is no promise {promise!r}; there are {names}")
    return found[0]
