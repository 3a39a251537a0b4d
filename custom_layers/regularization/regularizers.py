"""L1, L2, L1L2: penalties on weights (or outputs) that are added to the loss.

    R(w) = l1 Σ |w| + l2 Σ w²            w of any shape, R a scalar

Backward, given dR (1, or the scale of the loss):

    dw = dR (l1 sign(w) + 2 l2 w)        sign(0) = 0, the middle of the slopes on both sides

L1 pulls every weight towards 0 by the same amount and so makes many exactly 0; L2 shrinks each in
proportion. The L2 of a paper is often (l2 / 2) Σ w²: its weight decay λ is `L2(λ / 2)` here.

Tibshirani, Regression shrinkage and selection via the lasso, JRSS B 1996; Krogh & Hertz, A simple
weight decay can improve generalization, NIPS 1991.
"""

import math

import keras
import tensorflow as tf

from custom_layers.gradients import sum_dtype, wide, with_backward


def penalty_forward(w, *, l1=0.0, l2=0.0):
    """w of any shape -> the scalar l1 Σ |w| + l2 Σ w², in the dtype of w."""
    # Sums of many small squares: 16 bits lose them (bfloat16) or overflow (float16).
    total = tf.zeros((), sum_dtype(w.dtype))
    if l1:
        total += l1 * tf.reduce_sum(tf.abs(wide(w)))
    if l2:
        total += 2 * l2 * tf.nn.l2_loss(wide(w))  # Σ w² / 2 in one pass over w
    return tf.cast(total, w.dtype), w


def penalty_backward(dy, w, *, l1=0.0, l2=0.0):
    """dR (a scalar) -> dw, of the shape of w."""
    dw = []
    if l1:
        dw.append(dy * l1 * tf.sign(w))
    if l2:
        dw.append(dy * (2 * l2) * w)
    return tf.add_n(dw) if dw else tf.zeros_like(w)


penalty = with_backward(penalty_forward, penalty_backward)


def _check_factor(name, value):
    """The factor as a float; a ValueError unless it is finite and not negative."""
    if not isinstance(value, (float, int)) or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"Invalid value for argument {name}: expected a non-negative float. "
            f"Received: {name}={value}"
        )
    return float(value)


@keras.saving.register_keras_serializable(package="custom_layers")
class L1(keras.regularizers.Regularizer):
    """The penalty `l1 Σ |w|`."""

    def __init__(self, l1: float = 0.01):
        self.l1 = _check_factor("l1", 0.01 if l1 is None else l1)

    def __call__(self, x):
        return penalty(tf.convert_to_tensor(x), l1=self.l1)

    def get_config(self):
        return {"l1": self.l1}


@keras.saving.register_keras_serializable(package="custom_layers")
class L2(keras.regularizers.Regularizer):
    """The penalty `l2 Σ w²`."""

    def __init__(self, l2: float = 0.01):
        self.l2 = _check_factor("l2", 0.01 if l2 is None else l2)

    def __call__(self, x):
        return penalty(tf.convert_to_tensor(x), l2=self.l2)

    def get_config(self):
        return {"l2": self.l2}


@keras.saving.register_keras_serializable(package="custom_layers")
class L1L2(keras.regularizers.Regularizer):
    """The penalty `l1 Σ |w| + l2 Σ w²`."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = _check_factor("l1", 0.0 if l1 is None else l1)
        self.l2 = _check_factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x):
        return penalty(tf.convert_to_tensor(x), l1=self.l1, l2=self.l2)

    def get_config(self):
        return {"l1": self.l1, "l2": self.l2}
