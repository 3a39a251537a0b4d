"""Models: functions that return a keras.Model, one file a family.

The last argument of each, `layers`, is the namespace that the layers come from: `custom_layers`, or
`keras.layers` for the same model in Keras's own layers.
"""
