"""SimpleRNN: the recurrence of Elman, one product with the state before, then an activation.

With a = x W + b, all steps in one product, for t = 1 .. T (φ: activation):

    h = φ(a + h₋ U)            x (T, B, I)   W (I, H)   b (H,)   U (H, H)   h (B, H)
                               h₋: that of the step before

Backward through time, t = T .. 1. Into step t comes dh, from the output and from step t+1:

    da = φ' dh                 dh₋ = da Uᵀ

and after the loop, over all steps at once, dU = Σ h₋ᵀ da. The rest (dW, db, dx) is the backward of
a = x W + b. Where the mask m_t is False, h = h₋, so da = 0 and dh₋ = dh.

Elman, Finding Structure in Time, Cognitive Science 1990.
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
    product_dx,
    scan,
    vjp,
    where_mask,
)
from custom_layers.recurrent.rnn import Recurrent, RecurrentCell


def simple_rnn_step(states, a, m, U, *, drop, φ):
    """One step: h (B, H), a (B, H), m (B, 1) or None -> the new h, as state and as output."""
    (h_prev,) = states
    h = where_mask(m, φ(a + product(h_prev, U, drop)), h_prev)
    return (h,), (h,)


def simple_rnn_forward(a, U, h, m, drop, *, φ, **loop):
    """a (T, B, H), U (H, H), h (B, H), mask m (T, B, 1), drop (1, B, H) -> h (T, B, H).

    `m` and `drop`, the dropout mask of h, may be None.
    """
    step = functools.partial(simple_rnn_step, U=U, drop=drop, φ=φ)
    _, (hs,) = scan(step, (h,), (a, m), (h,), **loop)
    return hs, (hs, h, U, m, drop)


def simple_rnn_backward(dhs, cache, *, φ, unroll):
    """dh (T, B, H) of the outputs -> da (T, B, H), the factors of dU, and dh of the start."""
    hs, h, U, m, drop = cache
    U_transposed = tf.transpose(U)

    def step(states, dh, h, m):
        dh = dh + states[0]
        da = vjp(φ, h, dh)
        da = where_mask(m, da, tf.zeros_like(da))
        return (where_mask(m, product_dx(da, U_transposed, drop), dh),), (da,)

    start = tf.zeros_like(h)
    (dh,), (da,) = scan(step, (start,), (dhs, hs, m), (start,), reverse=True, unroll=unroll)
    return da, [(da, previous(h, hs), drop)], dh, None, None


simple_rnn = over_time(simple_rnn_forward, simple_rnn_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class SimpleRNNCell(RecurrentCell):
    """One step of a SimpleRNN, for `keras.layers.RNN` and `keras.layers.StackedRNNCells`.

    `cell(x, h) -> h, h` with x `(B, I)` and h `(B, units)`. Weights `kernel (I, units)`,
    `recurrent_kernel (units, units)` and `bias (units,)`. Arguments are those of
    `keras.layers.SimpleRNNCell`.
    """

    loop, step = staticmethod(simple_rnn), staticmethod(simple_rnn_step)

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = "tanh", use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None, bias_constraint: Constraint = None,
        dropout: float = 0.0, recurrent_dropout: float = 0.0, seed: int | None = None, **kwargs,
    ):
        seed_generator = keras.random.SeedGenerator(seed)  # as Keras, before the initializers
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout,
            seed, **kwargs,
        )
        self.seed_generator = seed_generator
    # fmt: on

    def options(self):
        return {"φ": self.activation}


@keras.saving.register_keras_serializable(package="custom_layers")
class SimpleRNN(Recurrent):
    """A fully connected recurrence over the time steps of a sequence.

    Input `(B, T, I)`, output `(B, units)`, or `(B, T, units)` with `return_sequences=True`,
    followed by h `(B, units)` with `return_state=True`. The weights are in `layer.cell`.
    Arguments are those of `keras.layers.SimpleRNN`.
    """

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = "tanh", use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal", bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None, recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None, activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None, recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None, dropout: float = 0.0, recurrent_dropout: float = 0.0,
        return_sequences: bool = False, return_state: bool = False, go_backwards: bool = False,
        stateful: bool = False, unroll: bool = False, seed: int | None = None, **kwargs,
    ):
        cell = SimpleRNNCell(
            units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout,
            seed, **self.options_of_cell(kwargs, name="simple_rnn_cell"),
        )
        super().__init__(
            cell, return_sequences, return_state, go_backwards, stateful, unroll,
            activity_regularizer=activity_regularizer, **kwargs,
        )
    # fmt: on
