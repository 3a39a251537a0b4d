"""The tfds builder `digits_canvas`."""
