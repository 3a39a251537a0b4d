"""EinsumDense: a product of input and kernel along the axes that an equation names, then a bias.

    y = einsum("x,w->y", x, W) + b        x, W, y with the axes of the equation, such as
                                          "btc,ckd->btkd" for K heads of size D

Backward, given dy = dL/dy: each operand is a product of the other two.

    dx = einsum("y,w->x", dy, W)          dW = einsum("x,y->w", x, dy)
    db = Σ dy                             over the axes that b has not, or of size 1

An axis of x that neither W nor y has is summed forward, so dx is the same all along it.

The projections of attention are made of it. Einstein, Die Grundlage der allgemeinen
Relativitätstheorie, Annalen der Physik 1916, § 5.
"""

import re
import string
from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Layer, Regularizer
from custom_layers.gradients import wide, with_backward


def einsum_affine_forward(x, kernel, bias, *, axes):
    """x and kernel with the axes that the letters `axes` = (x, w, y) name, bias or None -> y."""
    in_x, in_w, in_y = axes
    y = tf.einsum(f"{in_x},{in_w}->{in_y}", x, kernel)
    return y if bias is None else y + bias, (x, kernel, bias)


def einsum_affine_backward(dy, cache, *, axes):
    """dy -> dx, dkernel, dbias."""
    x, kernel, bias = cache
    in_x, in_w, in_y = axes
    left = "".join(letter for letter in in_x if letter in in_w + in_y)
    dx = tf.einsum(f"{in_y},{in_w}->{left}", dy, kernel)
    for i, letter in enumerate(in_x):
        if letter not in left:
            dx = tf.expand_dims(dx, i)
    if left != in_x:
        dx = tf.broadcast_to(dx, tf.shape(x))
    dkernel = tf.einsum(f"{in_x},{in_y}->{in_w}", wide(x), wide(dy))
    if bias is None:
        return dx, tf.cast(dkernel, kernel.dtype), None
    missing = dy.shape.rank - bias.shape.rank
    ones = [missing + i for i, size in enumerate(bias.shape) if size == 1]
    dbias = tf.reduce_sum(wide(dy), [*range(missing), *ones])
    return dx, tf.cast(dkernel, kernel.dtype), tf.cast(tf.reshape(dbias, bias.shape), bias.dtype)


einsum_affine = with_backward(einsum_affine_forward, einsum_affine_backward)


def letters_of(equation, rank):
    """The letters of x, W and y for an input of that rank, one for each axis, and where `...` was.

    Raises:
        ValueError: the equation has none of the forms `x,w->y`, `...x,w->...y`, `x...,w->y...`.
    """
    form = re.fullmatch(
        r"(\.{3})?([a-zA-Z]+)(\.{3})?,([a-zA-Z]+)->(\.{3})?([a-zA-Z]+)(\.{3})?", equation
    )
    if form:
        left, in_x, right, in_w, out_left, in_y, out_right = form.groups()
    if not form or (left and right) or (left, right) != (out_left, out_right):
        raise ValueError(
            f"Invalid einsum equation '{equation}'. Equations must be in the form "
            "[X],[Y]->[Z], ...[X],[Y]->...[Z], or [X]...,[Y]->[Z]...."
        )
    unused = [letter for letter in string.ascii_letters if letter not in in_x + in_w + in_y]
    more = "".join(unused[: rank - len(in_x)]) if left or right else ""
    if right:
        return (in_x + more, in_w, in_y + more), "", more
    return (more + in_x, in_w, more + in_y), more, ""


@keras.saving.register_keras_serializable(package="custom_layers")
class EinsumDense(Layer):
    """A fully connected layer along axes that an equation names: `activation(einsum(x, W) + b)`.

    `EinsumDense("...x,xy->...y", 64, bias_axes="y")` is `Dense(64)`. `output_shape` leaves out the
    batch and what `...` stands for; None is a size that follows from the input. Weights `kernel`
    and, with `bias_axes`, `bias`, which begins at the first of these axes. Arguments are those of
    `keras.layers.EinsumDense`, without LoRA and quantization.

    Raises:
        ValueError: the equation has another form; an axis of it has no size, or two of them.
    """

    NOT_HERE = Layer.NOT_HERE | {"gptq_unpacked_column_size"}

    def __init__(
        self,
        equation: str,
        output_shape: int | tuple[int | None, ...],
        activation: str | Callable | None = None,
        bias_axes: str | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.equation = equation
        one = isinstance(output_shape, int)
        self.partial_output_shape = (output_shape,) if one else tuple(output_shape)
        self.activation = keras.activations.get(activation)
        self.bias_axes = bias_axes
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)

    def _sizes(self, input_shape):
        """The letters of x, W and y, and the size of each letter of x and of y."""
        axes, left, right = letters_of(self.equation, len(input_shape))
        in_x, in_w, in_y = axes
        of_x = dict(zip(in_x, input_shape, strict=False))
        full = [input_shape[0], *(of_x[letter] for letter in left[1:]), *self.partial_output_shape]
        of_y = dict(zip(in_y, [*full, *(of_x[letter] for letter in right)], strict=False))
        for letter in in_x:
            if of_y.get(letter) is not None and of_y[letter] != of_x[letter]:
                raise ValueError(
                    "Input shape and output shape do not match at shared dimension "
                    f"'{letter}'. Input shape is {of_x[letter]}, and output shape is "
                    f"{of_y[letter]}."
                )
        for letter in in_y:
            if letter not in in_x + in_w:
                raise ValueError(
                    f"Dimension '{letter}' was specified in the output '{in_y}' but has no "
                    f"corresponding dim in the input spec '{in_x}' or weight spec '{in_w}'"
                )
        for letter in in_w:
            if letter not in in_x + in_y:
                raise ValueError(
                    f"Weight dimension '{letter}' did not have a match in either the input spec "
                    f"'{in_x}' or the output spec '{in_y}'. For this layer, the weight must be "
                    "fully specified."
                )
        for letter in self.bias_axes or "":
            if letter not in in_y:
                raise ValueError(
                    f"Bias dimension '{letter}' was requested, but is not part of the output "
                    f"spec '{in_y}'"
                )
        return axes, of_x, of_y

    def build(self, input_shape):
        (_, in_w, in_y), of_x, of_y = self._sizes(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape))
        options = self.weight_options("kernel")
        initializer = options["initializer"]
        if isinstance(initializer, keras.initializers.VarianceScaling) and (
            initializer.input_axes is None or initializer.output_axes is None
        ):  # let it know which axes are inputs and which outputs
            options["initializer"] = type(initializer).from_config(
                {
                    **initializer.get_config(),
                    "seed": initializer.seed,
                    "input_axes": [i for i, letter in enumerate(in_w) if letter not in of_y],
                    "output_axes": [i for i, letter in enumerate(in_w) if letter in of_y],
                }
            )
        shape = tuple(of_y[letter] if letter in of_y else of_x[letter] for letter in in_w)
        self._kernel = self.add_weight(name="kernel", shape=shape, **options)
        self.bias = None
        if self.bias_axes:
            first = min(in_y.index(letter) for letter in self.bias_axes)
            shape = tuple(of_y[c] if c in self.bias_axes else 1 for c in in_y[first:])
            self.bias = self.add_weight(name="bias", shape=shape, **self.weight_options("bias"))

    @property
    def kernel(self):
        """The weight; a subclass may return another tensor of its shape, made of it."""
        if not hasattr(self, "_kernel"):
            raise AttributeError("You must build the layer before accessing `kernel`.")
        return self._kernel

    def call(self, inputs, training=None):
        axes, *_ = letters_of(self.equation, inputs.shape.rank)
        kernel = tf.convert_to_tensor(self.kernel)
        bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
        if not (inputs.dtype.is_floating or inputs.dtype.is_complex):
            inputs = tf.cast(inputs, self.compute_dtype)
        y = einsum_affine(inputs, kernel, bias, axes=axes)
        return y if self.activation is None else self.activation(y)

    def compute_output_shape(self, input_shape):
        (_, _, in_y), _, of_y = self._sizes(input_shape)
        return tuple(of_y[letter] for letter in in_y)

    def get_config(self):
        return {**super().get_config(), "output_shape": self.partial_output_shape}
