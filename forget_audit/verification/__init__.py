"""Checking a finished audit: files, signatures, numbers and claims."""
