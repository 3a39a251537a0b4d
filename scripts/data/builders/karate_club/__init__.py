"""The tfds builder `karate_club`."""
