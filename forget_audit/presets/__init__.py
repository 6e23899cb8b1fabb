"""The experiments of papers as plans, and the table that repeats them."""
