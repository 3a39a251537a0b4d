"""RNN: runs a cell over time; Recurrent and RecurrentCell: what LSTM, GRU and SimpleRNN share.

    y_t, s_t = cell(x_t, s_{t-1})        x (B, T, I)   s_t (B, H), one or several   y (B, T, H)

With a mask m (B, T), a step happens where m_t is True. Elsewhere the states stay as they are, and
the output is that of the last step that happened, 0 before the first one, or always 0
(`zero_output_for_mask`).

With dropout, W sees x ∘ d and U sees h ∘ d', where the masks d and d' are drawn once for a sequence
and stay the same for all its steps (Gal & Ghahramani, A Theoretically Grounded Application of
Dropout in Recurrent Neural Networks, 2016). `implementation=1`, which `recurrent_dropout` implies,
draws masks for each gate; `implementation=2` one mask of x for all gates.
"""

import contextlib
import operator
from typing import Any

import keras
import tensorflow as tf

from custom_layers.base import Layer, check_mask, check_number, check_positive
from custom_layers.private_apis import (
    AutocastScope,
    DotNotTrackScope,
    DropoutRNNCell,
    compiled_by_xla,
    cudnn_ok,
    takes_training,
)
from custom_layers.recurrent.cudnn import cudnn_loop
from custom_layers.recurrent.recurrence import (
    faster_in_halves,
    halves,
    join_halves,
    project,
    scan,
    where_mask,
)


class RecurrentCell(Layer, DropoutRNNCell):
    """One step of a recurrent layer: weights, dropout masks, and a = x W + b.

    A subclass has `gates`, the number of blocks of `units` columns in its kernels, its `options()`,
    `step(states, a, m, U, ..., drop=, **options) -> states, outputs`, and for all steps at once its
    `loop`, made by `over_time`.
    """

    gates = 1
    state_count = 1
    step = loop = None

    # fmt: off
    def __init__(
        self, units, activation, use_bias, kernel_initializer, recurrent_initializer,
        bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer,
        kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed,
        **kwargs,
    ):
        # fmt: on
        check_positive(units=units)
        check_number(dropout=dropout, recurrent_dropout=recurrent_dropout)
        implementation = kwargs.pop("implementation", 2)
        super().__init__(**kwargs)
        self.units = int(units)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options(
            "recurrent", recurrent_initializer, recurrent_regularizer, recurrent_constraint
        )
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.implementation = 1 if self.recurrent_dropout else implementation
        if self.implementation == 1 and self.gates > 1:
            self.dropout_mask_count = self.gates  # DropoutRNNCell: a mask for each gate
        self.seed = seed  # of the `seed_generator`, which each cell makes when Keras's does
        self.state_size = self.units if self.state_count == 1 else [self.units] * self.state_count
        self.output_size = self.units

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

    def input_bias(self):
        """b of a = x W + b."""
        return None if self.bias is None else tf.convert_to_tensor(self.bias)

    def recurrent_weights(self):
        """The weights of a step: U, and what a subclass adds to it."""
        return (tf.convert_to_tensor(self.recurrent_kernel),)

    def drop_input(self, x, h, training):
        """x (..., B, I) after dropout, and the masks that the gates need: of x, of the state h.

        The masks stay the same until `reset_dropout_mask()`: for all steps of a sequence.
        """
        first = x if x.shape.rank == 2 else x[0]
        masks = self.get_dropout_mask(first), self.get_recurrent_dropout_mask(h)
        drop_x, drop = (
            tf.stack(m) if isinstance(m, list) else m if m is None else m[None]
            for m in (masks if training else (None, None))
        )
        if drop_x is not None and drop_x.shape[0] == 1:  # all gates see the same input
            x, drop_x = x * drop_x[0], None
        return x, drop_x, drop

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

    def call(self, inputs, states, training=False):
        nested = isinstance(states, (list, tuple))
        states = list(states) if nested else [states]
        self.check(inputs, states)
        x, drop_x, drop = self.drop_input(
            tf.cast(inputs, self.compute_dtype), states[0], training
        )
        a = project(x, tf.convert_to_tensor(self.kernel), self.input_bias(), drop_x)
        states, _ = self.step(
            states, a, None, *self.recurrent_weights(), drop=drop, **self.options()
        )
        return states[0], list(states) if nested else states[0]

    def run(self, x, states, m, training, unroll):
        """All steps: x (T, B, I), states (B, H), mask m (T, B, 1) or None -> y (T, B, H), states.

        What `call` computes, step by step: a subclass with a `call` of its own is not run by this.
        """
        x, drop_x, drop = self.drop_input(tf.cast(x, self.compute_dtype), states[0], training)
        W, b = tf.convert_to_tensor(self.kernel), self.input_bias()
        weights = self.recurrent_weights()
        options = {"training": bool(training), "unroll": unroll, **self.options()}
        batches = [(x, drop_x, m, drop, *states)]
        if faster_in_halves(x, training, unroll):
            batches = halves(*batches[0])
        results = []
        for x, drop_x, m, drop, *states in batches:
            y = self.loop(x, W, b, drop_x, *weights, *states, m, drop, **options)
            results.append(tf.nest.flatten(y))
        y, *other_states = join_halves(results)
        return y, [y[-1], *other_states]

    def get_initial_state(self, batch_size=None):
        shape = (batch_size, self.units)
        return [tf.zeros(shape, self.compute_dtype) for _ in range(self.state_count)]


def runs_at_once(cell):
    """Whether the cell has a `run` for all steps that computes what its `call` does at each."""
    is_one = isinstance(cell, RecurrentCell)
    return is_one and type(cell).call is RecurrentCell.call and "call" not in vars(cell)


def mask_of_steps(mask, sequences):
    """The mask of the steps, (B, T) or (B, T, 1), as (B, T); None if there is none."""
    if mask is None:
        return None
    if len(mask.shape) == 3 and mask.shape[2] == 1:
        mask = tf.squeeze(mask, 2)
    check_mask(mask, sequences.shape[:2])
    # Sizes of 1 broadcast, which neither a loop over the steps nor halves of the batch would do.
    return tf.broadcast_to(mask, tf.shape(sequences)[:2])


def reset_dropout_masks(cell):
    """So that the next sequence draws new ones."""
    if isinstance(cell, DropoutRNNCell):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
    for inner in getattr(cell, "cells", ()):  # of StackedRNNCells
        reset_dropout_masks(inner)


@keras.saving.register_keras_serializable(package="custom_layers")
class RNN(Layer):
    """A layer that runs a cell, any cell of Keras's interface, over the time steps of its input.

    Input `(B, T, ...)`, output `(B, H)`, or `(B, T, H)` with `return_sequences=True`, and after it
    the last states with `return_state=True`. Arguments are those of `keras.layers.RNN`; `unroll`
    repeats the operations for each step, for converters that do not support loops.

    Gradients of a cell that is not one of ours are TensorFlow's.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs,
    ):
        if isinstance(cell, (list, tuple)):
            cell = keras.layers.StackedRNNCells(cell)
        if not hasattr(cell, "call"):
            raise ValueError(f"Argument `cell` should have a `call` method. Received: cell={cell}")
        if not isinstance(getattr(cell, "state_size", None), (int, list, tuple)):
            raise ValueError(
                "The RNN cell should have a `state_size` attribute (single integer or list of "
                f"integers, one integer per RNN state). Received: cell={cell}"
            )
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self.states = None
        sizes = cell.state_size
        self.single_state = isinstance(sizes, int)
        self.state_size = [sizes] if self.single_state else list(sizes)

    def build(self, sequences_shape, initial_state_shape=None):
        if isinstance(self.cell, keras.layers.Layer) and not self.cell.built:
            self.cell.build((sequences_shape[0], *sequences_shape[2:]))
            self.cell.built = True
        if self.stateful and self.states is None:
            if sequences_shape[0] is None:
                raise ValueError(
                    "When using `stateful=True` in a RNN, the batch size must be static. Found "
                    f"dynamic batch size: sequence.shape={sequences_shape}"
                )
            # They belong to the data, not to the weights of the layer.
            with DotNotTrackScope(), keras.name_scope(self.name):
                self.states = tf.nest.map_structure(
                    lambda s: keras.Variable(
                        s, trainable=False, dtype=self.variable_dtype, name="rnn_state"
                    ),
                    self.get_initial_state(sequences_shape[0]),
                )

    def get_initial_state(self, batch_size):
        """Zeros, or what the cell begins with: a list of its states."""
        if not hasattr(self.cell, "get_initial_state"):
            dtype = self.cell.compute_dtype
            return [tf.zeros((batch_size, size), dtype) for size in self.state_size]
        states = self.cell.get_initial_state(batch_size=batch_size)
        return list(states) if tf.nest.is_nested(states) else [states]

    def reset_state(self):
        """Set the states of a stateful layer to 0."""
        for state in tf.nest.flatten(self.states or []):
            state.assign(tf.zeros_like(state.value))

    def reset_states(self):
        """Keras's older name of `reset_state`."""
        self.reset_state()

    def call(self, sequences, initial_state=None, mask=None, training=False):
        self._check(sequences)
        if initial_state is None:
            batch = tf.shape(sequences)[0]
            initial_state = self.states if self.stateful else self.get_initial_state(batch)
        elif not tf.nest.is_nested(initial_state):
            initial_state = [initial_state]
        states = tf.nest.map_structure(
            lambda s: tf.cast(tf.convert_to_tensor(s), self.cell.compute_dtype), list(initial_state)
        )
        mask = mask_of_steps(tf.nest.flatten(mask)[0], sequences)
        try:
            last, y, states = self.inner_loop(
                sequences=sequences, initial_state=states, mask=mask, training=training
            )
        finally:
            reset_dropout_masks(self.cell)
        if self.stateful:
            for variable, state in zip(*map(tf.nest.flatten, (self.states, states)), strict=True):
                variable.assign(state)
        y = y if self.return_sequences else last
        y, states = tf.nest.map_structure(lambda t: tf.cast(t, self.compute_dtype), (y, states))
        return (y, *states) if self.return_state else y

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """(B, T, ...), states, mask (B, T) or None -> last output, all outputs, last states.

        Without `return_sequences`, "all" are the last one alone, `(B, 1, ...)`.
        """
        x, m = swap_time(sequences), None
        if self.go_backwards:
            x = tf.reverse(x, [0])
        if mask is not None:
            m = swap_time(tf.expand_dims(tf.cast(mask, tf.bool), 2))  # (T, B, 1)
            m = tf.reverse(m, [0]) if self.go_backwards else m
            x = where_mask(m, x, tf.zeros_like(x))  # NaN times 0 would be NaN
        # The weights are cast to the cell's dtype, which need not be that of the layer.
        with AutocastScope(self.cell.compute_dtype):
            if runs_at_once(self.cell):
                self.cell.check(sequences, initial_state)
                y, states = self.cell.run(x, initial_state, m, training, self.unroll)
            else:
                y, states = self._each_step(x, initial_state, m, training)
        if m is not None and not self.zero_output_for_mask:
            m = tf.cumsum(tf.cast(m, tf.int32)) > 0  # from the first step on
        if not self.return_sequences:
            y, m = y[-1:], None if m is None else m[-1:]
        y = swap_time(where_mask(m, y, tf.zeros_like(y)))
        return y[:, -1], y, states

    def _each_step(self, x, states, m, training):
        """x (T, B, ...), states, mask m (T, B, 1) or None -> outputs (T, B, ...), last states."""
        call = {"training": training} if takes_training(self.cell) else {}
        y, _ = self.cell(x[0], states, **call)  # for its shape, and to draw the dropout masks

        def step(before, x, m):
            y, new = self.cell(x, before[1], **call)
            new = tf.nest.pack_sequence_as(before, tf.nest.flatten((y, new)))
            new = tf.nest.map_structure(lambda n, o: where_mask(m, n, o), new, before)
            return new, (new[0],)

        start = tf.zeros_like(y), states
        (_, states), (y,) = scan(step, start, (x, m), (y,), unroll=self.unroll)
        return y, states

    def _check(self, sequences):
        if sequences.shape[1] == 0:
            raise ValueError(f"Expected at least one time step. Received: {sequences.shape}")
        if self.unroll and sequences.shape[1] is None:
            raise ValueError(
                "Cannot unroll a RNN if the time dimension is undefined. Specify it by passing a "
                "`shape` or `batch_shape` argument to your `Input()`."
            )
        if self.stateful and self.states is not None:
            expected, received = tf.nest.flatten(self.states)[0].shape[0], sequences.shape[0]
            if received is not None and received != expected:
                raise ValueError(
                    "If an RNN is stateful, the batch size of the input sequences must be the same "
                    "as the batch size of the initial state. \n"
                    f"- Expected batch size: {expected}\n- Received batch size: {received}"
                )
            sequences.set_shape((expected, *sequences.shape[1:]))  # an export forgets it

    def compute_output_spec(self, *args, **kwargs):
        if runs_at_once(self.cell):
            return super().compute_output_spec(*args, **kwargs)
        # Any other cell may have outputs of more axes: the shapes are those that `call` makes.
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        batch, time = sequences_shape[:2]
        size = getattr(self.cell, "output_size", None)
        size = self.state_size[0] if size is None else size
        y = (batch, time, size) if self.return_sequences else (batch, size)
        if not self.return_state:
            return y
        return y, *(
            (batch, s) if isinstance(s, int) else [(batch, part) for part in s]
            for s in self.state_size
        )

    def compute_mask(self, _, mask):
        mask = tf.nest.flatten(mask)[0] if self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        cell = keras.saving.deserialize_keras_object(
            config.pop("cell"), custom_objects=custom_objects
        )
        return cls(cell, **config)


def swap_time(x):
    """(B, T, ...) <-> (T, B, ...)."""
    return tf.transpose(x, (1, 0, *range(2, x.shape.rank)))


def of_cell(name):
    """A property of a layer: an argument of its cell, to be set there."""

    def refuse(layer, value):
        raise AttributeError(f"`{name}` belongs to the cell: set `layer.cell.{name}`.")

    return property(operator.attrgetter(f"cell.{name}"), refuse)


class Recurrent(RNN):
    """An RNN around a cell of its own, whose arguments it takes and shows: `layer.units`."""

    units = of_cell("units")
    activation = of_cell("activation")
    use_bias = of_cell("use_bias")
    kernel_initializer = of_cell("kernel_initializer")
    recurrent_initializer = of_cell("recurrent_initializer")
    bias_initializer = of_cell("bias_initializer")
    kernel_regularizer = of_cell("kernel_regularizer")
    recurrent_regularizer = of_cell("recurrent_regularizer")
    bias_regularizer = of_cell("bias_regularizer")
    kernel_constraint = of_cell("kernel_constraint")
    recurrent_constraint = of_cell("recurrent_constraint")
    bias_constraint = of_cell("bias_constraint")
    dropout = of_cell("dropout")
    recurrent_dropout = of_cell("recurrent_dropout")
    seed = of_cell("seed")

    def __init__(self, cell, *loop, **kwargs):
        super().__init__(cell, *loop, **kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=3)

    @staticmethod
    def options_of_cell(kwargs, *names, name):
        """The options of the cell among those of the layer; it takes those of `names` alone."""
        options = {"dtype": kwargs.get("dtype"), "trainable": kwargs.get("trainable", True)}
        return {**options, **{n: kwargs.pop(n) for n in names if n in kwargs}, "name": name}

    def set_use_cudnn(self, use_cudnn):
        """Store when the loop is cuDNN's; raise a ValueError if that is none of Keras's values."""
        if use_cudnn not in ("auto", True, False):
            raise ValueError(
                "Invalid value received for argument `use_cudnn`. Expected one of {'auto', True, "
                f"False}}. Received: use_cudnn={use_cudnn}"
            )
        self.use_cudnn = use_cudnn
        if use_cudnn and self._fits_cudnn():
            self.supports_jit = False  # Keras's word to `fit`, as XLA cannot compile cuDNN

    def _fits_cudnn(self):
        """Whether cuDNN computes what this layer, an LSTM or GRU, is asked for, on a GPU here."""
        cell = self.cell
        one_mask = not cell.dropout or cell.implementation != 1  # of dropout, for all gates
        return (
            one_mask
            and not cell.recurrent_dropout
            and not compiled_by_xla()
            and cudnn_ok(
                cell.activation,
                cell.recurrent_activation,
                self.unroll,
                cell.use_bias,
                getattr(cell, "reset_after", None),  # None means LSTM
            )
        )

    def inner_loop(self, sequences, initial_state, mask, training=False):
        use_cudnn = getattr(self, "use_cudnn", False)  # SimpleRNN has none, as in Keras
        if use_cudnn and runs_at_once(self.cell) and self._fits_cudnn():
            with contextlib.suppress(NotImplementedError):  # not on this device
                return cudnn_loop(self, sequences, initial_state, mask, training)
        if use_cudnn is True:
            raise ValueError(
                "use_cudnn=True was specified, but cuDNN is not supported for this layer "
                "configuration with this backend. Pass use_cudnn='auto' to fallback to a "
                "non-cuDNN implementation."
            )
        return super().inner_loop(sequences, initial_state, mask, training)

    def get_config(self):
        config = super().get_config()
        del config["cell"]
        return config

    @classmethod
    def from_config(cls, config):
        return super(RNN, cls).from_config(config)
