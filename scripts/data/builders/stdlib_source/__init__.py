"""The tfds builder `stdlib_source`."""
