"""penalty: the kernel regularizer that belongs to a namespace of layers."""

import keras

import custom_layers


def penalty(l1, l2, layers):
    """l1 Σ|W| + l2 Σ W², or None where both factors are 0."""
    if l1 == 0 and l2 == 0:
        return None
    home = custom_layers if layers is custom_layers else keras.regularizers
    return home.L1L2(l1=l1, l2=l2)
