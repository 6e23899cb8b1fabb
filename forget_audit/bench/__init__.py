"""Methods compared on several requests."""
