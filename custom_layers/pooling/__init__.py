"""pooling: one number for each window (pooling.py), or for all places (global_pooling.py).

Begin with global_pooling.py, the simpler one. Windows are those of convolutional/windows.py.
"""
