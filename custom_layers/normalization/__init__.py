"""normalization: mean 0 and variance 1, over the batch or over each example.

Begin with layer_norm.py. BatchNormalization sums by channel with channels.py.
"""
