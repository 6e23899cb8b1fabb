"""How often a request has been audited: whoever may try again until it passes, passes some day."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import PlanError, Problem
from forget_audit.whole_files import write_whole

FILE = "attempts.json"


def request_key(reference: str, source: str, ids: Iterable[str]) -> str:
    """Return a digest by which a request is known again.

    Args:
        reference: Opaque reference of the request.
        source: Data set.
        ids: Ids of the rows to forget.
    """
    return sha256(canonical_json([reference, source, sorted(ids)]))


def count(folder: Path, request: str, plan: str) -> int:
    """Return the number of this attempt, and remember it.

    The same plan again is the same attempt, since it gives the same answer.

    Args:
        folder: Where attempts are remembered.
        request: As by `request_key`.
        plan: Digest of the plan.

    Raises:
        PlanError: If what is remembered cannot be read; an unreadable past is not an empty one.
    """
    path = folder / FILE
    known = _read(path)
    tried = known.get(request, [])
    if plan not in tried:
        tried.append(plan)
        write_whole(path, json.dumps({**known, request: tried}, indent=2).encode() + b"\n")
    return tried.index(plan) + 1


def _read(path: Path) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text("utf-8"))
        return {str(request): [*map(str, tried)] for request, tried in known.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        message = f"cannot be read ({error}); put it back, or delete it and say so"
        raise PlanError([Problem(str(path), message)]) from error
