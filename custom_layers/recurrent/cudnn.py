"""cuDNN: the time loop of LSTM and GRU as the one kernel that a GPU has for it.

Keras calls that kernel wherever the arguments of a layer fit it, and so does `Recurrent` (rnn.py):
the packing of the weights, the mask as lengths and the reversal of padded sequences are those of
Keras's TensorFlow backend, and the gradient is the kernel's own. It has no second order, cannot be
compiled by XLA, and cannot be served without a GPU: where one of these is needed,
`use_cudnn=False`.

Differences to the written-out loop, as in Keras: a mask must be True, ..., True, False, ..., False
in each row with at least one True, and outputs at masked steps are 0.

Chetlur et al., cuDNN: Efficient Primitives for Deep Learning, arXiv:1410.0759, 2014.
"""

import tensorflow as tf

from custom_layers.private_apis import cudnn_gru, cudnn_lstm


def cudnn_loop(layer, sequences, states, mask, training):
    """(B, T, I), states (B, H), mask (B, T) or None -> the last output, all of them, states."""
    cell = layer.cell
    x = tf.cast(sequences, cell.compute_dtype)
    if training and cell.dropout:
        x = x * cell.get_dropout_mask(x[:, 0])[:, None]
    weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
    options = {
        "activation": cell.activation,
        "recurrent_activation": cell.recurrent_activation,
        "return_sequences": layer.return_sequences,
        "go_backwards": layer.go_backwards,
    }
    run = cudnn_lstm
    if len(states) == 1:
        run, options["reset_after"] = cudnn_gru, cell.reset_after
    return run(x, *states, mask, *map(tf.convert_to_tensor, weights), **options)
