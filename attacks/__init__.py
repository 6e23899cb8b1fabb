"""Attacks on unlearned models, one a file; each ends at scores."""

if __name__ != "forget_audit.attacks":
    raise ImportError("import forget_audit.attacks, not attacks")
