"""Subject: a layer under proof, how it is made and called, and what is known of it.

A promise asks it for a new layer (`layer`) of some dtype policy, always with the same weights; or
for the layer as a function of its inputs and weights (`function`), its state held still.
"""

import contextlib
import functools
import os
import shutil
import tempfile
import weakref

import keras
import numpy as np
import tensorflow as tf

from custom_layers.checks.differences import noise
from custom_layers.checks.elsewhere import value_and_slopes
from custom_layers.checks.function import Function, is_float, moved, to_tensor
from custom_layers.checks.near import errors
from custom_layers.checks.report import Broken, CannotCheck, DoesNotApply, one_line
from custom_layers.private_apis import layers_inside

UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SAMPLES = 8  # of rounded inputs and weights, from which the noise of a format is estimated


class Subject:
    """What `check_layer` hands to each promise.

    Args:
        layer: a layer, a layer class without arguments, or a function that makes a layer.
        inputs: the first argument of the call, an array or a structure of arrays.
        call: the keyword arguments of the call.
        twin: a layer class that the layer drops in for, or None.
        seed: of the weights and directions.
    """

    def __init__(self, layer, inputs, call, twin=None, seed=0):
        self.inputs, self.call, self.twin, self.seed = inputs, call, twin, seed
        self.arrays = [x for x in tf.nest.flatten((inputs, call)) if _is_array(x)]
        if not any(_is_array(x) for x in tf.nest.flatten(inputs)):
            kinds = sorted({type(x).__name__ for x in tf.nest.flatten(inputs)})
            raise CannotCheck(f"inputs must be arrays or a structure of arrays, not {kinds}")
        self.make, self.given = _factory(layer)
        keras.utils.set_random_seed(seed)
        self.rng = np.random.default_rng(seed)
        first = self._first_layer()
        self.name = type(first).__name__
        start = self.given if self.given is not None and self.given.built else first
        self.weights = [self._show(w, start is first) for w in start.weights]

    def _first_layer(self):
        """Make and call a layer as the user would; what fails is an error of use."""
        try:
            layer, other = self.make(), self.make()
            if not isinstance(layer, keras.layers.Layer):
                raise TypeError(f"it is a {type(layer).__name__}, not a keras.layers.Layer")
            if layer is other:
                raise ValueError("each call must make a new layer")
            name = type(layer).__name__
        except Exception as error:
            raise CannotCheck(f"the layer cannot be made: {one_line(error)}") from error
        try:
            inputs, call = self.arguments("float32")
            layer(inputs, **call)
        except Exception as error:
            shapes = tf.nest.map_structure(lambda x: tuple(np.shape(x)), self.inputs)
            text = f"{name} cannot be called with inputs {shapes}: {one_line(error)}"
            raise CannotCheck(text) from error
        return layer

    def _show(self, weight, fresh):
        """A weight's value. Zero biases and unit scales would hide mistakes: they are moved."""
        value = np.asarray(tf.convert_to_tensor(weight.value))
        if is_float(weight) and (fresh or weight.trainable):
            value = value.astype("float64")
            value = value + 0.1 * np.abs(self.rng.standard_normal(value.shape))
        return value

    def layer(self, policy="float32"):
        """A new layer of that dtype policy, built by a call, with the weights of the subject."""
        with dtype_policy(policy):
            layer = self.make()
            inputs, call = self.arguments(keras.dtype_policies.get(policy).variable_dtype)
            layer(inputs, **call)
        self.set_weights(layer)
        return layer

    def set_weights(self, layer):
        if len(layer.weights) != len(self.weights):
            raise Broken(
                "a second new layer has another number of weights",
                expected=len(self.weights),
                got=len(layer.weights),
            )
        for weight, value in zip(layer.weights, self.weights, strict=True):
            weight.assign(tf.cast(value, weight.dtype))
        for inner in layers_inside(layer):
            if hasattr(inner, "finalize_state"):  # what Keras's preprocessing derives from weights
                inner.finalize_state()

    def arguments(self, dtype):
        """(inputs, keyword arguments) as tensors, those of floats in `dtype`."""

        def convert(x):
            x = to_tensor(x)
            return tf.cast(x, dtype) if tf.is_tensor(x) and is_float(x) else x

        return tf.nest.map_structure(convert, (self.inputs, self.call))

    def with_arrays(self, arrays):
        """(inputs, keyword arguments) with other arrays, or symbolic ones, in place of its own."""
        arrays = iter(arrays)
        flat = tf.nest.flatten((self.inputs, self.call))
        flat = [next(arrays) if _is_array(x) else x for x in flat]
        return tf.nest.pack_sequence_as((self.inputs, self.call), flat)

    def model(self, layer, batch=None):
        """A functional model around `layer`, from the list of all arrays to that of all outputs."""
        nodes = [
            keras.Input(batch_shape=(batch, *x.shape[1:]), dtype=tf.as_dtype(x.dtype).name)
            for x in self.arrays
        ]
        inputs, call = self.with_arrays(nodes)
        return keras.Model(nodes, tf.nest.flatten(layer(inputs, **call)))

    @functools.cached_property
    def original(self):
        """The functional model that files and copies are made of and compared with."""
        return self.model(self.layer())

    @functools.cached_property
    def original_answer(self):
        """`value_and_slopes` of the original."""
        variables = [v.value for v in self.original.trainable_variables]
        return value_and_slopes(self.original, self.arrays, variables)

    @functools.cached_property
    def folder(self):
        """A folder for files, which goes when the subject does."""
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @functools.cached_property
    def keras_file(self):
        """The path of the original as a `.keras` file."""
        path = os.path.join(self.folder, "model.keras")
        self.original.save(path)
        return path

    @functools.cached_property
    def saved_model(self):
        """The path of the original as a SavedModel."""
        path = os.path.join(self.folder, "model")
        self.original.export(path, verbose=False)
        return path

    def function(self, policy="float64", **mode):
        """The layer as a `Function` of its inputs and weights."""
        with dtype_policy(policy):
            layer = self.layer(policy)
            inputs, call = self.arguments(keras.dtype_policies.get(policy).variable_dtype)
            seeded = None if self.still else self.seed
            return Function(layer, inputs, {**call, **mode}, seeded)

    @property
    def batch(self):
        """The size of the first axis where all arrays have it in common, else None."""
        sizes = {x.shape[0] if len(x.shape) else None for x in self.arrays}
        return sizes.pop() if len(sizes) == 1 else None

    @functools.cached_property
    def exact(self):
        """{mode: the layer as a function}, in float64, or float32 for a layer that has no float64.

        A mode is a tuple of arguments of the call, such as `(("training", True),)`.
        """
        functions = {}
        for mode in self.modes:
            function = self.function(self.exact_policy, **dict(mode))
            if not function.scales:
                raise DoesNotApply("no output is a number with a derivative")
            if not function.points:
                raise DoesNotApply("neither float inputs nor weights")
            for i, y in enumerate(_outputs(function)):
                if is_float(y) and not np.isfinite(y).all():
                    raise DoesNotApply(f"output {i} is not finite, so it has no derivative")
            if not self.still and not _equal(*(flat_arrays(_outputs(function)) for _ in range(2))):
                raise DoesNotApply("its random numbers cannot be fixed")
            functions[mode] = function
        return functions

    @functools.cached_property
    def exact_policy(self):
        try:
            self.layer("float64")
        except Exception as error:
            self.no_float64 = one_line(error)
            return "float32"
        self.no_float64 = None
        return "float64"

    @functools.cached_property
    def modes(self):
        """Inference, and training where that gives other numbers; () where the user says which."""
        if "training" in self.call:
            return ((),)
        inference, training = ((("training", flag),) for flag in (False, True))
        answers = [self.answer(**dict(mode)) for mode in (inference, training)]
        same = all(
            np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            for a, b in zip(*answers, strict=True)
        )
        return (inference,) if same else (inference, training)

    def answer(self, layer=None, **mode):
        """The outputs of one call of a (new) float32 layer, as flat arrays."""
        layer = self.layer() if layer is None else layer
        inputs, call = self.arguments("float32")
        return flat_arrays(layer(inputs, **{**call, **mode}))

    @functools.cached_property
    def random(self):
        """Whether two calls in the last mode, from the same weights, give other numbers."""
        layer = self.layer()
        mode = dict(self.modes[-1])
        first = self.answer(layer, **mode)
        self.set_weights(layer)
        return not _equal(first, self.answer(layer, **mode))

    @functools.cached_property
    def still(self):
        """Whether the random numbers come from Keras's seeds alone, which can be held still."""
        inputs, call = self.arguments("float32")
        function = Function(self.layer(), inputs, {**call, **dict(self.modes[-1])})
        return _equal(*(flat_arrays(_outputs(function)) for _ in range(2)))

    @functools.cached_property
    def noise(self):
        """The rounding noise of L in float64, measured; far above 1e-16 |L| in lower precision."""
        noises = []
        for function in self.exact.values():
            direction = self.direction(function.points)
            phi = _line(function, direction)
            noises.append(noise(phi))
        return max(noises)

    def direction(self, points):
        """Random entries between 0.5 and 1.5 of either sign: none hides, none cancels another."""
        rng = np.random.default_rng(self.seed)
        return [
            tf.constant(rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.5, x.shape))
            for x in points
        ]

    def rounded(self, policy, points):
        """The points as numbers that the compute dtype of the policy holds."""
        compute = keras.dtype_policies.get(policy).compute_dtype
        return [tf.cast(tf.cast(x, compute), x.dtype) for x in points]

    def rounding(self, policy, mode, points):
        """How far rounding to a policy moves outputs and gradients: (points, exact, noise).

        Exact are outputs and gradients in float64 at points that the format holds; flat lists.
        The noise of each is its largest change when inputs and weights move by twice the unit
        roundoff, anew in each of some samples, and the roundoff of its largest entry; for a
        gradient, that of all of them: its own may be what is left where numbers cancel.
        """
        function = self.exact[mode]
        unit = UNITS[keras.dtype_policies.get(policy).compute_dtype]
        rng = np.random.default_rng(self.seed)

        def evaluate(points, run=function.fast_outputs_and_gradient):
            outputs, gradient = run(points)
            return [np.asarray(x) for x in [y for y in outputs if is_float(y)] + gradient]

        points = self.rounded(policy, points)
        exact, center = evaluate(points, function.outputs_and_gradient), evaluate(points)
        sizes = [np.abs(x).max(initial=0) for x in exact]
        count = len(sizes) - len(points)
        sizes[count:] = [max(sizes[count:], default=0.0)] * len(points)
        spread = [4 * unit * size for size in sizes]
        for _ in range(SAMPLES):
            near = [
                x * tf.cast(1 + 2 * unit * rng.uniform(-1, 1, x.shape), x.dtype) for x in points
            ]
            changes = [
                errors(a, b).max(initial=0) for a, b in zip(evaluate(near), center, strict=True)
            ]
            spread = [max(pair) for pair in zip(spread, changes, strict=True)]
        return points, exact, spread

    def notes(self):
        """What is known of the layer, in sentences."""
        if self.random:
            yield "The layer draws random numbers; they are held still between evaluations." + (
                "" if self.still else " They do not come from a keras.random.SeedGenerator."
            )
        moved = [w.path for w in self.layer().non_trainable_weights]
        if moved:
            yield f"The layer has state: {', '.join(moved)}."
        try:
            size = max(abs(float(f.value(f.points))) for f in self.exact.values())
            noisy = self.noise > 1e-12 * max(size, 1.0)
        except Exception:  # a promise tells of it
            return
        if self.no_float64:
            yield f"It does not run in float64 ({self.no_float64}): derivatives are in float32."
        elif noisy:
            yield (
                f"It computes in float32 inside of float64: its noise is {self.noise:.0e}, and the "
                "tolerance of its derivatives follows from it."
            )


@contextlib.contextmanager
def dtype_policy(policy):
    """Inside of this context, layers that are told no dtype get this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _line(function, direction):
    """φ(t): the value of a function where all points have moved by t along a direction."""
    return lambda t: function.fast_value(moved(function.points, direction, t)).numpy()


def _outputs(function):
    return function.outputs(function.points)[0]


def flat_arrays(structure):
    return [np.asarray(x) for x in tf.nest.flatten(structure, expand_composites=True)]


def _equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def _is_array(x):
    return isinstance(x, (np.ndarray, np.generic, tf.Tensor, tf.SparseTensor, tf.RaggedTensor))


def _factory(layer):
    """(a function that makes a new layer, the layer that was given or None)."""
    if not isinstance(layer, keras.layers.Layer):
        if not callable(layer):
            raise CannotCheck(f"expected a layer or a function that makes one, not {layer!r}")
        return layer, None
    try:
        own = keras.saving.serialize_keras_object(layer.dtype_policy)
        config = _without_dtype(layer.get_config(), own)
        type(layer).from_config({**config})  # a copy: Keras's RNN takes it apart
    except Exception as error:
        raise CannotCheck(
            f"{type(layer).__name__} cannot be made anew from its config ({one_line(error)}): "
            "hand in a function that makes the layer"
        ) from error
    return lambda: type(layer).from_config(_without_dtype(config, own)), layer


def _without_dtype(config, own):
    """A config in which the layer's own dtype is left out, so that the policy in force decides."""
    if isinstance(config, dict):
        return {
            key: _without_dtype(value, own)
            for key, value in config.items()
            if not (key == "dtype" and value in (own, own["config"]["name"]))
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_without_dtype(value, own) for value in config)
    return config
