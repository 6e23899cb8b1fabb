"""How far a long computation is: shown by whoever calls it, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from forget_audit.types import Progress


class Display(Protocol):
    """Shows how far an audit is."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Progress]:
        """Show a stage of `total` steps; yields a function called with finished steps."""
        ...


class Silent:
    """Shows no progress."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Progress]:  # noqa: ARG002 a `Display`
        """Yield a function to be called with the number of finished steps."""
        yield lambda _: None
