"""Unlearning methods, one a file; each takes a model and returns a new one.

The classes can be imported from here by name; they are looked up in the registry, so a new file
appears by itself.
"""

from forget_audit import registry
from forget_audit.contracts import Method


def __getattr__(name: str) -> type[Method]:
    if name[:1].isupper():
        for cls in registry.methods().values():
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module 'forget_audit.methods' has no attribute {name!r}")


if __name__ != "forget_audit.methods":
    raise ImportError("import forget_audit.methods, not methods")
