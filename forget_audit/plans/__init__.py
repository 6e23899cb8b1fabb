"""The plan: its sections, and all that is checked before anything runs."""
