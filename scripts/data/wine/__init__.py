"""The tfds builder `wine`."""
