"""Data of one's own: files on this machine, read as they are, and what was found in them."""
