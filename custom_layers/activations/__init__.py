"""activations: functions of each number, and the softmax of an axis, as layers.

Begin with relu.py; leaky_relu.py is the same function with another signature. softmax.py takes
masks. activation.py turns any function into a layer.
"""
