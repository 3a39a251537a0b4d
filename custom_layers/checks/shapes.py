"""Promises about shapes: those predicted, sizes that are unknown, batches of 0, 1 and many."""

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.elsewhere import ask
from custom_layers.checks.function import Function
from custom_layers.checks.report import (
    Broken,
    DoesNotApply,
    Held,
    compare,
    compare_float32,
    compare_outputs_and_gradients,
    one_line,
)
from custom_layers.checks.subject import flat_arrays


def shapes(subject):
    """Shape and dtype of the outputs are those that a symbolic call predicts."""
    layer = subject.layer()
    inputs, call = subject.arguments("float32")
    real = tf.nest.flatten(layer(inputs, **call))
    nodes = [keras.KerasTensor(x.shape, tf.as_dtype(x.dtype).name) for x in subject.arrays]
    inputs, call = subject.with_arrays(nodes)
    symbolic = layer(inputs, **call)
    spec = layer.compute_output_spec(inputs, **call)
    for kind, predicted in (("symbolic call", symbolic), ("compute_output_spec", spec)):
        predicted = tf.nest.flatten(predicted)
        _same(f"number of outputs, {kind}", len(real), len(predicted))
        for i, (said, y) in enumerate(zip(predicted, real, strict=True)):
            _fits(f"shape of output {i}, {kind}", tuple(y.shape), tuple(said.shape))
            _same(f"dtype of output {i}, {kind}", y.dtype.name, str(said.dtype))
    if len(subject.arrays) == len(tf.nest.flatten(subject.inputs)):
        given = tf.nest.map_structure(lambda x: tuple(x.shape), subject.inputs)
        try:
            said = _flat_shapes(layer.compute_output_shape(given))
        except NotImplementedError:
            return Held(note="the layer has no compute_output_shape")
        _same("number of outputs, compute_output_shape", len(real), len(said))
        for i, (shape, y) in enumerate(zip(said, real, strict=True)):
            _fits(f"shape of output {i}, compute_output_shape", tuple(y.shape), shape)
    return Held()


def _flat_shapes(structure):
    """The shapes in a structure of them; a shape is a tuple or list of integers and None."""
    if all(size is None or isinstance(size, (int, np.integer)) for size in structure):
        return [tuple(structure)]
    values = structure.values() if isinstance(structure, dict) else structure
    return [shape for value in values for shape in _flat_shapes(value)]


def _fits(what, real, said):
    """Raise unless a predicted shape is the real one; None stands for any size."""
    if len(real) != len(said) or any(n not in (None, m) for m, n in zip(real, said, strict=True)):
        raise Broken(what, expected=real, got=said)


def _same(what, real, said):
    if real != said:
        raise Broken(what, expected=real, got=said)


def unknown_sizes(subject):
    """With the batch and other sizes unknown, outputs and gradients are the same."""
    layer = subject.layer()
    if getattr(layer, "stateful", False):
        raise DoesNotApply("a stateful layer keeps states of a fixed batch size")
    free, worst, refused = free_axes(subject), 0.0, []
    each = [set(), *({axis} for axis in free)]
    groups = [free] if _builds(subject, {0, *free}) else each
    while groups:
        axes = groups.pop()
        try:
            worst = max(worst, _without_sizes(subject, layer, {0, *axes}))
        except ValueError as error:  # it can be built, and says in a graph what it needs
            if not axes:
                raise
            if groups is not each:  # which of them?
                groups = each
            else:
                refused.append(one_line(error))
                free = free - axes
    return Held(worst, "; ".join([f"axes that may be unknown: {sorted({0, *free})}", *refused]))


def free_axes(subject):
    """The axes beside the batch with which alone unknown a new layer can be built."""
    rank = max(len(x.shape) for x in subject.arrays)
    return {axis for axis in range(1, rank) if _builds(subject, {0, axis})}


def _unknown(x, axes):
    return tuple(None if i in axes else size for i, size in enumerate(x.shape))


def _builds(subject, axes):
    """Whether a new layer can be built where the sizes of these axes are unknown."""
    nodes = [
        keras.KerasTensor(_unknown(x, axes), tf.as_dtype(x.dtype).name) for x in subject.arrays
    ]
    inputs, call = subject.with_arrays(nodes)
    try:
        subject.make()(inputs, **call)
    except Exception:  # whatever it raises: the layer does not allow it
        return False
    return True


def _without_sizes(subject, layer, axes):
    """The largest error of a graph in which the sizes of these axes are not known."""
    inputs, call = subject.arguments("float32")
    function = Function(layer, inputs, call)
    arrays = [x for x in tf.nest.flatten((inputs, call)) if tf.is_tensor(x)]
    if len(arrays) != len(subject.arrays):
        raise DoesNotApply("an input is sparse or ragged")

    def run(*arrays):
        function.arguments = subject.with_arrays(arrays)
        flat = tf.nest.flatten(function.arguments)
        points = [flat[i] for i in function.where] + function.points[len(function.where) :]
        outputs, gradient = function.outputs_and_gradient(points)
        return outputs + gradient

    known = run(*arrays)
    specs = [tf.TensorSpec(_unknown(x, axes), x.dtype) for x in arrays]
    unknown = tf.function(run, autograph=False).get_concrete_function(*specs)(*arrays)
    where = f" where the sizes of axes {sorted(axes)} are unknown"
    count = len(known) - len(function.points)
    return compare_outputs_and_gradients(where, unknown, known, count)


def batch_of_one(subject):
    """At inference each entry of a batch alone gives what it gives among others."""
    layer = subject.layer()
    whole, batch = _at_inference(subject, layer, subject.arrays), subject.batch
    if batch is None or any(y.ndim == 0 or len(y) != batch for y in whole):
        raise DoesNotApply("inputs and outputs have no batch axis in common")
    if getattr(layer, "stateful", False):
        raise DoesNotApply("a stateful layer keeps states of a fixed batch size")
    worst = 0.0
    for i in range(min(batch, 4)):
        alone = _at_inference(subject, layer, [x[i : i + 1] for x in subject.arrays])
        for k, (got, expected) in enumerate(zip(alone, whole, strict=True)):
            what = f"output {k} of entry {i} of the batch alone"
            cause = "entries of a batch influence each other"
            worst = max(worst, compare_float32(what, got, expected[i : i + 1], cause))
    return Held(worst)


def _at_inference(subject, layer, arrays):
    inputs, call = subject.with_arrays([tf.convert_to_tensor(x) for x in arrays])
    return flat_arrays(layer(inputs, **{"training": False, **call}))


def empty_batch(subject):
    """A batch of 0 entries gives outputs of 0 entries, and gradients of 0.

    On an empty batch some of TensorFlow's kernels end the process. So another process goes first,
    with the layer as a SavedModel; what has not ended that one is called here, in eager mode too.
    """
    layer = subject.layer()
    if subject.batch is None:
        raise DoesNotApply("the inputs have no batch axis in common")
    if getattr(layer, "stateful", False):
        raise DoesNotApply("a stateful layer keeps states of a fixed batch size")
    whole, empty = subject.answer(layer), [x[:0] for x in subject.arrays]
    inputs, call = subject.with_arrays([tf.convert_to_tensor(x) for x in empty])
    results = _in_a_graph(subject, empty)
    function = Function(layer, inputs, call)
    if results is None:
        outputs, gradient = function.fast_outputs_and_gradient(function.points)
    else:
        outputs, gradient = results[: len(whole)], results[len(whole) :]
    _are_of_nothing("in a graph", outputs, gradient, whole, subject.batch)
    outputs, gradient = function.outputs_and_gradient(function.points)
    _are_of_nothing("in eager mode", outputs, gradient, whole, subject.batch)
    return Held()


def _in_a_graph(subject, empty):
    """Outputs and gradients of an empty batch in another process; None if a full one fails too."""
    try:
        path = subject.saved_model
    except Exception as error:  # the promise about exports tells of it
        raise DoesNotApply(
            f"it cannot be exported into another process, and this one might end: {one_line(error)}"
        ) from error
    try:
        return ask("saved_model", path, empty)
    except EOFError as error:
        raise Broken(f"an empty batch: {error}", cause="a kernel of TensorFlow") from error
    except RuntimeError as error:
        try:
            ask("saved_model", path, subject.arrays)
        except RuntimeError:  # the promise about exports tells of it
            return None
        raise Broken(f"an empty batch where its size is unknown: {error}") from error


def _are_of_nothing(kind, outputs, gradient, whole, batch):
    """Raise unless outputs have 0 entries where they have a batch axis, and gradients are 0."""
    for i, (y, full) in enumerate(zip(outputs, whole, strict=True)):
        if full.ndim and len(full) == batch:
            expected = (0, *full.shape[1:])
            _same(f"shape of output {i} of an empty batch {kind}", expected, tuple(y.shape))
    if not any(tf.size(y) for y in outputs):
        for i, slope in enumerate(gradient):
            what = f"gradient {i} of an empty batch {kind}"
            compare(what, slope, np.zeros(slope.shape), 0.0)
