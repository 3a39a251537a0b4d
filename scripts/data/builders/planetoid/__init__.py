"""The tfds builder `planetoid`."""
