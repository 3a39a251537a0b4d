"""Layer: what all layers here share, namely their config and the options of their weights.

A constructor argument becomes an attribute of the same name (scikit-learn's rule), so the config is
read off the signatures and written once, here. An argument whose name ends in `initializer`,
`regularizer`, `constraint` or `activation` is an object of that kind, or whatever names one.
"""

import inspect
import math
import numbers
from collections.abc import Callable

import keras
import tensorflow as tf

# The types of constructor arguments: an object of that kind, its name or its config.
Initializer = str | dict | Callable | None
Regularizer = str | dict | Callable | None
Constraint = str | dict | Callable | None

SERIALIZED = {
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
    "activation": keras.activations,
}
PLAIN = (str, bool, int, float, type(None))  # what a config has as it is


def check_positive(**arguments):
    """Raise a ValueError that names the argument unless each is a positive integer."""
    for name, value in arguments.items():
        integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not integer or value <= 0:
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")


def check_number(expected="a finite number", valid=math.isfinite, **arguments):
    """Raise a ValueError that names the argument unless each is a number that is `valid`."""
    for name, value in arguments.items():
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not number or not valid(value):
            raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")


def check_axes(axis, input_shape, known=False):
    """The input shape; a ValueError unless it has those axes and, if `known`, their sizes."""
    for one in [axis] if isinstance(axis, int) else axis:
        if not -len(input_shape) <= one < len(input_shape):
            raise ValueError(
                f"Axis {one} is out of bounds for input shape {input_shape}. Received: axis={axis}"
            )
        if known and input_shape[one] is None:
            raise ValueError(
                f"Axis {one} of the input must have a known size. "
                f"Received: axis={axis}, input_shape={tuple(input_shape)}"
            )
    return input_shape


def shape_of(x):
    """The shape of a tensor; where it is known, without an operation, 10 µs of an eager call."""
    return x.shape if x.shape.is_fully_defined() else tf.shape(x)


def map_values(function, x):
    """`function(x)`; of a ragged x, what `function` makes of its values (N, ...), as ragged."""
    if isinstance(x, tf.RaggedTensor):
        return x.with_flat_values(function(x.flat_values))
    return function(x)


def broadcasts(shape, to):
    """Whether a tensor of that static shape broadcasts to the shape `to`, as far as is known."""
    pairs = zip(shape[::-1], to[::-1], strict=False)
    return len(shape) <= len(to) and all(None in (m, n) or m in (1, n) for m, n in pairs)


def check_mask(mask, shape, axes="(B, T)"):
    """Raise a ValueError unless a mask has the static `shape`, or sizes 1 that broadcast to it."""
    if len(mask.shape) != len(shape) or not broadcasts(mask.shape, shape):
        raise ValueError(
            f"`mask` must have the shape {axes}, here {tuple(shape)}. "
            f"Received: mask.shape={tuple(mask.shape)}"
        )


class Layer(keras.layers.Layer):
    """A Keras layer whose config follows from its signature.

    Arguments that Keras's layers have and these lack are in `NOT_HERE`: a config that names one
    without using it loads; using one raises a ValueError.
    """

    NOT_HERE = frozenset({"lora_rank", "lora_alpha", "quantization_config"})

    def __init__(self, **kwargs):
        for name in sorted(self.NOT_HERE & kwargs.keys()):
            if kwargs.pop(name) is not None:
                raise ValueError(self._lacks(f"the argument `{name}`"))
        super().__init__(**kwargs)
        if self.quantization_mode is not None:
            raise ValueError(self._lacks(f"the dtype {self.dtype_policy.name!r}"))

    def _lacks(self, what):
        return (
            f"{type(self).__name__} of custom_layers does not have {what}, as it has neither LoRA "
            "nor quantization. Keep Keras's layer; `custom_layers.convert.to_keras` makes it."
        )

    def enable_lora(self, *args, **kwargs):
        raise NotImplementedError(self._lacks("the method `enable_lora`"))

    def quantize(self, *args, **kwargs):
        raise NotImplementedError(self._lacks("the method `quantize`"))

    def set_weight_options(self, weight, initializer, regularizer, constraint):
        """Store the three options of `weight` as `<weight>_initializer` and so on."""
        setattr(self, f"{weight}_initializer", keras.initializers.get(initializer))
        setattr(self, f"{weight}_regularizer", keras.regularizers.get(regularizer))
        setattr(self, f"{weight}_constraint", keras.constraints.get(constraint))

    def weight_options(self, weight):
        """The three options of `weight`, as keyword arguments of `add_weight`."""
        return {
            option: getattr(self, f"{weight}_{option}")
            for option in ("initializer", "regularizer", "constraint")
        }

    def get_config(self):
        config = super().get_config()  # name, trainable, dtype, activity_regularizer if there is
        for name in self._argument_names() - config.keys() - {"activity_regularizer"}:
            value = getattr(self, name)
            kind = SERIALIZED.get(name.rpartition("_")[2])
            if isinstance(value, keras.layers.Layer):
                value = keras.saving.serialize_keras_object(value)
            elif kind is not None and not isinstance(value, PLAIN):
                value = kind.serialize(value)
            config[name] = value
        return config

    @classmethod
    def from_config(cls, config):
        unused = {name for name in cls.NOT_HERE if config.get(name) is None}
        return super().from_config({k: v for k, v in config.items() if k not in unused})

    def _argument_names(self):
        """All named constructor arguments, those of base classes included.

        Raises:
            NotImplementedError: one is not an attribute of the same name, and no class from its own
                downwards writes a `get_config` that could tell its value.
        """
        names, missing, written = set(), {}, False
        for cls in type(self).__mro__[: type(self).__mro__.index(Layer)]:
            written = written or "get_config" in vars(cls)
            if "__init__" not in vars(cls):
                continue
            for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
                if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    continue
                if hasattr(self, parameter.name):
                    names.add(parameter.name)
                elif written:
                    missing.pop(parameter.name, None)
                else:
                    missing[parameter.name] = cls.__name__
        for name, cls in missing.items():
            raise NotImplementedError(
                f"The config of {type(self).__name__} would lack `{name}`, an argument of {cls}. "
                f"Keep it as an attribute of the same name, or write a `get_config` for {cls}."
            )
        return names
