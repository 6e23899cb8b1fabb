"""Attacks on unlearned models, one a file; each ends at scores.

The classes can be imported from here by name; they are looked up in the registry, so a new file
appears by itself.
"""

from forget_audit import registry
from forget_audit.contracts import Attack


def __getattr__(name: str) -> type[Attack]:
    if name[:1].isupper():
        for cls in registry.attacks().values():
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module 'forget_audit.attacks' has no attribute {name!r}")


if __name__ != "forget_audit.attacks":
    raise ImportError("import forget_audit.attacks, not attacks")
