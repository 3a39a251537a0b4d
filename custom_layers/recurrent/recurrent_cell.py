"""RecurrentCell: what the cells of LSTM, GRU and SimpleRNN share: weights, dropout, a = x W + b.

With dropout, W sees x ∘ d and U sees h ∘ d', where the masks d and d' are drawn once for a sequence
and stay the same for all its steps (Gal & Ghahramani, A Theoretically Grounded Application of
Dropout in Recurrent Neural Networks, 2016). `implementation=1`, which `recurrent_dropout` implies,
draws masks for each gate; `implementation=2` one mask of x for all gates.
"""

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_mask, check_number
from custom_layers.private_apis import DropoutRNNCell
from custom_layers.recurrent.over_time import faster_in_halves, in_halves
from custom_layers.recurrent.recurrence import project


class RecurrentCell(Layer, DropoutRNNCell):
    """One step of a recurrent layer: weights, dropout masks, and a = x W + b.

    A subclass has `gates`, the number of blocks of `units` columns in its kernels, its `options()`,
    `step(a, states, drop) -> states`, and for all steps at once its `loop`, made by `over_time`.
    """

    gates = 1
    state_count = 1
    loop = None

    def __init__(self, units, activation, use_bias, dropout, recurrent_dropout, seed, **kwargs):
        if not isinstance(units, int) or units <= 0:
            raise ValueError(
                "Received an invalid value for argument `units`, expected a positive integer, "
                f"got {units}."
            )
        check_number(dropout=dropout, recurrent_dropout=recurrent_dropout)
        implementation = kwargs.pop("implementation", 2)
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.implementation = 1 if self.recurrent_dropout else implementation
        if self.implementation == 1 and self.gates > 1:
            self.dropout_mask_count = self.gates  # DropoutRNNCell: a mask for each gate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.state_size = units if self.state_count == 1 else [units] * self.state_count
        self.output_size = units

    def build(self, input_shape):
        self.add_weights(input_shape[-1], (self.gates * self.units,), self.bias_initializer)

    def add_weights(self, features, bias_shape, bias_initializer):
        columns = self.gates * self.units
        self.kernel = self.add_weight(
            name="kernel", shape=(features, columns), **self.weight_options("kernel")
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, columns), **self.weight_options("recurrent")
        )
        self.bias = None
        if self.use_bias:
            options = {**self.weight_options("bias"), "initializer": bias_initializer}
            self.bias = self.add_weight(name="bias", shape=bias_shape, **options)

    def drop_input(self, x, h, training):
        """x (..., B, I) after dropout, and the masks that the gates need: of x, of the state h.

        The masks stay the same until `reset_dropout_mask()`: for all steps of a sequence.
        """
        first = x if x.shape.rank == 2 else x[0]
        masks = self.get_dropout_mask(first), self.get_recurrent_dropout_mask(h)
        drop, recurrent_drop = (
            tf.stack(m) if isinstance(m, list) else m if m is None else m[None]
            for m in (masks if training else (None, None))
        )
        if drop is not None and drop.shape[0] == 1:  # all gates see the same input
            x, drop = x * drop[0], None
        return x, drop, recurrent_drop

    def recur(self, x, states, mask, training):
        """x (T, B, I), states (B, H), mask (T, B, 1) or None -> y (T, B, H), the last states."""
        x, drop_x, drop = self.drop_input(tf.cast(x, self.compute_dtype), states[0], training)
        kernel, recurrent_kernel = map(tf.convert_to_tensor, (self.kernel, self.recurrent_kernel))
        bias, *more = self.input_bias(), *self.more_biases()
        how = {"training": bool(training), **self.options()}

        def run(x, drop_x, mask, drop, *states):
            others = recurrent_kernel, *states, mask, drop, *more
            y = self.loop(x, kernel, bias, drop_x, *others, **how)
            return y if isinstance(y, tuple) else (y,)

        tensors = x, drop_x, mask, drop, *states
        halved = faster_in_halves(x, training)
        y, *other_states = in_halves(run, *tensors) if halved else run(*tensors)
        return y, [y[-1], *other_states]

    def check(self, inputs, states):
        """Raise a ValueError unless inputs (B, ..., I) and states fit weights and each other."""
        name, features = type(self).__name__, self.kernel.shape[0]
        if inputs.shape[-1] not in (None, features):
            raise ValueError(
                f"{name} was built for inputs of {features} features. "
                f"Received: inputs.shape={tuple(inputs.shape)}"
            )
        shape, shapes = (inputs.shape[0], self.units), [tuple(s.shape) for s in states]
        if len(shapes) != self.state_count or not all(
            map(tf.TensorShape(shape).is_compatible_with, shapes)
        ):
            raise ValueError(
                f"The states of {name} must be {self.state_count} of the shape (B, units), here "
                f"{shape}. Received: {shapes}"
            )

    def input_bias(self):
        return None if self.bias is None else tf.convert_to_tensor(self.bias)

    def more_biases(self):
        return ()

    def call(self, inputs, states, training=False):
        nested = isinstance(states, (list, tuple))
        states = list(states) if nested else [states]
        self.check(inputs, states)
        inputs = tf.cast(inputs, self.compute_dtype)
        inputs, drop_x, drop = self.drop_input(inputs, states[0], training)
        a = project(inputs, tf.convert_to_tensor(self.kernel), self.input_bias(), drop_x)
        states = self.step(a, states, drop)
        return states[0], states if nested else states[0]

    def get_initial_state(self, batch_size=None):
        shape = (batch_size, self.units)
        return [tf.zeros(shape, self.compute_dtype) for _ in range(self.state_count)]


def step_mask(mask, sequences):
    """The mask of the steps, (B, T) or (B, T, 1), as (B, T); None if there is none."""
    if mask is None:
        return None
    if len(mask.shape) == 3 and mask.shape[2] == 1:
        mask = tf.squeeze(mask, 2)
    check_mask(mask, sequences.shape[:2])
    # Sizes of 1 broadcast, which neither a loop over the steps nor halves of the batch would do.
    return tf.broadcast_to(mask, tf.shape(sequences)[:2])


def forget_dropout_masks(cell):
    """So that the next sequence draws new ones."""
    if isinstance(cell, DropoutRNNCell):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
    for inner in getattr(cell, "cells", ()):  # of StackedRNNCells
        forget_dropout_masks(inner)
