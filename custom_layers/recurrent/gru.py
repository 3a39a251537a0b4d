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
                               dh₋ = dh ∘ z + ds ∘ r + [dp_z dp_r] [U_z U_r]ᵀ

Where the mask m_t is False, h = h₋, so da = dp = 0 and dh₋ = dh.

Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
Translation, EMNLP 2014; reset_after=True, the default, is cuDNN's.
"""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer
from custom_layers.recurrent.recurrence import (
    over_time,
    previous,
    product,
    product_dbias,
    product_dx,
    scan,
    split_before_loop,
    split_in_loop,
    vjp,
    where_mask,
)
from custom_layers.recurrent.rnn import Recurrent, RecurrentCell, of_cell


def split_candidate(columns, drop):
    """The columns of z and r, and those of g, each with its dropout masks of h."""
    H = columns.shape[-1] // 3
    drops = (None, None) if drop is None else (drop[:2], drop[2:])
    return (columns[..., : 2 * H], drops[0]), (columns[..., 2 * H :], drops[1])


def gru_step(states, a, m, U, b, *, drop, reset_after, φ, σ):
    """One step: h (B, H), a (B, 3H) or its blocks, m (B, 1) or None -> new h; h, [z r g p_g]."""
    (h_prev,) = states
    a_z, a_r, a_g = split_in_loop(a, 3)
    if reset_after:
        p_z, p_r, p_g = tf.split(product(h_prev, U, drop, b), 3, 1)
    else:
        U_zr, U_g = split_candidate(U, drop)
        p_z, p_r = tf.split(product(h_prev, *U_zr), 2, 1)
    z, r = σ(a_z + p_z), σ(a_r + p_r)
    g = φ(a_g + (r * p_g if reset_after else product(r * h_prev, *U_g)))
    h = where_mask(m, z * h_prev + (1 - z) * g, h_prev)
    return (h,), (h, tf.concat([z, r, g] + ([p_g] if reset_after else []), 1))


def gru_forward(a, U, b, h, m, drop, *, reset_after, φ, σ, **loop):
    """a (T, B, 3H), U (H, 3H), b' (3H,), h (B, H), mask m (T, B, 1) -> h (T, B, H).

    `b'`, `m` and `drop` (3, B, H), the dropout masks of h, may be None.
    """
    step = functools.partial(gru_step, U=U, b=b, drop=drop, reset_after=reset_after, φ=φ, σ=σ)
    gates = tf.TensorSpec((h.shape[0], (3 + reset_after) * h.shape[1]), h.dtype)
    _, (hs, gates) = scan(step, (h,), (split_before_loop(a, 3), m), (h, gates), **loop)
    return hs, (gates, hs, h, U, b, m, drop)


def gru_backward(dhs, cache, *, reset_after, φ, σ, unroll):
    """dh (T, B, H) of the outputs -> da (T, B, 3H), the factors of dU, db', dh of the start."""
    gates, hs, h, U, b, m, drop = cache
    U_transposed = tf.transpose(U)
    U_zr, U_g = ((tf.transpose(columns), drop) for columns, drop in split_candidate(U, drop))

    def step(states, dh, gates, h_prev, m):
        dh = dh + states[0]
        z, r, g, *p_g = split_in_loop(gates, 3 + reset_after)
        da_z, da_g = vjp(σ, z, dh * (h_prev - g)), vjp(φ, g, dh * (1 - z))
        if reset_after:
            da_r = vjp(σ, r, da_g * p_g[0])
            dp = tf.concat([da_z, da_r, da_g * r], 1)
            dh_prev = dh * z + product_dx(dp, U_transposed, drop)
        else:
            ds = product_dx(da_g, *U_g)
            da_r = vjp(σ, r, ds * h_prev)
            dh_prev = dh * z + ds * r + product_dx(tf.concat([da_z, da_r], 1), *U_zr)
        da = tf.concat([da_z, da_r, da_g], 1)
        return (where_mask(m, dh_prev, dh),), (where_mask(m, da, tf.zeros_like(da)),)

    h_prev, start = previous(h, hs), tf.zeros_like(h)
    sequences = dhs, split_before_loop(gates, 3 + reset_after), h_prev, m
    outputs = (tf.TensorSpec((h.shape[0], U.shape[1]), h.dtype),)
    (dh,), (da,) = scan(step, (start,), sequences, outputs, reverse=True, unroll=unroll)

    r = tf.split(gates, 3 + reset_after, 2)[1]
    (da_zr, drop_zr), (da_g, drop_g) = split_candidate(da, drop)
    if not reset_after:
        return da, [(da_zr, h_prev, drop_zr), (da_g, r * h_prev, drop_g)], None, dh, None, None
    dp = tf.concat([da_zr, da_g * r], 2)
    db = None if b is None else product_dbias(dp)
    return da, [(dp, h_prev, drop)], db, dh, None, None


gru = over_time(gru_forward, gru_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class GRUCell(RecurrentCell):
    """One step of a GRU, for `keras.layers.RNN` and `keras.layers.StackedRNNCells`.

    `cell(x, h) -> h, h` with x `(B, I)` and h `(B, units)`. Weights `kernel (I, 3 units)`,
    `recurrent_kernel (units, 3 units)` and `bias (2, 3 units)`, or `(3 units,)` if not
    `reset_after`. Arguments are those of `keras.layers.GRUCell`.
    """

    gates = 3
    loop, step = staticmethod(gru), staticmethod(gru_step)

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid", use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None, bias_constraint: Constraint = None,
        dropout: float = 0.0, recurrent_dropout: float = 0.0, reset_after: bool = True,
        seed: int | None = None, **kwargs,
    ):
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout,
            seed, **kwargs,
        )
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.reset_after = reset_after
        self.seed_generator = keras.random.SeedGenerator(seed)
    # fmt: on

    def build(self, input_shape):
        columns = (3 * self.units,)
        shape = (2, *columns) if self.reset_after else columns  # b and b'
        self.add_weights(input_shape[-1], shape, self.bias_initializer)

    def input_bias(self):
        bias = super().input_bias()
        return bias[0] if self.reset_after and bias is not None else bias

    def recurrent_weights(self):
        known = self.reset_after and self.bias is not None
        b = tf.convert_to_tensor(self.bias)[1] if known else None
        return *super().recurrent_weights(), b

    def options(self):
        letters = {"φ": self.activation, "σ": self.recurrent_activation}
        return {"reset_after": self.reset_after, **letters}


@keras.saving.register_keras_serializable(package="custom_layers")
class GRU(Recurrent):
    """Gated recurrent units over the time steps of a sequence.

    Input `(B, T, I)`, output `(B, units)`, or `(B, T, units)` with `return_sequences=True`,
    followed by h `(B, units)` with `return_state=True`. The weights are in `layer.cell`.
    Arguments are those of `keras.layers.GRU`; `implementation` and `use_cudnn` as with `LSTM`.
    """

    recurrent_activation = of_cell("recurrent_activation")
    reset_after = of_cell("reset_after")

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid", use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None, activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None, recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None, dropout: float = 0.0, recurrent_dropout: float = 0.0,
        seed: int | None = None, return_sequences: bool = False, return_state: bool = False,
        go_backwards: bool = False, stateful: bool = False, unroll: bool = False,
        reset_after: bool = True, use_cudnn: bool | str = "auto", **kwargs,
    ):
        cell = GRUCell(
            units, activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, kernel_regularizer, recurrent_regularizer,
            bias_regularizer, kernel_constraint, recurrent_constraint, bias_constraint, dropout,
            recurrent_dropout, reset_after, seed,
            **self.options_of_cell(kwargs, "implementation", name="gru_cell"),
        )
        super().__init__(
            cell, return_sequences, return_state, go_backwards, stateful, unroll,
            activity_regularizer=activity_regularizer, **kwargs,
        )
        self.set_use_cudnn(use_cudnn)
    # fmt: on
