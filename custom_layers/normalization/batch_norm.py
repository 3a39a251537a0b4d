"""BatchNormalization: brings each channel to mean 0 and variance 1 over the batch.

    μ = 1/n Σ x          σ⁻¹ = (1/n Σ (x - μ)² + ε)^(-1/2)       x (A, C, B)   μ, σ⁻¹, γ, β (C, 1)
    x̂ = (x - μ) σ⁻¹      y = x̂ γ + β                             sums Σ over A and B, n = A B

Backward, given dy = dL/dy:

    dβ = Σ dy            dγ = Σ dy x̂            dx = γ σ⁻¹ (dy - 1/n (dβ + x̂ dγ))

The subtracted part flows back through μ and σ, to the elements that these were computed from: with
a mask to those alone (while dβ and dγ sum over all), and if μ and σ are those of several replicas,
n, dβ and dγ in dx are so, too. At inference μ and σ are given, which is `channels.scale_shift`.

With `renorm`, x̂ becomes x̂ r + d: see `batch_renorm`.

Ioffe & Szegedy, Batch normalization, ICML 2015.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_axes, check_number, shape_of
from custom_layers.gradients import wide, with_backward
from custom_layers.normalization.batch_renorm import check_clipping, correction
from custom_layers.normalization.channels import (
    channel_sum,
    fold,
    fold_mask,
    scale_shift,
    sum_over_replicas,
)
from custom_layers.private_apis import compiled_by_xla


def batch_norm_forward(x, gamma, beta, mask, *, epsilon, synchronized=False):
    """x, mask (A, C, B), gamma, beta (C, 1), all but x may be None -> y (A, C, B), μ, σ², n (C, 1).

    μ, σ² and n are for moving averages: at least float32, and no gradient comes back from there.
    """
    total = sum_over_replicas if synchronized else tf.identity
    n = total(channel_sum(tf.ones_like(wide(x)), mask))
    divisor = tf.maximum(n, 1)  # an empty batch, a mask that hides all of it
    mean = total(channel_sum(wide(x), mask)) / divisor
    centered = wide(x) - mean
    variance = total(channel_sum(tf.square(centered), mask)) / divisor
    istd = tf.math.rsqrt(variance + epsilon)
    y = centered * (istd if gamma is None else istd * gamma)
    if beta is not None:
        y += beta
    y = tf.cast(y, x.dtype), tf.stop_gradient(mean), tf.stop_gradient(variance), n
    return y, (x, gamma, mask, mean, istd, divisor)


def batch_norm_backward(dy, cache, *, epsilon, synchronized=False):
    x, gamma, mask, mean, istd, n = cache
    dy, centered = wide(dy[0]), wide(x) - mean
    dbeta = channel_sum(dy)
    dgamma = channel_sum(dy * centered) * istd
    sums = tf.stack([dbeta, dgamma]) / n
    dbeta_n, dgamma_n = tf.unstack(sum_over_replicas(sums) if synchronized else sums)
    through = centered * (istd * dgamma_n) + dbeta_n
    if mask is not None:
        through = tf.where(mask, through, tf.zeros_like(through))
    dx = (dy - through) * (istd if gamma is None else istd * gamma)
    return tf.cast(dx, x.dtype), dgamma, dbeta, None


batch_norm = with_backward(batch_norm_forward, batch_norm_backward)


def has_kernel(x, mask, epsilon, synchronized):
    """Whether TensorFlow's fused kernel computes `batch_norm` of these.

    On a CPU it takes a third of the time, for it passes over memory as seldom as can be. It knows
    neither masks nor replicas nor float64, is fast with channels last only, and on GPUs wants a
    larger epsilon. XLA has none: it would take the variance as Σ x² / n - μ², and lose digits.
    """
    plain = mask is None and not synchronized and x.dtype != tf.float64
    return plain and x.shape[2] == 1 and epsilon > 1.001e-5 and not compiled_by_xla()


def fused_batch_norm_forward(x, gamma, beta, *, epsilon):
    """x (A, C, 1), gamma, beta (C, 1) or None -> as `batch_norm_forward`."""
    channels = x.shape[1]
    gamma = tf.ones((channels,)) if gamma is None else gamma[:, 0]
    beta = tf.zeros((channels,)) if beta is None else beta[:, 0]
    image = tf.reshape(x, (-1, 1, 1, channels))
    y, mean, variance, *reserve = tf.raw_ops.FusedBatchNormV3(
        x=image, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    n = tf.fill((channels, 1), tf.cast(shape_of(x)[0], tf.float32))
    mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
    variance = variance[:, tf.newaxis] * (n - 1) / n  # the kernel's has the divisor n - 1
    y = tf.reshape(y, shape_of(x)), mean[:, tf.newaxis], variance, n
    return y, (image, gamma, reserve)


def fused_batch_norm_backward(dy, cache, *, epsilon):
    image, gamma, reserve = cache
    dx, dgamma, dbeta, _, _ = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=tf.reshape(dy[0], shape_of(image)),
        x=image,
        scale=gamma,
        **{f"reserve_space_{i + 1}": kept for i, kept in enumerate(reserve)},
        epsilon=epsilon,
        is_training=True,
    )
    return tf.reshape(dx, shape_of(dy[0])), dgamma[:, tf.newaxis], dbeta[:, tf.newaxis]


fused_batch_norm = with_backward(fused_batch_norm_forward, fused_batch_norm_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class BatchNormalization(Layer):
    """Normalizes each channel over the batch: `(x - μ) / √(σ² + ε) γ + β`.

    Input and output of any equal shape, with the channels on `axis`. In training, μ and σ² are of
    the batch, of its elements where the mask is True; at inference, or with `trainable=False`, they
    are the moving averages. Weights `gamma`, `beta`, `moving_mean`, `moving_variance`, all `(C,)`,
    and with `renorm` also `moving_stddev`, `renorm_mean`, `renorm_stddev`. Arguments are Keras's.
    What differs: moving averages are float32 at least (bfloat16 rounds a step of 1 % away); the
    replicas of a tf.distribute strategy keep equal ones; an empty batch leaves them alone.

    Raises:
        ValueError: `axis` is out of bounds or has no static size, or another one than before; wrong
            values of a momentum, `epsilon` or `renorm_clipping`; the mask does not fit the input.
    """

    def __init__(
        self,
        axis=-1,
        momentum=0.99,
        epsilon=1e-3,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        moving_mean_initializer="zeros",
        moving_variance_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        renorm=False,
        renorm_clipping=None,
        renorm_momentum=0.99,
        synchronized=False,
        **kwargs,
    ):
        momenta = {"momentum": momentum, "renorm_momentum": renorm_momentum}
        check_number("from 0 to 1", lambda number: 0 <= number <= 1, **momenta)
        check_number("at least 0", lambda number: number >= 0, epsilon=epsilon)
        super().__init__(**kwargs)
        self.axis = int(axis)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self.set_weight_options("beta", beta_initializer, beta_regularizer, beta_constraint)
        self.set_weight_options("gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.moving_mean_initializer = keras.initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = keras.initializers.get(moving_variance_initializer)
        self.renorm = renorm
        self.renorm_clipping = check_clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.synchronized = synchronized
        self.supports_masking = True

    def build(self, input_shape):
        channels = check_axes(self.axis, input_shape, known=True)[self.axis]
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes={self.axis: channels})
        for name, wanted in (("gamma", self.scale), ("beta", self.center)):
            setattr(self, name, None)
            if wanted:
                options = {"autocast": False, **self.weight_options(name)}
                setattr(self, name, self.add_weight(name=name, shape=(channels,), **options))
        mean, variance = self.moving_mean_initializer, self.moving_variance_initializer
        averages = {"moving_mean": mean, "moving_variance": variance}
        if self.renorm:

            def stddev(shape, dtype=None):
                return tf.sqrt(variance(shape, dtype=dtype))

            averages |= {"moving_stddev": stddev, "renorm_mean": mean, "renorm_stddev": stddev}
        options = {"trainable": False, "autocast": False, "aggregation": "mean"}
        options["dtype"] = "float64" if self.variable_dtype == "float64" else "float32"
        for name, initializer in averages.items():
            options["initializer"] = initializer
            setattr(self, name, self.add_weight(name=name, shape=(channels,), **options))

    def call(self, inputs, training=None, mask=None):
        x = tf.cast(inputs, self.compute_dtype)
        mask = fold_mask(mask, x, self.axis)
        y = fold(x, self.axis)
        if training and self.trainable:
            y = self._train(y, mask)
        else:
            istd = tf.math.rsqrt(self._column("moving_variance") + self.epsilon)
            y = self._affine(y, self._column("moving_mean"), istd, tf.zeros_like(istd))
        return tf.reshape(tf.cast(y, x.dtype), shape_of(x))

    def _column(self, name):
        """The weight of that name as (C, 1), or None."""
        weight = getattr(self, name)
        return None if weight is None else tf.expand_dims(wide(tf.convert_to_tensor(weight)), 1)

    def _affine(self, x, mean, scale, shift):
        """((x - mean) scale + shift) γ + β"""
        gamma, beta = self._column("gamma"), self._column("beta")
        if gamma is not None:
            scale, shift = scale * gamma, shift * gamma
        return scale_shift(x, mean, scale, shift if beta is None else shift + beta)

    def _train(self, x, mask):
        gamma, beta = self._column("gamma"), self._column("beta")
        if self.renorm:
            x, gamma, beta = wide(x), None, None
        if has_kernel(x, mask, self.epsilon, self.synchronized):
            y, mean, variance, n = fused_batch_norm(x, gamma, beta, epsilon=self.epsilon)
        else:
            options = {"epsilon": self.epsilon, "synchronized": self.synchronized}
            y, mean, variance, n = batch_norm(x, gamma, beta, mask, **options)
        if self.renorm:
            y = self._renormalize(y, mean, tf.sqrt(variance + self.epsilon), n)
        else:
            self._move("moving_variance", variance, n, self.momentum)
        self._move("moving_mean", mean, n, self.momentum)
        return y

    def _move(self, name, value, n, momentum):
        """One step of a moving average, unless there were no elements."""
        old = self._column(name)
        new = tf.where(n > 0, old * momentum + value * (1 - momentum), old)
        getattr(self, name).assign(new[:, 0])
        return new

    def _renormalize(self, xhat, mean, stddev, n):
        past = self._column("renorm_mean"), self._column("renorm_stddev")
        r, d = correction(mean, stddev, *past, self.epsilon, self.renorm_clipping)
        self._move("renorm_mean", mean, n, self.renorm_momentum)
        self._move("renorm_stddev", stddev, n, self.renorm_momentum)
        moved = self._move("moving_stddev", stddev, n, self.momentum)
        self._move("moving_variance", tf.nn.relu(tf.square(moved) - self.epsilon), n, 0.0)
        return self._affine(xhat, tf.zeros_like(r), r, d)

    def compute_output_shape(self, input_shape):
        return check_axes(self.axis, input_shape)
