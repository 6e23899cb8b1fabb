"""One script a contestant; each runs in a process of its own and prints what it measured."""
