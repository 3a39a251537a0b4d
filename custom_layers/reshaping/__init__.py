"""reshaping: the same numbers in another shape.

flatten.py is all there is; where a layer has no derivative worth writing, Keras's stays.
"""
