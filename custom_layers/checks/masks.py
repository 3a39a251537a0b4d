"""The promise about masks: taken, passed on, and what they mask has no influence."""

import inspect

import numpy as np
import tensorflow as tf

from custom_layers.checks.function import is_float
from custom_layers.checks.report import Broken, DoesNotApply, Held, compare, compare_float32
from custom_layers.private_apis import get_keras_mask, set_keras_mask


def masks(subject):
    """A mask is passed on, and what it masks changes neither outputs nor gradients that count.

    Tried with inputs `(B, T, features)` and a mask `(B, T)` that leaves out a step at the end
    or one in the middle. Where the layer passes the mask on, outputs count where it is True;
    otherwise all do.
    """
    layer = subject.layer()
    inputs = [np.asarray(x) for x in tf.nest.flatten(subject.inputs)]
    mask = _mask_of(subject, layer, inputs)
    plain, *_ = _call(subject, layer, inputs, None)
    full, *_ = _call(subject, layer, inputs, np.ones_like(mask))
    worst = 0.0
    for i, (got, expected) in enumerate(zip(full, plain, strict=True)):
        what = f"output {i} under a mask that is True everywhere"
        worst = max(worst, compare_float32(what, got, expected))

    masked, passed, slopes = _call(subject, layer, inputs, mask)
    for i, (y, on) in enumerate(zip(masked, passed, strict=True)):
        _passed_on(i, y, on, mask)
    changed, *_ = _call(subject, layer, _change(inputs, mask), mask)
    cause = "masked entries have influence, or the mask is taken the wrong way round"
    for i, (got, expected, on) in enumerate(zip(changed, masked, passed, strict=True)):
        counts = slice(None) if on is None else on
        what = f"output {i} where the masked entries of the inputs change"
        worst = max(worst, compare_float32(what, got[counts], expected[counts], cause))
    for i, slope in enumerate(slopes):
        what = f"gradient of the masked entries of input {i}"
        compare(what, slope[~mask], np.zeros_like(slope[~mask]), 0.0)
    changed, *_ = _call(subject, layer, _change(inputs, ~mask), mask)
    if all(np.array_equal(a, b) for a, b in zip(changed, masked, strict=True)):
        raise Broken("entries that the mask keeps have no influence on any output", cause=cause)
    return Held(worst, "" if any(on is not None for on in passed) else "the mask ends here")


def _mask_of(subject, layer, inputs):
    """A mask that the layer can be tried with; that of the call, if there is one."""
    takes = "mask" in inspect.signature(layer.call).parameters
    if not (takes or layer.supports_masking):
        raise DoesNotApply("the layer does not support masks")
    if subject.call.get("mask") is not None:
        mask = np.asarray(subject.call["mask"], bool)
    elif all(x.ndim == 3 and is_float(x) for x in inputs):
        mask = np.ones(inputs[0].shape[:2], bool)
        mask[::2, -1:] = mask.shape[1] < 2
        mask[1::2, 1:2] = mask.shape[1] < 3
    else:
        raise DoesNotApply("no inputs of shape (B, T, features); give a mask to try another one")
    if mask.all() or any(x.shape[: mask.ndim] != mask.shape for x in inputs):
        raise DoesNotApply("inputs of one step, or of different lengths")
    return mask


def _passed_on(i, y, on, mask):
    """Raise unless the mask of an output is none, or that which came in where its shape is."""
    if on is None:
        return
    if on.shape != y.shape[: on.ndim]:
        raise Broken(f"mask of output {i}: wrong shape", expected=y.shape[:2], got=on.shape)
    if on.shape == mask.shape and (on != mask).any():
        raise Broken(
            f"mask of output {i}: it is not the one that came in",
            expected=mask.astype(int).tolist(),
            got=on.astype(int).tolist(),
            cause="the mask is inverted" if (on == ~mask).all() else "the mask is lost",
        )


def _change(inputs, mask):
    """The inputs with other numbers where the mask is False."""
    return [
        np.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, 3 - 2 * x).astype(
            x.dtype
        )
        for x in inputs
    ]


def _call(subject, layer, inputs, mask):
    """(outputs, the masks that Keras attaches to them, gradients of what counts in them)."""
    tensors = [tf.convert_to_tensor(x) for x in inputs]
    for x in tensors:
        set_keras_mask(x, None if mask is None else tf.convert_to_tensor(mask))
    packed = tf.nest.pack_sequence_as(subject.inputs, tensors)
    call = {k: v for k, v in subject.arguments("float32")[1].items() if k != "mask"}
    with tf.GradientTape() as tape:
        tape.watch([x for x in tensors if is_float(x)])
        outputs = tf.nest.flatten(layer(packed, **{"training": False, **call}))
        passed = [get_keras_mask(y) for y in outputs]
        counted = [
            tf.sin(y if on is None else tf.boolean_mask(y, on))
            for y, on in zip(outputs, passed, strict=True)
            if is_float(y) and (on is None or on.shape == y.shape[: on.shape.rank])
        ]
        value = tf.add_n([tf.reduce_sum(y) for y in counted]) if counted else tf.constant(0.0)
    slopes = tape.gradient(value, tensors, unconnected_gradients="zero")
    passed = [None if on is None else np.asarray(on) for on in passed]
    return [np.asarray(y) for y in outputs], passed, [np.asarray(s) for s in slopes]
