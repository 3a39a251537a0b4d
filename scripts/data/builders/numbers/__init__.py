"""The tfds builder `numbers`."""
