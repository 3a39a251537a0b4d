"""The tfds builder `mackey_glass`."""
