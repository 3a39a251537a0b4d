"""The promise about masks: taken, passed on, and what they mask has no influence."""

import inspect

import numpy as np
import tensorflow as tf

from custom_layers.checks.function import is_float
from custom_layers.checks.report import Broken, DoesNotApply, Held, compare_float32
from custom_layers.checks.subject import flat_arrays


def masks(subject):
    """A mask is passed on, and what it masks changes neither outputs nor gradients that count.

    Tried with inputs `(B, T, ...)` of rank 3, each with a mask `(B, T)` that leaves out a step at
    the end and one in the middle. Where the layer passes the mask on, outputs count where it is
    True; otherwise all do.
    """
    layer = subject.layer()
    takes = "mask" in inspect.signature(layer.call).parameters
    if not (takes or layer.supports_masking):
        raise DoesNotApply("the layer does not support masks")
    inputs = tf.nest.flatten(subject.inputs)
    if "mask" in subject.call:
        mask = np.asarray(subject.call["mask"], bool)
    elif all(len(np.shape(x)) == 3 and is_float(x) and len(x) for x in inputs):
        mask = _mask(inputs[0].shape[:2])
    else:
        raise DoesNotApply("no inputs of shape (B, T, features); give a mask to try another one")
    if any(x.shape[: mask.ndim] != mask.shape for x in inputs):
        raise DoesNotApply("the inputs differ in batch size or length")

    full, passed = _call(subject, layer, inputs, np.ones_like(mask))
    plain = flat_arrays(_plain(subject, layer, inputs))
    worst = 0.0
    for i, (got, expected) in enumerate(zip(full, plain, strict=True)):
        worst = max(
            worst,
            compare_float32(f"output {i} under a mask that is True everywhere", got, expected),
        )
    masked, passed = _call(subject, layer, inputs, mask)
    others = [np.where(_broad(mask, x), x, 3 - 2 * x).astype(x.dtype) for x in inputs]
    changed, _ = _call(subject, layer, others, mask)
    for i, (got, expected, on) in enumerate(zip(changed, masked, passed, strict=True)):
        counts = np.ones(expected.shape, bool)
        if on is not None:
            if on.shape != expected.shape[: on.ndim]:
                raise Broken(
                    f"mask of output {i}: wrong shape", expected=expected.shape[:2], got=on.shape
                )
            if on.shape == mask.shape and (on != mask).any() and layer.supports_masking:
                _must_be_passed_on(i, on, mask)
            counts = np.broadcast_to(_broad(on, expected), expected.shape)
        what = f"output {i} where the masked entries of the inputs change"
        try:
            worst = max(worst, compare_float32(what, got[counts], expected[counts]))
        except Broken as broken:
            broken.cause = "masked entries have influence, or the mask is taken the wrong way round"
            broken.entry = None
            raise
    _valid_entries_count(subject, layer, inputs, mask, masked)
    return Held(worst, "" if any(on is not None for on in passed) else "the mask ends here")


def _must_be_passed_on(i, on, mask):
    raise Broken(
        f"mask of output {i}: it is not the one that came in",
        expected=mask.astype(int).tolist(),
        got=on.astype(int).tolist(),
        cause="the mask is inverted" if (on == ~mask).all() else None,
    )


def _valid_entries_count(subject, layer, inputs, mask, masked):
    others = [np.where(_broad(mask, x), 3 - 2 * x, x).astype(x.dtype) for x in inputs]
    changed, _ = _call(subject, layer, others, mask)
    if all(np.array_equal(a, b) for a, b in zip(changed, masked, strict=True)):
        raise Broken(
            "entries that the mask leaves have no influence on any output",
            cause="the mask is taken the wrong way round",
        )


def _mask(shape):
    """A mask (B, T) that leaves out the last step of even entries, the second of odd ones."""
    mask = np.ones(shape, bool)
    if shape[1] > 1:
        mask[::2, -1] = False
    if shape[1] > 3:
        mask[1::2, 1] = False
    return mask


def _broad(mask, x):
    return mask.reshape(mask.shape + (1,) * (np.ndim(x) - mask.ndim))


def _plain(subject, layer, inputs):
    packed = tf.nest.pack_sequence_as(subject.inputs, [tf.convert_to_tensor(x) for x in inputs])
    call = {k: v for k, v in subject.arguments("float32")[1].items() if k != "mask"}
    return layer(packed, **{"training": False, **call})


def _call(subject, layer, inputs, mask):
    """(outputs, the masks that Keras attaches to them) of inputs that carry a mask."""
    tensors = [tf.convert_to_tensor(x) for x in inputs]
    for x in tensors:
        x._keras_mask = tf.convert_to_tensor(mask)
    outputs = tf.nest.flatten(_plain(subject, layer, tensors))
    passed = [getattr(y, "_keras_mask", None) for y in outputs]
    passed = [None if on is None else np.asarray(on) for on in passed]
    return [np.asarray(y) for y in outputs], passed
