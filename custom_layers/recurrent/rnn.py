"""RNN: runs a cell over time; Recurrent: the same with the arguments of the cell.

    y_t, s_t = cell(x_t, s_{t-1})        x (B, T, I)   s_t (B, H), one or several   y (B, T, H)

With a mask m (B, T), a step happens where m_t is True. Elsewhere the states stay as they are, and
the output is that of the last step that happened, 0 before the first one, or always 0
(`zero_output_for_mask`).
"""

import contextlib

import keras
import tensorflow as tf

from custom_layers.base import Layer
from custom_layers.private_apis import DotNotTrackScope, takes_training
from custom_layers.recurrent import cudnn
from custom_layers.recurrent.recurrence import hold, scan
from custom_layers.recurrent.recurrent_cell import RecurrentCell, forget_dropout_masks, step_mask


@keras.saving.register_keras_serializable(package="custom_layers")
class RNN(Layer):
    """A layer that runs a cell, any cell of Keras's interface, over the time steps of its input.

    Input `(B, T, ...)`, output `(B, H)`, or `(B, T, H)` with `return_sequences=True`, and after it
    the last states with `return_state=True`. Arguments are those of `keras.layers.RNN`; `unroll`
    only demands a static number of time steps, as there: the loop is the same.

    Gradients of a cell that is not one of ours are TensorFlow's.
    """

    def __init__(
        self,
        cell,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        stateful=False,
        unroll=False,
        zero_output_for_mask=False,
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
        self.state_size = [sizes] if isinstance(sizes, int) else list(sizes)

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
        if not hasattr(self.cell, "get_initial_state"):
            dtype = self.cell.compute_dtype
            return [tf.zeros((batch_size, size), dtype) for size in self.state_size]
        states = self.cell.get_initial_state(batch_size=batch_size)
        return list(states) if tf.nest.is_nested(states) else [states]

    def reset_state(self):
        """Set the states of a stateful layer to 0."""
        for state in tf.nest.flatten(self.states or []):
            state.assign(tf.zeros_like(state.value))

    reset_states = reset_state

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
        if isinstance(self.cell, RecurrentCell):
            self.cell.check(sequences, states)
        mask = step_mask(tf.nest.flatten(mask)[0], sequences)
        y, states = self._inner_loop(sequences, states, mask, training)
        forget_dropout_masks(self.cell)
        if self.stateful:
            for variable, state in zip(*map(tf.nest.flatten, (self.states, states)), strict=True):
                variable.assign(state)
        y, states = tf.nest.map_structure(lambda t: tf.cast(t, self.compute_dtype), (y, states))
        return (y, *states) if self.return_state else y

    def _inner_loop(self, sequences, states, mask, training):
        """(B, T, ...), states, mask (B, T) or None -> y (B, T, H) or (B, H), last states."""
        x = tf.transpose(sequences, (1, 0, *range(2, sequences.shape.rank)))  # (T, B, ...)
        if mask is not None:
            mask = tf.expand_dims(tf.cast(tf.transpose(mask), tf.bool), -1)  # (T, B, 1)
        if self.go_backwards:
            x = tf.reverse(x, [0])
            mask = None if mask is None else tf.reverse(mask, [0])
        y, states = self._recur(x, states, mask, training)
        if mask is not None and not self.zero_output_for_mask:
            mask = tf.cumsum(tf.cast(mask, tf.int32)) > 0  # from the first step on
        if not self.return_sequences:
            y, mask = y[-1], None if mask is None else mask[-1]
        if mask is not None:
            y = tf.where(mask, y, tf.zeros_like(y))
        return tf.transpose(y, (1, 0, 2)) if self.return_sequences else y, states

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

    def _recur(self, x, states, mask, training):
        """x (T, B, ...) -> y (T, B, H), the same in the order of time, and the last states."""
        if isinstance(self.cell, RecurrentCell):
            return self.cell.recur(x, states, mask, training)
        return self._any_cell(x, states, mask, training)

    def _any_cell(self, x, states, mask, training):
        call = {"training": training} if takes_training(self.cell) else {}
        y, _ = self.cell(x[0], states, **call)  # for its shape, and to draw the dropout masks

        def step(before, x, mask):
            y, states = self.cell(x, before[1], **call)
            states = list(states) if tf.nest.is_nested(states) else [states]
            new = tf.nest.map_structure(lambda n, o: hold(mask, n, o), (y, states), before)
            return new, (new[0],)

        (_, states), (y,) = scan(step, (tf.zeros_like(y), states), (x, mask), (y.shape[-1],))
        return y, states

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


class Recurrent(RNN):
    """An RNN around a cell of its own, whose arguments it takes and shows: `layer.units`."""

    def __init__(self, cell, *loop, use_cudnn=None, **kwargs):
        super().__init__(cell, *loop, **kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=3)
        if use_cudnn not in (None, "auto", True, False):
            raise ValueError(
                "Invalid valid received for argument `use_cudnn`. Expected one of {'auto', True, "
                f"False}}. Received: use_cudnn={use_cudnn}"
            )
        if use_cudnn is not None:
            self.use_cudnn = use_cudnn
            if use_cudnn and cudnn.possible(self):
                self.supports_jit = False  # Keras's word to `fit`, as XLA cannot compile cuDNN

    def __getattr__(self, name):  # called for what the layer itself does not have
        cell = vars(self).get("cell")
        if cell is None or name not in cell._argument_names():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(cell, name)

    def _inner_loop(self, sequences, states, mask, training):
        use_cudnn = vars(self).get("use_cudnn", False)  # SimpleRNN has no such argument
        if use_cudnn and cudnn.possible(self):
            with contextlib.suppress(NotImplementedError):  # not on this device
                return cudnn.loop(self, sequences, states, mask, training)
        if use_cudnn is True:
            raise ValueError(
                "use_cudnn=True was specified, but cuDNN is not supported for this layer "
                "configuration with this backend. Pass use_cudnn='auto' to fallback to a "
                "non-cuDNN implementation."
            )
        return super()._inner_loop(sequences, states, mask, training)

    def get_config(self):
        config = super().get_config()
        del config["cell"]
        return config

    @classmethod
    def from_config(cls, config):
        return super(RNN, cls).from_config(config)
