"""The tfds builder `digits`."""
