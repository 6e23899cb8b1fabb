"""Data sets, one kind of source a file."""
