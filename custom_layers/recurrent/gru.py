"""GRU: a recurrence whose update gate z mixes the state before with a candidate g (h̃).

With a = x W + b, all steps in one product, for t = 1 .. T (σ: recurrent activation, φ: activation,
∘: elementwise, h₋: the h of the step before):

    z = σ(a_z + p_z)           update gate           x (T, B, I)   W (I, 3H)   b (3H,)
    r = σ(a_r + p_r)           reset gate            U (H, 3H), columns in the order z, r, g
    g = φ(a_g + q)             candidate             p = h₋ U + b'   q = r ∘ p_g
    h = z ∘ h₋ + (1 - z) ∘ g   state and output      h (B, H)   b' (3H,)

Backward through time, t = T .. 1. Into step t comes dh, from the output and from step t+1:

    dz = dh ∘ (h₋ - g)         dg = dh ∘ (1 - z)     da_g = φ' dg
    dr = da_g ∘ p_g            dp_g = da_g ∘ r
    da_z = dp_z = σ' dz        da_r = dp_r = σ' dr
    dh₋ = dh ∘ z + dp Uᵀ

and after the loop, over all steps at once, dU = Σ h₋ᵀ dp and db' = Σ dp. The rest (dW, db, dx) is
the backward of a = x W + b. With reset_after=False, as in the paper, there is no b', and

    q = s U_g, s = r ∘ h₋      ds = da_g U_gᵀ        dr = ds ∘ h₋          dU_g = Σ sᵀ da_g
                               dh₋ = dh ∘ z + ds ∘ r + [dp_z, dp_r] [U_z, U_r]ᵀ

Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
Translation, EMNLP 2014; reset_after=True, the default, is cuDNN's.
"""

import keras
import tensorflow as tf

from custom_layers.recurrent.over_time import over_time
from custom_layers.recurrent.recurrence import (
    apart,
    before,
    blocks,
    hold,
    keep,
    product,
    product_dx,
    pull_back,
    scan,
    value,
)
from custom_layers.recurrent.recurrent_cell import RecurrentCell
from custom_layers.recurrent.rnn import Recurrent


def halves(tensor, drop):
    """The blocks z, r and the block g of the columns, and of the dropout masks."""
    units = tensor.shape[-1] // 3
    drops = (None, None) if drop is None else (drop[:2], drop[2:])
    return (tensor[..., : 2 * units], drops[0]), (tensor[..., 2 * units :], drops[1])


def gru_step(a, h, kernel, bias, drop, reset_after, activation, recurrent_activation):
    """One step: a, 3 of (B, H), h (B, H) -> h, and what is kept: z, r, g, with reset_after p_g."""
    σ, φ = recurrent_activation, activation
    a_z, a_r, a_g = a
    if reset_after:
        p_z, p_r, p_g = tf.split(product(h, kernel, drop, bias), 3, 1)
    else:
        gates, candidate = halves(kernel, drop)
        p_z, p_r = tf.split(product(h, *gates), 2, 1)
    kept_z, kept_r = keep(σ, a_z + p_z), keep(σ, a_r + p_r)
    z, r = value(σ, kept_z), value(σ, kept_r)
    kept_g = keep(φ, a_g + (r * p_g if reset_after else product(r * h, *candidate)))
    h = z * h + (1 - z) * value(φ, kept_g)
    return h, tf.concat([kept_z, kept_r, kept_g] + ([p_g] if reset_after else []), 1)


def gru_forward(a, kernel, h, mask, drop, bias, *, training, **options):
    """a (T, B, 3H), U (H, 3H), h (B, H), mask (T, B, 1), drop (3, B, H), b' -> h (T, B, H)."""

    def step(states, a, mask):
        h, kept = gru_step(blocks(a, 3), *states, kernel, bias, drop, **options)
        h = hold(mask, h, states[0])
        return (h,), (h, kept)

    widths = h.shape[1], (3 + options["reset_after"]) * h.shape[1]
    _, (hs, kept) = scan(step, (h,), (apart(a, 3), mask), widths, in_place=not training)
    return hs, (kept, hs, h, kernel, mask, drop)


def gru_backward(dhs, cache, *, reset_after, activation, recurrent_activation):
    σ, φ = recurrent_activation, activation
    kept, hs, h_start, kernel, mask, drop = cache
    count = 3 + reset_after
    transposed = tf.transpose(kernel)
    gates, candidate = ((tf.transpose(k), d) for k, d in halves(kernel, drop))

    def step(states, dh_t, kept, h, mask):
        dh = states[0] + dh_t
        kept_z, kept_r, kept_g, *p_g = blocks(kept, count)
        z, r, g = value(σ, kept_z), value(σ, kept_r), value(φ, kept_g)
        da_z = pull_back(σ, kept_z, dh * (h - g))
        da_g = pull_back(φ, kept_g, dh * (1 - z))
        if reset_after:
            da_r = pull_back(σ, kept_r, da_g * p_g[0])
            dh_before = dh * z + product_dx(tf.concat([da_z, da_r, da_g * r], 1), transposed, drop)
        else:
            ds = product_dx(da_g, *candidate)
            da_r = pull_back(σ, kept_r, ds * h)
            dh_before = dh * z + ds * r + product_dx(tf.concat([da_z, da_r], 1), *gates)
        da = tf.concat([da_z, da_r, da_g], 1)
        return (hold(mask, dh_before, dh),), (hold(mask, da, tf.zeros_like(da)),)

    h_before, start = before(h_start, hs), (tf.zeros_like(h_start),)
    sequences, width = (dhs, apart(kept, count), h_before, mask), 3 * h_start.shape[1]
    (dh,), (da,) = scan(step, start, sequences, (width,), reverse=True)
    r = value(σ, tf.split(kept, count, 2)[1])
    (da_zr, drop_zr), (da_g, drop_g) = halves(da, drop)
    if not reset_after:
        return da, [(da_zr, h_before, drop_zr), (da_g, r * h_before, drop_g)], dh, None, None, None
    dp = tf.concat([da_zr, da_g * r], 2)
    return da, [(dp, h_before, drop)], dh, None, None, tf.reduce_sum(dp, (0, 1))


gru = over_time(gru_forward, gru_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class GRUCell(RecurrentCell):
    """One step of a GRU, for `keras.layers.RNN` and `keras.layers.StackedRNNCells`.

    `cell(x, h) -> h, h` with x `(B, I)` and h `(B, units)`. `kernel (I, 3 units)`,
    `recurrent_kernel (units, 3 units)`, `bias (2, 3 units)`, or `(3 units,)` if not `reset_after`.
    """

    gates = 3
    loop = staticmethod(gru)

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        reset_after=True,
        seed=None,
        **kwargs,
    ):
        super().__init__(units, activation, use_bias, dropout, recurrent_dropout, seed, **kwargs)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.reset_after = reset_after
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options(
            "recurrent", recurrent_initializer, recurrent_regularizer, recurrent_constraint
        )
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape):
        columns = (3 * self.units,)
        shape = (2, *columns) if self.reset_after else columns  # b and b'
        self.add_weights(input_shape[-1], shape, self.bias_initializer)

    def input_bias(self):
        bias = super().input_bias()
        return bias[0] if self.reset_after and bias is not None else bias

    def more_biases(self):
        known = self.reset_after and self.use_bias
        return (tf.convert_to_tensor(self.bias)[1] if known else None,)

    def options(self):
        names = ("reset_after", "activation", "recurrent_activation")
        return {name: getattr(self, name) for name in names}

    def step(self, a, states, drop):
        kernel, a = tf.convert_to_tensor(self.recurrent_kernel), tf.split(a, 3, 1)
        return [gru_step(a, *states, kernel, *self.more_biases(), drop, **self.options())[0]]


@keras.saving.register_keras_serializable(package="custom_layers")
class GRU(Recurrent):
    """Gated recurrent units over the time steps of a sequence.

    Input `(B, T, I)`, output `(B, units)`, or `(B, T, units)` with `return_sequences=True`,
    followed by h `(B, units)` with `return_state=True`. The weights are in `layer.cell`.
    Arguments are those of `keras.layers.GRU`; `implementation` and `use_cudnn` as with `LSTM`.
    """

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        seed=None,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        reset_after=True,
        use_cudnn="auto",
        **kwargs,
    ):
        cell = GRUCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            reset_after=reset_after,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="gru_cell",
            implementation=kwargs.pop("implementation", 2),
        )
        loop = (return_sequences, return_state, go_backwards, stateful, unroll)
        kwargs["activity_regularizer"] = activity_regularizer
        super().__init__(cell, *loop, use_cudnn=use_cudnn, **kwargs)
