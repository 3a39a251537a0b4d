"""The tfds builder `docstrings`."""
