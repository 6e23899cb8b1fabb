"""Where independent tasks run: in this process, in several of them, or on a cluster."""
