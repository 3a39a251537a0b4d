"""Data sets: the builders of this project, one folder each, and the pipelines that read tfds."""
