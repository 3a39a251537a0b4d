"""The tfds builder `graph_atlas`."""
