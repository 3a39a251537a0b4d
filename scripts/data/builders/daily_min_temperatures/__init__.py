"""The tfds builder `daily_min_temperatures`."""
