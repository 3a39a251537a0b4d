"""convolutional: convolutions in one to three dimensions, and the transposed ones.

Begin with conv.py. Both stand on windows.py (sizes and padding) and correlation.py (the sum of
products, and its two derivatives).
"""
