"""Experiments on unlearning methods, one a file; each trains and unlearns models of its own.

The classes can be imported from here by name; they are looked up in the registry, so a new file
appears by itself.
"""

from forget_audit import registry
from forget_audit.trials import Experiment


def __getattr__(name: str) -> type[Experiment]:
    if name[:1].isupper():
        for cls in registry.experiments().values():
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module 'forget_audit.experiments' has no attribute {name!r}")


if __name__ != "forget_audit.experiments":
    raise ImportError("import forget_audit.experiments, not experiments")
