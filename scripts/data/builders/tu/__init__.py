"""The tfds builder `tu`."""
