"""Private parts of Keras and TensorFlow that the library needs, in one place.

Public names do not offer these. Each has a test that states what is expected of it, so that a new
version of Keras or TensorFlow that changes one breaks this file and no other.
"""

import sys

import tensorflow as tf

# Within this context a weight is read in that dtype, whatever the layer around it computes in.
from keras.src.backend import AutocastScope as AutocastScope

# The kernels of LSTM and GRU for GPUs, with Keras's packing of weights and masks, and the question
# whether the arguments of a layer fit them.
from keras.src.backend import cudnn_ok as cudnn_ok

# The mask that comes with a tensor, from layer to layer.
from keras.src.backend import get_keras_mask as get_keras_mask
from keras.src.backend import gru as cudnn_gru  # noqa: F401
from keras.src.backend import lstm as cudnn_lstm  # noqa: F401
from keras.src.backend import set_keras_mask as set_keras_mask

# keras.layers.RNN has a cell draw its dropout masks before the loop if it is one of these.
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell as DropoutRNNCell

# The type of `keras.Model(inputs, outputs)`.
from keras.src.models.functional import Functional as Functional

# Within this context a layer does not count what is assigned to it among its weights.
from keras.src.utils.tracking import DotNotTrackScope as DotNotTrackScope
from tensorflow.python.eager import forwardprop_util

# Whether a tape or a forward accumulator may see what is computed now, in eager mode.
from tensorflow.python.eager.record import could_possibly_record as could_possibly_record

# Within this context tapes record nothing.
from tensorflow.python.eager.record import stop_recording as stop_recording
from tensorflow.python.framework import op_callbacks

# The modules that write models to files for other programs.
EXPORTERS = (
    "keras.src.export.",
    "tensorflow.python.saved_model.save",
    "tensorflow.lite.",
    "tf2onnx.",
)


def being_exported():
    """Whether what is being traced is written to a file: by `model.export`, `tf.saved_model.save`,
    `tf.lite` or tf2onnx. None of them says so, but each traces the model by itself.
    """
    frame = None if tf.executing_eagerly() else sys._getframe(1)
    while frame is not None and not frame.f_globals.get("__name__", "").startswith(EXPORTERS):
        frame = frame.f_back
    return frame is not None


def compiled_by_xla():
    """Whether what is being traced will be compiled by XLA."""
    return tf.__internal__.get_enclosing_xla_context() is not None


def inspects_operations():
    """Whether something looks at each operation, as `tf.debugging.enable_check_numerics` does."""
    return bool(op_callbacks.should_invoke_op_callbacks())


def has_tangents(tensors):
    """Whether a `tf.autodiff.ForwardAccumulator` follows one of the tensors."""
    return bool(forwardprop_util.pack_tangents(tensors).tangents)


def layers_inside(layer):
    """The layer, and the layers that it consists of, as deep as they go."""
    return list(layer._flatten_layers())


def parts_of(layer):
    """The layers that the layer itself holds, without those inside of them."""
    return list(layer._flatten_layers(recursive=False, include_self=False))


def graphs_inside(graph):
    """The graphs of the functions that are called in a `tf.Graph`."""
    return [function.graph for function in graph._functions.values() if hasattr(function, "graph")]


def takes_training(layer):
    """Whether `layer.call` has an argument `training`."""
    return getattr(layer, "_call_has_training_arg", False)


def keep_logits(y, logits):
    """Let Keras's losses compute log y from the logits of y = softmax(logits), not from y."""
    y._keras_logits = logits
