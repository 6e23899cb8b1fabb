"""Stress tests: one method on forget sets that are hard to serve."""
