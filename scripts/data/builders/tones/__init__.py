"""The tfds builder `tones`."""
