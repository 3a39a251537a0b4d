"""activations: functions of one number, and softmax.

Begin with ReLU in activations.py.
"""
