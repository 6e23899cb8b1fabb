"""Python objects that a plan names as `package.module:name`."""

import importlib

from forget_audit.errors import ModelError


def import_object(reference: str) -> object:
    """Import `package.module:name`.

    Raises:
        ModelError: If module or name does not exist, or the module breaks while it is imported.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(f"cannot import {reference}: {error}") from error
    except Exception as error:
        broken = f"{type(error).__name__}: {error}"
        raise ModelError(f"cannot import {reference}: {broken}") from error
