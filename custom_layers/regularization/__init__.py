"""regularization: what keeps a model from learning its examples by heart.

Begin with dropout.py. L1 and L2 (regularizers.py) are penalties on weights,
ActivityRegularization one on outputs.
"""
