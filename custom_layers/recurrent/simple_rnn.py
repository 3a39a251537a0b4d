"""SimpleRNN: the recurrence of Elman, one product with the state before, then an activation.

With a = x W + b, all steps in one product, for t = 1 .. T (φ: activation):

    h = φ(a + h₋ U)            x (T, B, I)   W (I, H)   b (H,)   U (H, H)   h (B, H)
                               h₋: that of the step before

Backward through time, t = T .. 1. Into step t comes dh, from the output and from step t+1:

    da = φ' dh                 dh₋ = da Uᵀ

and after the loop, over all steps at once, dU = Σ h₋ᵀ da. The rest (dW, db, dx) is the backward of
a = x W + b.

Elman, Finding Structure in Time, Cognitive Science 1990.
"""

import keras
import tensorflow as tf

from custom_layers.recurrent.over_time import over_time
from custom_layers.recurrent.recurrence import (
    SLOPES,
    before,
    hold,
    product,
    product_dx,
    pull_back,
    scan,
)
from custom_layers.recurrent.recurrent_cell import RecurrentCell
from custom_layers.recurrent.rnn import Recurrent


def simple_rnn_forward(a, kernel, h, mask, drop, *, activation, training):
    """a (T, B, H), U (H, H), h (B, H), mask (T, B, 1), drop (1, B, H) -> h (T, B, H).

    `mask` and `drop`, the dropout mask of h, may be None.
    """
    kept = 1 if activation in SLOPES else 2  # h is what the backward needs, or the argument is

    def step(states, a, mask):
        z = a + product(states[0], kernel, drop)
        h = hold(mask, activation(z), states[0])
        return (h,), (h, z)[:kept]

    widths = (h.shape[1],) * kept
    _, sequences = scan(step, (h,), (a, mask), widths, in_place=not training)
    return sequences[0], (sequences[0], sequences[-1], h, kernel, mask, drop)


def simple_rnn_backward(dhs, cache, *, activation):
    hs, kept, h_start, kernel, mask, drop = cache
    transposed = tf.transpose(kernel)

    def step(states, dh_t, kept, mask):
        dh = states[0] + dh_t
        da = pull_back(activation, kept, dh)
        da = hold(mask, da, tf.zeros_like(da))
        return (hold(mask, product_dx(da, transposed, drop), dh),), (da,)

    start, width = (tf.zeros_like(h_start),), hs.shape[-1]
    (dh,), (da,) = scan(step, start, (dhs, kept, mask), (width,), reverse=True)
    return da, [(da, before(h_start, hs), drop)], dh, None, None


simple_rnn = over_time(simple_rnn_forward, simple_rnn_backward)


@keras.saving.register_keras_serializable(package="custom_layers")
class SimpleRNNCell(RecurrentCell):
    """One step of a SimpleRNN, for `keras.layers.RNN` and `keras.layers.StackedRNNCells`.

    `cell(x, h) -> h, h` with x `(B, I)` and h `(B, units)`. Weights `kernel (I, units)`,
    `recurrent_kernel (units, units)` and `bias (units,)`. Arguments are those of
    `keras.layers.SimpleRNNCell`.
    """

    loop = staticmethod(simple_rnn)

    def __init__(
        self,
        units,
        activation="tanh",
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
        seed=None,
        **kwargs,
    ):
        super().__init__(units, activation, use_bias, dropout, recurrent_dropout, seed, **kwargs)
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options(
            "recurrent", recurrent_initializer, recurrent_regularizer, recurrent_constraint
        )
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)

    def options(self):
        return {"activation": self.activation}

    def step(self, a, states, drop):
        kernel = tf.convert_to_tensor(self.recurrent_kernel)
        return [self.activation(a + product(states[0], kernel, drop))]


@keras.saving.register_keras_serializable(package="custom_layers")
class SimpleRNN(Recurrent):
    """A fully connected recurrence over the time steps of a sequence.

    Input `(B, T, I)`, output `(B, units)`, or `(B, T, units)` with `return_sequences=True`,
    followed by h `(B, units)` with `return_state=True`. The weights are in `layer.cell`.
    Arguments are those of `keras.layers.SimpleRNN`.
    """

    def __init__(
        self,
        units,
        activation="tanh",
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
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        seed=None,
        **kwargs,
    ):
        cell = SimpleRNNCell(
            units,
            activation=activation,
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
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="simple_rnn_cell",
        )
        loop = (return_sequences, return_state, go_backwards, stateful, unroll)
        kwargs["activity_regularizer"] = activity_regularizer
        super().__init__(cell, *loop, **kwargs)
