"""Batch renormalization: small batches normalized nearly as a large one would be.

    r = clip(σ / σ', r_min, r_max)      d = clip((μ - μ') / σ', -d_max, d_max)
    x̃ = x̂ r + d                         x̂ = (x - μ) / σ

μ, σ are of the batch, μ', σ' their moving averages; without clipping x̃ = (x - μ') / σ', which is
what inference does. r and d are constants to the gradient: dx̂ = r dx̃, and so the batch still
cannot grow in mean or scale.

Ioffe, Batch renormalization, NIPS 2017.
"""

import tensorflow as tf

LIMITS = ("rmax", "rmin", "dmax")


def check_clipping(clipping):
    """`clipping` as a dictionary; a ValueError unless its keys are limits that make sense."""
    clipping = dict(clipping or {})
    if set(clipping) - set(LIMITS):
        raise ValueError(
            f"Received invalid keys for `renorm_clipping` argument: {clipping}. "
            f"Supported values: {list(LIMITS)}."
        )
    rmax, rmin, dmax = (clipping.get(name) for name in LIMITS)
    if rmax is not None and rmin is not None and rmax < rmin:
        raise ValueError(
            "rmax should be greater than rmin in the `renorm_clipping` argument. "
            f"Received: rmax={rmax}, rmin={rmin}."
        )
    if dmax is not None and dmax < 0:
        raise ValueError(
            f"dmax should be non-negative in the `renorm_clipping` argument. Received: dmax={dmax}."
        )
    return clipping


def correction(mean, stddev, past_mean, past_stddev, epsilon, clipping):
    """μ, σ, μ', σ' and the limits -> r, d, of the same shape and without gradient."""
    past_stddev = tf.maximum(past_stddev, epsilon**0.5)  # σ ≥ √ε, and σ' may start at 0
    r = stddev / past_stddev
    d = (mean - past_mean) / past_stddev
    if clipping.get("rmin") is not None:
        r = tf.maximum(r, clipping["rmin"])
    if clipping.get("rmax") is not None:
        r = tf.minimum(r, clipping["rmax"])
    if clipping.get("dmax") is not None:
        d = tf.clip_by_value(d, -clipping["dmax"], clipping["dmax"])
    return tf.stop_gradient(r), tf.stop_gradient(d)
