"""Providers who cheat: which of their models the verdict catches, and which nobody could.

python -m benchmarks.providers --seeds 20
"""
