"""Function: a layer as a scalar function of its float inputs and trainable weights.

The scalar is L = Σ s sin(y_i / s + i) over all outputs y_i, with s the size of the largest: every
output matters, and matters differently. What the layer adds as a loss is added.

The layer gets tensors in place of its weights, and the state that a call moves on (seeds, moving
averages) is forgotten again: each evaluation draws the same random numbers.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.near import largest


def is_float(x):
    return tf.as_dtype(x.dtype).is_floating


class Function:
    """The function, its points (float inputs, then trainable weights) and their names.

    Args:
        layer: a layer, or a function of tensors.
        inputs: its first argument, an array or a structure of arrays.
        call: its keyword arguments; arrays in them are points too.
        seeded: seeds that are set before each evaluation, for a layer that draws random numbers
            outside of Keras's seed generators.
    """

    def __init__(self, layer, inputs, call, seeded=None):
        self.layer, self.seeded = layer, seeded
        self.arguments = tf.nest.map_structure(to_tensor, (inputs, call))
        first = self._call(self.arguments)  # builds
        self.weights = list(getattr(layer, "trainable_variables", ()))
        flat = tf.nest.flatten(self.arguments)
        self.where = [i for i, x in enumerate(flat) if tf.is_tensor(x) and is_float(x)]
        self.points = [flat[i] for i in self.where]
        self.points += [tf.convert_to_tensor(w.value) for w in self.weights]
        self.names = [f"input {i}" for i in self.where] + [w.path for w in self.weights]
        parts = [part for part in tf.nest.flatten(first) if is_float(part)]
        self.scales = [max(1.0, largest(tf.cast(part, "float64"))) for part in parts]

    def _call(self, arguments):
        if self.seeded is not None:
            tf.random.set_seed(self.seeded)
            np.random.seed(self.seeded)
        inputs, call = arguments
        return self.layer(inputs, **call)

    def outputs(self, points):
        """(all outputs of the layer, the sum of its losses)."""
        inputs, weights = points[: len(self.where)], points[len(self.where) :]
        flat = tf.nest.flatten(self.arguments)
        for i, x in zip(self.where, inputs, strict=True):
            flat[i] = x
        held = list(zip(self.weights, weights, strict=True))
        with keras.StatelessScope(state_mapping=held, collect_losses=True) as scope:
            y = self._call(tf.nest.pack_sequence_as(self.arguments, flat))
        losses = [tf.cast(loss, "float64") for loss in scope.losses]
        return tf.nest.flatten(y), tf.add_n(losses) if losses else tf.zeros((), "float64")

    def outputs_and_value(self, points):
        outputs, total = self.outputs(points)
        parts = [part for part in outputs if is_float(part)]
        for part, scale in zip(parts, self.scales, strict=True):
            part = tf.cast(tf.reshape(part, (-1,)), "float64")
            phase = tf.cast(tf.range(tf.size(part)), "float64")
            total += scale * tf.reduce_sum(tf.sin(part / scale + phase))
        return outputs, total

    def value(self, points):
        return self.outputs_and_value(points)[1]

    def outputs_and_gradient(self, points):
        """(all outputs, one gradient a point), dense, zeros where there is no path."""
        with tf.GradientTape() as tape:
            tape.watch(points)
            outputs, value = self.outputs_and_value(points)
        return outputs, dense_gradients(tape, value, points)

    def gradient(self, points):
        return self.outputs_and_gradient(points)[1]

    @functools.cached_property
    def fast_value(self):
        """`value` as a graph, for many evaluations."""
        return self._in_graph(self.value)

    @functools.cached_property
    def fast_outputs_and_gradient(self):
        """`outputs_and_gradient` as a graph, for many evaluations."""
        return self._in_graph(self.outputs_and_gradient)

    def _in_graph(self, run):
        """`run` as a graph; as it is where the layer cannot be traced or must be seeded anew."""
        if self.seeded is not None:
            return run
        try:
            graph = tf.function(lambda *p: run(list(p)), autograph=False)
            graph = graph.get_concrete_function(*self.points)
        except Exception:  # the promise about graphs tells of it
            return run
        return lambda points: graph(*points)

    def curvature(self, points, direction):
        """The Hessian times `direction`."""
        with tf.GradientTape() as tape:
            tape.watch(points)
            slope = dot(self.gradient(points), direction)
        return dense_gradients(tape, slope, points)


def to_tensor(x):
    """An array as a tensor; flags, None and tensors as they are."""
    return tf.convert_to_tensor(x) if isinstance(x, (np.ndarray, np.generic)) else x


def dense_gradients(tape, value, points):
    gradients = tape.gradient(value, points, unconnected_gradients="zero")
    return [tf.convert_to_tensor(g) for g in gradients]


def dot(a, b):
    """Σ a b in float64, over lists of tensors."""
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(x, "float64") * tf.cast(y, "float64"))
            for x, y in zip(a, b, strict=True)
        ]
    )


def moved(points, direction, step):
    """points + step · direction."""
    return [
        x + tf.cast(step * tf.cast(d, "float64"), x.dtype)
        for x, d in zip(points, direction, strict=True)
    ]
