"""What results are shown from: a finished audit, or the evidence of one."""

from __future__ import annotations

from typing import Protocol

from forget_audit.types import Json


class Audited(Protocol):
    """An audit that is finished."""

    @property
    def evidence(self) -> Json:
        """The record, as it is signed."""
        ...


Shown = Audited | Json


def evidence_of(shown: Shown) -> Json:
    """Return the evidence of an audit; evidence itself is returned as it is."""
    return shown if isinstance(shown, dict) else shown.evidence
