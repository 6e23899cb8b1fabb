"""Results in notebooks, in pictures and in experiment trackers."""
