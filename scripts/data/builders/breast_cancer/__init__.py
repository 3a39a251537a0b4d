"""The tfds builder `breast_cancer`."""
