"""LayerNormalization: brings the features of each position to mean 0 and variance 1.

    μ = 1/F Σ_f x        σ⁻¹ = (1/F Σ_f (x - μ)² + ε)^(-1/2)        x (N, F)   μ, σ⁻¹ (N, 1)
    x̂ = (x - μ) σ⁻¹      y = x̂ γ + β                                γ, β (F,)  y (N, F)

where N and F may each stand for several axes.

Backward, given dy = dL/dy:

    dβ = Σ_n dy          dγ = Σ_n dy x̂
    dx = σ⁻¹ (dy γ - 1/F Σ_f dy γ - x̂ 1/F Σ_f dy γ x̂)

The two sums in dx are what flows back through μ and σ: dx has mean 0, and no part along x̂. With
`rms_scaling`, x̂ = x σ⁻¹: the first of the two sums is gone, and x̂ in the second becomes (x - μ) σ⁻¹
outside the sum, x σ⁻¹ inside it.

Ba, Kiros & Hinton, Layer normalization, arXiv:1607.06450.
"""

import warnings

import keras
import tensorflow as tf

from custom_layers.base import (
    Constraint,
    Initializer,
    Layer,
    Regularizer,
    check_axes,
    check_number,
    shape_of,
)
from custom_layers.gradients import sum_dtype, wide, with_backward


def layer_norm_forward(x, gamma, beta, *, epsilon, rms_scaling=False, rank=1):
    """x (N..., F...), gamma and beta (F...) or None -> y, of the shape of x, float32 for 16 bits.

    `rank` is the number of the axes F.
    """
    w, axes = wide(x), list(range(-rank, 0))
    mean = tf.reduce_mean(w, axes, keepdims=True)
    centered = w - mean
    istd = tf.math.rsqrt(tf.reduce_mean(tf.square(centered), axes, keepdims=True) + epsilon)
    y = (w if rms_scaling else centered) * istd
    if gamma is not None:
        y *= gamma
    if beta is not None:
        y += beta
    return y, (x, gamma, mean, istd)


def layer_norm_backward(dy, cache, *, epsilon, rms_scaling=False, rank=1):
    """dy (N..., F...) -> dx, of the shape of x, dgamma, dbeta (F...)."""
    x, gamma, mean, istd = cache
    shape = shape_of(x)
    if (x.shape.rank, rank) != (2, 1):  # the axes F as one, and the others as one
        width = x.shape[-rank:].num_elements()
        width = tf.reduce_prod(shape[-rank:]) if width is None else width
        dy, x = (tf.reshape(t, (-1, width)) for t in (dy, x))
        gamma = None if gamma is None else tf.reshape(gamma, (-1,))
        mean, istd = (tf.reshape(t, (-1, 1)) for t in (mean, istd))
    dx, *others = _backward_of_rows(dy, x, gamma, mean, istd, rms_scaling)
    return tf.reshape(dx, shape), *(tf.reshape(t, shape[-rank:]) for t in others)


def _backward_of_rows(dy, x, gamma, mean, istd, rms_scaling):
    """dy, x (N, F) -> dx (N, F), dgamma, dbeta (F,)."""
    # Sums are written as matrix products, one pass over the memory where product and sum are three:
    # Σ_f dy γ is dy times the column γ, Σ_n dy x̂ is the row σ⁻¹ times dy (x - μ).
    dtype, x = x.dtype, tf.cast(x, dy.dtype)
    centered = x - mean
    features = tf.shape(dy)[1]
    row = tf.ones((1, features), dy.dtype) if gamma is None else gamma[tf.newaxis]
    row /= tf.cast(features, dy.dtype)  # γ / F (1, F)
    product = dy * (x if rms_scaling else centered)
    dx = dy if gamma is None else dy * gamma
    dx -= centered * (istd * istd * tf.matmul(product, row, transpose_b=True))
    if not rms_scaling:
        dx -= tf.matmul(dy, row, transpose_b=True)
    dgamma = tf.matmul(istd, product, transpose_a=True)[0]
    dbeta = tf.matmul(tf.ones_like(istd), dy, transpose_a=True)[0]
    return tf.cast(dx * istd, dtype), dgamma, dbeta


layer_norm = with_backward(layer_norm_forward, layer_norm_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class LayerNormalization(Layer):
    """Normalizes over `axis` at each position of the other axes: `(x - μ) / √(σ² + ε) γ + β`.

    Input and output of any equal shape. Weights `gamma` and `beta`, with the sizes of the axes in
    `axis`. Statistics are computed in float32 at least. Arguments are those of
    `keras.layers.LayerNormalization`, and, as there, `rms_scaling=True` is deprecated: it divides x
    by the standard deviation, not by the root mean square, and has no `beta`.

    Raises:
        TypeError: `axis` is neither an integer nor a list or tuple.
        ValueError: an axis is out of bounds, or has no static size and yet a weight.
    """

    def __init__(
        self,
        axis: int | list[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        beta_regularizer: Regularizer = None,
        gamma_regularizer: Regularizer = None,
        beta_constraint: Constraint = None,
        gamma_constraint: Constraint = None,
        **kwargs,
    ):
        rms_scaling = kwargs.pop("rms_scaling", False)
        if rms_scaling:
            warnings.warn(
                "You passed `rms_scaling=True`, which is deprecated: it scales the input by the "
                "standard deviation, not by the root mean square. Use "
                "`keras.layers.RMSNormalization` instead.",
                stacklevel=2,
            )
        check_number("at least 0", lambda number: number >= 0, epsilon=epsilon)
        super().__init__(**kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(
                "Expected an int or a list/tuple of ints for the argument 'axis', "
                f"but received: {axis!r}"
            )
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.rms_scaling = rms_scaling
        self.set_weight_options("beta", beta_initializer, beta_regularizer, beta_constraint)
        self.set_weight_options("gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.supports_masking = True
        self.autocast = False  # a float32 input of a 16 bit layer is not rounded before the sums

    def build(self, input_shape):
        check_axes(self.axis, input_shape, known=self.scale or self.center)
        # As in Keras, the config of a built layer has the sorted list.
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        shape = tuple(input_shape[axis] for axis in self.axis)
        self.gamma = self.beta = None
        if self.scale or self.rms_scaling:
            self.gamma = self.add_weight(
                name="gamma", shape=shape, autocast=False, **self.weight_options("gamma")
            )
        if self.center and not self.rms_scaling:
            self.beta = self.add_weight(
                name="beta", shape=shape, autocast=False, **self.weight_options("beta")
            )

    def call(self, inputs):
        x = inputs if inputs.dtype.is_floating else tf.cast(inputs, self.compute_dtype)
        # The normalized axes go last, where they mostly are already.
        rank = x.shape.rank
        axes = sorted(axis % rank for axis in self.axis)
        order = [axis for axis in range(rank) if axis not in axes] + axes
        moved = x if order == list(range(rank)) else tf.transpose(x, order)

        def in_order(weight):
            """A weight with its sizes in the order of `axes`; None if there is none."""
            if weight is None:
                return None
            sizes = dict(zip((axis % rank for axis in self.axis), weight.shape, strict=True))
            return tf.cast(tf.reshape(weight, [sizes[axis] for axis in axes]), sum_dtype(x.dtype))

        gamma, beta = in_order(self.gamma), in_order(self.beta)
        options = {"epsilon": self.epsilon, "rms_scaling": self.rms_scaling, "rank": len(axes)}
        y = tf.cast(layer_norm(moved, gamma, beta, **options), self.compute_dtype)
        return y if moved is x else tf.transpose(y, [order.index(axis) for axis in range(rank)])

    def compute_output_shape(self, input_shape):
        return check_axes(self.axis, input_shape)

    def get_config(self):
        return {**super().get_config(), "rms_scaling": self.rms_scaling}
