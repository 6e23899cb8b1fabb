"""How often a request has been audited: whoever may try again until it passes, passes some day."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import Busy, PlanError, Problem
from forget_audit.finite import read_json
from forget_audit.locks import sole
from forget_audit.whole_files import write_whole

FILE, LOCK = "attempts.json", "attempts.lock"
PATIENCE, PAUSE = 10.0, 0.02


def request_key(reference: str, ids: Iterable[str]) -> str:
    """Return a digest by which a request is known again, wherever its rows are read from.

    Args:
        reference: Opaque reference of the request.
        ids: Ids of the rows to forget.
    """
    return sha256(canonical_json([reference, sorted(ids)]))


def count(folder: Path, request: str, plan: str) -> int:
    """Return the number of this attempt, and remember it; processes wait for each other.

    The same plan again is the same attempt, since it gives the same answer.

    Args:
        folder: Where attempts are remembered.
        request: As by `request_key`.
        plan: Digest of the plan.

    Raises:
        PlanError: If what is remembered cannot be read; an unreadable past is not an empty one.
        Busy: If another process holds the file for long; nothing was counted then.
        StorageError: If the folder cannot be written.
    """
    path = folder / FILE
    with _alone(folder):
        known = _read(path)
        tried = known.get(request, [])
        if plan not in tried:
            tried.append(plan)
            write_whole(path, json.dumps({**known, request: tried}, indent=2).encode() + b"\n")
    return tried.index(plan) + 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for others who count here: two who read the same past would each forget the other."""
    last = time.monotonic() + PATIENCE
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(sole(folder / LOCK, folder))
                break
            except Busy:
                if time.monotonic() > last:
                    raise
                time.sleep(PAUSE)
        yield


def _read(path: Path) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    try:
        known: object = read_json(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    listed = isinstance(known, dict) and all(isinstance(item, list) for item in known.values())
    if not isinstance(known, dict) or not listed:
        raise _unreadable(path, "expected a list of attempts for each request")
    if not all(isinstance(plan, str) for tried in known.values() for plan in tried):
        raise _unreadable(path, "an attempt is the digest of its plan")
    return known


def _unreadable(path: Path, why: str) -> PlanError:
    return PlanError([Problem(str(path), f"cannot be read ({why}); put it back, or delete it and "
                              "say so")])  # fmt: skip
