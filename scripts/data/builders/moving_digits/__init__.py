"""The tfds builder `moving_digits`."""
