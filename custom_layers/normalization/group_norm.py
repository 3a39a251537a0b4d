"""GroupNormalization: brings each group of channels of an example to mean 0 and variance 1.

    μ = mean x        σ⁻¹ = (mean (x - μ)² + ε)^(-1/2)       x (B, P, G, D, Q)   μ, σ⁻¹ (B, G)
    x̂ = (x - μ) σ⁻¹   y = x̂ γ + β                            γ, β (G, D)         y (B, P, G, D, Q)

The C = G D channels of the axis are G groups of D, with P places before them and Q behind them; the
means are over P, D and Q. One group is `LayerNormalization` of a whole example, as many groups as
channels are instance normalization.

Backward, given dy = dL/dy:

    dβ = Σ dy         dγ = Σ dy x̂                            over B, P and Q
    dx = σ⁻¹ (dy γ - mean dy γ - x̂ mean dy γ x̂)

Wu & He, Group normalization, ECCV 2018. Ulyanov, Vedaldi & Lempitsky, Instance normalization,
arXiv:1607.08022.
"""

import math

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
from custom_layers.gradients import wide, with_backward

GROUP, EXAMPLES = (1, 3, 4), (0, 1, 4)  # axes of means, and of the sums of dγ and dβ


def group_norm_forward(x, gamma, beta, *, epsilon):
    """x (B, P, G, D, Q), gamma and beta (G, D, 1) or None -> y, float32 where x has 16 bits."""
    w = wide(x)
    mean = tf.reduce_mean(w, GROUP, keepdims=True)
    centered = w - mean
    istd = tf.math.rsqrt(tf.reduce_mean(tf.square(centered), GROUP, keepdims=True) + epsilon)
    y = centered * istd
    if gamma is not None:
        y *= gamma
    if beta is not None:
        y += beta
    return y, (x, gamma, mean, istd)


def group_norm_backward(dy, cache, *, epsilon):
    """dy (B, P, G, D, Q) -> dx, dgamma, dbeta (G, D, 1)."""
    x, gamma, mean, istd = cache
    normal = (tf.cast(x, dy.dtype) - mean) * istd
    dgamma, dbeta = (tf.reduce_sum(part, EXAMPLES)[..., tf.newaxis] for part in (dy * normal, dy))
    if gamma is not None:
        dy *= gamma
    through_mean = tf.reduce_mean(dy, GROUP, keepdims=True)
    through_istd = tf.reduce_mean(dy * normal, GROUP, keepdims=True)
    dx = istd * (dy - through_mean - normal * through_istd)
    return tf.cast(dx, x.dtype), dgamma, dbeta


group_norm = with_backward(group_norm_forward, group_norm_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class GroupNormalization(Layer):
    """Normalizes each group of channels on `axis`, of each example: `(x - μ) / √(σ² + ε) γ + β`.

    Input and output of any equal shape. Weights `gamma` and `beta (C,)`. `groups=-1` is as many
    groups as channels. Statistics are computed in float32 at least. Arguments are those of
    `keras.layers.GroupNormalization`, whose second derivative is wrong: there the mean inside of
    the variance has no gradient.

    Raises:
        ValueError: `groups` is neither a positive integer nor -1, or does not divide the channels;
            the axis is out of bounds or has no static size.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
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
        if not isinstance(groups, int) or (groups <= 0 and groups != -1):
            raise ValueError(
                "Received an invalid value for argument `groups`, expected a positive integer "
                f"(or `-1` for instance normalization). Received: groups={groups}"
            )
        check_number("at least 0", lambda number: number >= 0, epsilon=epsilon)
        super().__init__(**kwargs)
        self.groups = groups
        self.axis = axis
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.set_weight_options("beta", beta_initializer, beta_regularizer, beta_constraint)
        self.set_weight_options("gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.supports_masking = True
        self.autocast = False  # a float32 input of a 16 bit layer is not rounded before the sums

    def build(self, input_shape):
        check_axes(self.axis, input_shape)
        channels = input_shape[self.axis]
        if channels is None:
            raise ValueError(
                f"Axis {self.axis} of input tensor should have a defined dimension but the layer "
                f"received an input with shape {input_shape}."
            )
        self.groups = channels if self.groups == -1 else self.groups
        if channels < self.groups:
            raise ValueError(
                f"Number of groups ({self.groups}) cannot be more than the number of channels "
                f"({channels})."
            )
        if channels % self.groups:
            raise ValueError(
                f"Number of groups ({self.groups}) must be a multiple of the number of channels "
                f"({channels})."
            )
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes={self.axis: channels})
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma", shape=(channels,), autocast=False, **self.weight_options("gamma")
            )
        if self.center:
            self.beta = self.add_weight(
                name="beta", shape=(channels,), autocast=False, **self.weight_options("beta")
            )

    def call(self, inputs):
        x = inputs if inputs.dtype.is_floating else tf.cast(inputs, self.compute_dtype)
        axis, shape = self.axis % x.shape.rank, shape_of(x)
        before, after = (
            math.prod(part) if None not in part else tf.reduce_prod(dynamic)
            for part, dynamic in (
                (tuple(x.shape)[1:axis], shape[1:axis]),
                (tuple(x.shape)[axis + 1 :], shape[axis + 1 :]),
            )
        )
        each = x.shape[axis] // self.groups
        groups = tf.reshape(x, (shape[0], before, self.groups, each, after))
        gamma, beta = (
            None
            if weight is None
            else tf.cast(tf.reshape(weight, (self.groups, each, 1)), wide(x).dtype)
            for weight in (self.gamma, self.beta)
        )
        y = group_norm(groups, gamma, beta, epsilon=self.epsilon)
        return tf.reshape(tf.cast(y, self.compute_dtype), shape)

    def compute_output_shape(self, input_shape):
        return check_axes(self.axis, input_shape)
