"""Unlearning methods, one a file; each takes a model and returns a new one."""

if __name__ != "forget_audit.methods":
    raise ImportError("import forget_audit.methods, not methods")
