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
from step t+1:

    do = dh ∘ φ(c)             dc = dc + φ'(c) ∘ (dh ∘ o)
    di = dc ∘ g                df = dc ∘ c₋                  dg = dc ∘ i
    da = [σ' di, σ' df, φ' dg, σ' do]
    dh₋ = da Uᵀ                dc₋ = dc ∘ f

and after the loop, over all steps at once, dU = Σ h₋ᵀ da. The rest (dW, db, dx) is the backward of
a = x W + b. Kept are the gates, c and h: σ and tanh have their derivatives in their outputs.

Hochreiter & Schmidhuber, Long Short-Term Memory, Neural Computation 1997; with the forget gate of
Gers, Schmidhuber & Cummins, 2000, whose bias starts at 1 (Jozefowicz et al., 2015).
"""

import keras
import tensorflow as tf

from custom_layers.recurrent.over_time import over_time
from custom_layers.recurrent.recurrence import (
    before,
    hold,
    keep,
    keep_blocks,
    product,
    product_dx,
    pull_back,
    pull_back_blocks,
    scan,
    value,
)
from custom_layers.recurrent.recurrent_cell import RecurrentCell
from custom_layers.recurrent.rnn import Recurrent


def gate_values(gates, σ, φ):
    """The gates i, f, g, o (..., H), from what was kept of them (..., 4H)."""
    return [value(f, kept) for f, kept in zip((σ, σ, φ, σ), tf.split(gates, 4, -1), strict=True)]


def lstm_step(a, h, c, kernel, drop, activation, recurrent_activation):
    """One step: a (B, 4H), h and c (B, H) -> h, c, and the kept gates (B, 4H)."""
    σ, φ = recurrent_activation, activation
    gates, (i, f, g, o) = keep_blocks((σ, σ, φ, σ), a + product(h, kernel, drop))
    c = f * c + i * g
    h = o * φ(c)
    return h, c, gates


def lstm_forward(a, kernel, h, c, mask, drop, *, activation, recurrent_activation, training):
    """a (T, B, 4H), U (H, 4H), h and c (B, H), mask (T, B, 1), drop (4, B, H) -> h (T, B, H), c_T.

    `mask` and `drop`, the dropout masks of h, may be None.
    """

    def step(states, a, mask):
        h, c, gates = lstm_step(a, *states, kernel, drop, activation, recurrent_activation)
        h, c = hold(mask, h, states[0]), hold(mask, c, states[1])
        return (h, c), (h, c, gates)

    widths = (h.shape[1], h.shape[1], 4 * h.shape[1])
    (_, c_last), (hs, cs, gates) = scan(step, (h, c), (a, mask), widths, in_place=not training)
    return (hs, c_last), (gates, hs, cs, h, c, kernel, mask, drop)


def lstm_backward(dy, cache, *, activation, recurrent_activation):
    σ, φ = recurrent_activation, activation
    dhs, dc_last = dy
    gates, hs, cs, h_start, c_start, kernel, mask, drop = cache
    transposed = tf.transpose(kernel)
    i, _, g, _ = gate_values(gates, σ, φ)
    kept_c = keep(φ, cs)
    # [di, df, dg, do] = [dc, dc, dc, dh] ∘ factors: with these made outside of the loop, XLA on a
    # CPU needs a fifth less time in it than for the four products, each put into its place.
    factors = tf.concat([g, before(c_start, cs), i, value(φ, kept_c)], 2)

    def step(states, dh_t, gates, factors, kept_c, mask):
        dh, dc_next = states
        dh = dh + dh_t
        _, f, _, o = gate_values(gates, σ, φ)
        dc = dc_next + pull_back(φ, kept_c, dh * o)
        da = pull_back_blocks((σ, σ, φ, σ), gates, tf.concat([dc, dc, dc, dh], 1) * factors)
        da = hold(mask, da, tf.zeros_like(da))
        dh_before = hold(mask, product_dx(da, transposed, drop), dh)
        dc_before = hold(mask, dc * f, dc_next)
        return (dh_before, dc_before), (da,)

    (dh, dc), (da,) = scan(
        step,
        (tf.zeros_like(h_start), dc_last),
        (dhs, gates, factors, kept_c, mask),
        (gates.shape[-1],),
        reverse=True,
    )
    return da, [(da, before(h_start, hs), drop)], dh, dc, None, None


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
    loop = staticmethod(lstm)

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(units, activation, use_bias, dropout, recurrent_dropout, seed, **kwargs)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options(
            "recurrent", recurrent_initializer, recurrent_regularizer, recurrent_constraint
        )
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape):
        def forget_bias_one(shape, dtype=None):
            parts = [self.bias_initializer((n * self.units,), dtype=dtype) for n in (1, 2)]
            return tf.concat([parts[0], tf.ones_like(parts[0]), parts[1]], 0)

        initializer = forget_bias_one if self.unit_forget_bias else self.bias_initializer
        self.add_weights(input_shape[-1], (4 * self.units,), initializer)

    def options(self):
        return {
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
        }

    def step(self, a, states, drop):
        kernel = tf.convert_to_tensor(self.recurrent_kernel)
        return list(lstm_step(a, *states, kernel, drop, **self.options())[:2])


@keras.saving.register_keras_serializable(package="custom_layers")
class LSTM(Recurrent):
    """Long short-term memory over the time steps of a sequence.

    Input `(B, T, I)`, output `(B, units)`, or `(B, T, units)` with `return_sequences=True`,
    followed by h and c `(B, units)` with `return_state=True`. The weights are in `layer.cell`.
    Arguments are those of `keras.layers.LSTM`; `implementation=1` differs in dropout masks only,
    on a GPU the loop is cuDNN's where Keras's is (cudnn.py), unless `use_cudnn=False`.
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
        unit_forget_bias=True,
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
        use_cudnn="auto",
        **kwargs,
    ):
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="lstm_cell",
            implementation=kwargs.pop("implementation", 2),
        )
        loop = (return_sequences, return_state, go_backwards, stateful, unroll)
        kwargs["activity_regularizer"] = activity_regularizer
        super().__init__(cell, *loop, use_cudnn=use_cudnn, **kwargs)
