"""LSTM: long short-term memory, a recurrence whose cell state c passes from step to step by a sum.

With a = x W + b, all steps in one product, for t = 1 .. T (σ: recurrent activation, φ: activation,
∘: elementwise):

    i = σ(a_i + h₋ U_i)        input gate            x (T, B, I)   W (I, 4H)   b (4H,)
    f = σ(a_f + h₋ U_f)        forget gate           U (H, 4H), columns in the order i, f, g, o
    g = φ(a_g + h₋ U_g)        candidate (c̃)         h, c (B, H)
    o = σ(a_o + h₋ U_o)        output gate           h₋, c₋: those of the step before
    c = f ∘ c₋ + i ∘ g         cell state
    h = o ∘ φ(c)               output

Backward through time, t = T .. 1. Into step t come dh, from the output and from step t+1, and dc,
from step t+1, to which the output adds dc += φ'(c) ∘ (dh ∘ o):

    [di df dg do] = [dc dc dc dh] ∘ [g c₋ i φ(c)]
    da = [σ' di, σ' df, φ' dg, σ' do]
    dh₋ = da Uᵀ                dc₋ = dc ∘ f

and after the loop, over all steps at once, dU = Σ h₋ᵀ da. The rest (dW, db, dx) is the backward of
a = x W + b. Kept are the gates, c and h: activations have their derivatives in their outputs.
Where the mask m_t is False, h = h₋ and c = c₋, so da = 0, dh₋ = dh and dc₋ = dc.

Hochreiter & Schmidhuber, Long Short-Term Memory, Neural Computation 1997; with the forget gate of
Gers, Schmidhuber & Cummins, 2000, whose bias starts at 1 (Jozefowicz et al., 2015).
"""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from custom_layers.base import Constraint, Initializer, Regularizer
from custom_layers.recurrent.recurrence import (
    activate,
    activate_vjp,
    over_time,
    previous,
    product,
    product_dx,
    scan,
    step_of,
    vjp,
    where_mask,
)
from custom_layers.recurrent.rnn import Recurrent, RecurrentCell, of_cell


def lstm_step(states, a, m, U, *, drop, φ, σ):
    """One step: h and c (B, H), a (B, 4H), m (B, 1) or None -> new states; h, c, gates (B, 4H)."""
    h_prev, c_prev = states
    gates, (i, f, g, o) = activate((σ, σ, φ, σ), a + product(h_prev, U, drop))
    c = f * c_prev + i * g
    h = o * φ(c)
    h, c = where_mask(m, h, h_prev), where_mask(m, c, c_prev)
    return (h, c), (h, c, gates)


def lstm_forward(a, U, h, c, m, drop, *, φ, σ, **loop):
    """a (T, B, 4H), U (H, 4H), h and c (B, H), mask m (T, B, 1) -> h (T, B, H), c_T (B, H).

    `m` and `drop` (4, B, H), the dropout masks of h, may be None.
    """
    step = functools.partial(lstm_step, U=U, drop=drop, φ=φ, σ=σ)
    gates = tf.TensorSpec((h.shape[0], U.shape[1]), h.dtype)
    (_, c_last), (hs, cs, gates) = scan(step, (h, c), (a, m), (h, c, gates), **loop)
    return (hs, c_last), (gates, hs, cs, h, c, U, m, drop)


def lstm_backward(dy, cache, *, φ, σ, unroll):
    """dh (T, B, H) of the outputs, dc of the last state -> da, the factors of dU, dh, dc."""
    dhs, dc_last = dy
    gates, hs, cs, h, c, U, m, drop = cache
    i, _, g, _ = tf.split(gates, 4, 2)
    φ_c, U_transposed = φ(cs), tf.transpose(U)
    # With these factors made outside of the loop, XLA on a CPU needs a fifth less time in it than
    # for the four products, each put into its place.
    factors = tf.concat([g, previous(c, cs), i, φ_c], 2)

    def step(states, dh, gates, factors, φ_c, m):
        dh_next, dc_next = states
        _, f, _, o = tf.split(gates, 4, 1)
        dh = dh + dh_next
        dc = dc_next + vjp(φ, φ_c, dh * o)
        da = activate_vjp((σ, σ, φ, σ), gates, tf.concat([dc, dc, dc, dh], 1) * factors)
        da = where_mask(m, da, tf.zeros_like(da))
        dh_prev = where_mask(m, product_dx(da, U_transposed, drop), dh)
        dc_prev = where_mask(m, dc * f, dc_next)
        return (dh_prev, dc_prev), (da,)

    start = tf.zeros_like(h), dc_last
    sequences, outputs = (dhs, gates, factors, φ_c, m), (step_of(gates),)
    (dh, dc), (da,) = scan(step, start, sequences, outputs, reverse=True, unroll=unroll)
    return da, [(da, previous(h, hs), drop)], dh, dc, None, None


lstm = over_time(lstm_forward, lstm_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class LSTMCell(RecurrentCell):
    """One step of an LSTM, for `keras.layers.RNN` and `keras.layers.StackedRNNCells`.

    `cell(x, [h, c]) -> h, [h, c]` with x `(B, I)` and states `(B, units)`. Weights
    `kernel (I, 4 units)`, `recurrent_kernel (units, 4 units)` and `bias (4 units,)`. Arguments are
    those of `keras.layers.LSTMCell`.
    """

    gates = 4
    state_count = 2
    loop, step = staticmethod(lstm), staticmethod(lstm_step)

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid", use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal", bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True, kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None, recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None, dropout: float = 0.0, recurrent_dropout: float = 0.0,
        seed: int | None = None, **kwargs,
    ):
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout,
            seed, **kwargs,
        )
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.seed_generator = keras.random.SeedGenerator(seed)
    # fmt: on

    def build(self, input_shape):
        def forget_bias_one(shape, dtype=None):
            parts = [self.bias_initializer((n * self.units,), dtype=dtype) for n in (1, 2)]
            return tf.concat([parts[0], tf.ones_like(parts[0]), parts[1]], 0)

        initializer = forget_bias_one if self.unit_forget_bias else self.bias_initializer
        self.add_weights(input_shape[-1], (4 * self.units,), initializer)

    def options(self):
        return {"φ": self.activation, "σ": self.recurrent_activation}


@keras.saving.register_keras_serializable(package="custom_layers")
class LSTM(Recurrent):
    """Long short-term memory over the time steps of a sequence.

    Input `(B, T, I)`, output `(B, units)`, or `(B, T, units)` with `return_sequences=True`,
    followed by h and c `(B, units)` with `return_state=True`. The weights are in `layer.cell`.
    Arguments are those of `keras.layers.LSTM`; `implementation=1` differs in dropout masks only,
    on a GPU the loop is cuDNN's where Keras's is (cudnn.py), unless `use_cudnn=False`.
    """

    recurrent_activation = of_cell("recurrent_activation")
    unit_forget_bias = of_cell("unit_forget_bias")

    # fmt: off
    def __init__(
        self, units: int, activation: str | Callable | None = "tanh",
        recurrent_activation: str | Callable | None = "sigmoid", use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal", bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True, kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None, bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None, kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None, bias_constraint: Constraint = None,
        dropout: float = 0.0, recurrent_dropout: float = 0.0, seed: int | None = None,
        return_sequences: bool = False, return_state: bool = False, go_backwards: bool = False,
        stateful: bool = False, unroll: bool = False, use_cudnn: bool | str = "auto", **kwargs,
    ):
        cell = LSTMCell(
            units, activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, unit_forget_bias, kernel_regularizer,
            recurrent_regularizer, bias_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint, dropout, recurrent_dropout, seed,
            **self.options_of_cell(kwargs, "implementation", name="lstm_cell"),
        )
        super().__init__(
            cell, return_sequences, return_state, go_backwards, stateful, unroll,
            activity_regularizer=activity_regularizer, **kwargs,
        )
        self.set_use_cudnn(use_cudnn)
    # fmt: on
