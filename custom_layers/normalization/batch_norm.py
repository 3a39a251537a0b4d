"""BatchNormalization: brings each channel to mean 0 and variance 1 over the batch.

    μ = 1/n Σ x          σ⁻¹ = (1/n Σ (x - μ)² + ε)^(-1/2)       x (P, C, Q)   μ, σ⁻¹, γ, β (C, 1)
    x̂ = (x - μ) σ⁻¹      y = x̂ γ + β                             sums Σ over P and Q, n = P Q

Backward, given dy = dL/dy:

    dβ = Σ dy            dγ = Σ dy x̂            dx = γ σ⁻¹ (dy - 1/n (dβ + x̂ dγ))

The subtracted part flows back through μ and σ, to the elements that these were computed from: with
a mask to those alone (while dβ and dγ sum over all), and if μ and σ are those of several replicas,
n, dβ and dγ in dx are so, too. At inference μ and σ are given, which is `channels.scale_shift`.

With `renorm`, small batches are normalized nearly as a large one would be: y = x̃ γ + β,

    x̃ = x̂ r + d          r = clip(σ / σ', r_min, r_max)      d = clip((μ - μ') / σ', -d_max, d_max)

where μ', σ' are moving averages; without clipping x̃ = (x - μ') / σ', which is what inference does.
r and d are constants to the gradient, as μ and σ come out of `batch_norm` without one: dx̂ = r dx̃,
and so the batch still cannot grow in mean or scale.

Ioffe & Szegedy, Batch normalization, ICML 2015. Ioffe, Batch renormalization, NIPS 2017.
"""

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
from custom_layers.normalization.channels import (
    channel_sum,
    fold,
    fold_mask,
    scale_shift,
    sum_over_replicas,
)
from custom_layers.private_apis import compiled_by_xla

LIMITS = ("rmax", "rmin", "dmax")  # the keys of `renorm_clipping`


def batch_norm_forward(x, gamma, beta, mask, *, epsilon, synchronized=False):
    """x, mask (P, C, Q), gamma, beta (C, 1), all but x may be None -> y (P, C, Q), μ, σ², n (C, 1).

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
    """dy (P, C, Q), and three that do not count -> dx (P, C, Q), dgamma, dbeta (C, 1)."""
    x, gamma, mask, mean, istd, n = cache
    dy, centered = wide(dy[0]), wide(x) - mean
    dbeta = channel_sum(dy)
    # What a mask hides may be NaN: it does not count where nothing comes back for it.
    product = dy * centered if mask is None else tf.math.multiply_no_nan(centered, dy)
    dgamma = channel_sum(product) * istd
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
    """x (P, C, 1), gamma, beta (C, 1) or None -> as `batch_norm_forward`."""
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
    """As `batch_norm_backward`, by the kernel that belongs to the forward's."""
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


def correction(mean, stddev, past_mean, past_stddev, epsilon, clipping):
    """μ, σ, μ', σ' and the limits -> r, d, of the same shape."""
    past_stddev = tf.maximum(past_stddev, epsilon**0.5)  # σ ≥ √ε, and σ' may start at 0
    r = stddev / past_stddev
    d = (mean - past_mean) / past_stddev
    if clipping.get("rmin") is not None:
        r = tf.maximum(r, clipping["rmin"])
    if clipping.get("rmax") is not None:
        r = tf.minimum(r, clipping["rmax"])
    if clipping.get("dmax") is not None:
        d = tf.clip_by_value(d, -clipping["dmax"], clipping["dmax"])
    return r, d


def check_clipping(clipping):
    """`clipping` as a dictionary; a ValueError unless its keys are limits that make sense."""
    clipping = dict(clipping or {})
    if set(clipping) - set(LIMITS):
        raise ValueError(
            f"Received invalid keys for `renorm_clipping` argument: {clipping}. "
            f"Supported values: {list(LIMITS)}."
        )
    rmax, rmin, dmax = (clipping.get(name) for name in LIMITS)
    if rmax is not None and rmin is not None and rmax < rmin:
        raise ValueError(
            "rmax should be greater than rmin in the `renorm_clipping` argument. "
            f"Received: rmax={rmax}, rmin={rmin}."
        )
    if dmax is not None and dmax < 0:
        raise ValueError(
            f"dmax should be non-negative in the `renorm_clipping` argument. Received: dmax={dmax}."
        )
    return clipping


def vector(weight):
    """A weight (C,) in float32 at least; None if there is none."""
    return None if weight is None else wide(tf.convert_to_tensor(weight))


def column(weight):
    """A weight (C,) as (C, 1), in float32 at least; None if there is none."""
    return None if weight is None else tf.expand_dims(vector(weight), 1)


@keras.saving.register_keras_serializable(package="custom_layers")
class BatchNormalization(Layer):
    """Normalizes each channel over the batch: `(x - μ) / √(σ² + ε) γ + β`.

    Input and output of any equal shape, ragged or not, with the channels on `axis`. In training, μ
    and σ² are of the batch, of its elements where the mask is True; at inference, or with
    `trainable=False`, they are the moving averages. Weights `gamma`, `beta`, `moving_mean`,
    `moving_variance`, all `(C,)`, and with `renorm` also `moving_stddev`, `renorm_mean`,
    `renorm_stddev`. Arguments are Keras's. What differs: moving averages are float32 at least
    (bfloat16 rounds a step of 1 % away); the replicas of a tf.distribute strategy keep equal ones;
    an empty batch leaves them alone.

    Raises:
        ValueError: `axis` is out of bounds or has no static size, or another one than before; wrong
            values of a momentum, `epsilon` or `renorm_clipping`; the mask does not fit the input.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        moving_mean_initializer: Initializer = "zeros",
        moving_variance_initializer: Initializer = "ones",
        beta_regularizer: Regularizer = None,
        gamma_regularizer: Regularizer = None,
        beta_constraint: Constraint = None,
        gamma_constraint: Constraint = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
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
        weight = {"shape": (channels,), "autocast": False}
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(name="gamma", **weight, **self.weight_options("gamma"))
        if self.center:
            self.beta = self.add_weight(name="beta", **weight, **self.weight_options("beta"))

        average = {**weight, "trainable": False, "aggregation": "mean"}
        average["dtype"] = "float64" if self.variable_dtype == "float64" else "float32"
        mean, variance = self.moving_mean_initializer, self.moving_variance_initializer
        self.moving_mean = self.add_weight(name="moving_mean", initializer=mean, **average)
        self.moving_variance = self.add_weight(
            name="moving_variance", initializer=variance, **average
        )
        if self.renorm:

            def stddev(shape, dtype=None):
                return tf.sqrt(variance(shape, dtype=dtype))

            self.moving_stddev = self.add_weight(
                name="moving_stddev", initializer=stddev, **average
            )
            self.renorm_mean = self.add_weight(name="renorm_mean", initializer=mean, **average)
            self.renorm_stddev = self.add_weight(
                name="renorm_stddev", initializer=stddev, **average
            )

    def call(self, inputs, training=None, mask=None):
        if isinstance(inputs, tf.RaggedTensor):  # over the values that are there
            axis = self.axis % inputs.shape.rank - inputs.shape.rank
            if axis <= -inputs.flat_values.shape.rank:
                raise ValueError(f"The channels must not be ragged. Received: axis={self.axis}")
            values = self._normalize(inputs.flat_values, axis, training, None)
            return inputs.with_flat_values(values)
        return self._normalize(inputs, self.axis, training, mask)

    def _normalize(self, inputs, axis, training, mask):
        x = tf.cast(inputs, self.compute_dtype)
        mask = fold_mask(mask, x, axis)
        if training and self.trainable:
            y = self._train(fold(x, axis), mask)
            return tf.reshape(tf.cast(y, x.dtype), shape_of(x))
        istd = tf.math.rsqrt(vector(self.moving_variance) + self.epsilon)
        return self._affine(x, vector(self.moving_mean), istd, axis)

    def _affine(self, x, mean, scale, axis):
        """(x - mean) scale γ + β, of x (..., C, ...) with the channels on `axis`."""
        gamma, beta = vector(self.gamma), vector(self.beta)
        scale = scale if gamma is None else scale * gamma
        return scale_shift(x, mean, scale, tf.zeros_like(mean) if beta is None else beta, axis=axis)

    def _train(self, x, mask):
        gamma, beta = column(self.gamma), column(self.beta)
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
            self._move(self.moving_variance, variance, n, self.momentum)
        self._move(self.moving_mean, mean, n, self.momentum)
        return y

    def _move(self, average, value, n, momentum):
        """One step of a moving average, unless there were no elements; its new value (C, 1)."""
        old = column(average)
        new = tf.where(n > 0, old * momentum + value * (1 - momentum), old)
        average.assign(new[:, 0])
        return new

    def _renormalize(self, xhat, mean, stddev, n):
        past = column(self.renorm_mean), column(self.renorm_stddev)
        r, d = correction(mean, stddev, *past, self.epsilon, self.renorm_clipping)
        self._move(self.renorm_mean, mean, n, self.renorm_momentum)
        self._move(self.renorm_stddev, stddev, n, self.renorm_momentum)
        moved = self._move(self.moving_stddev, stddev, n, self.momentum)
        self._move(self.moving_variance, tf.nn.relu(tf.square(moved) - self.epsilon), n, 0.0)
        nothing = tf.zeros_like(r[:, 0])
        return self._affine(xhat * r + d, nothing, nothing + 1, axis=1)

    def compute_output_shape(self, input_shape):
        return check_axes(self.axis, input_shape)
