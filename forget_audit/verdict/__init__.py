"""The statistics of the verdict, and the rule that decides."""
