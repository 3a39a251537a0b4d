"""The other side of a comparison, in a Python of its own."""
