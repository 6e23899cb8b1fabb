"""A run that was broken off goes on as the same run: same secret, same day, same place in the book.

What is random or tied to the moment is fixed when a run begins and kept beside the plan until its
report is out. Models and results are remembered by content elsewhere.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from forget_audit.digests import canonical_json
from forget_audit.errors import ForgetAuditError
from forget_audit.types import Json
from forget_audit.whole_files import write_whole

FOLDER = "unfinished"
HASH = re.compile(r"[0-9a-f]{64}")
SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What makes a run this run and no other.

    Args:
        secret: Of the pseudonyms.
        day: On which it began; part of the report's id.
    """

    secret: bytes
    day: date

    @classmethod
    def new(cls) -> Identity:
        """Return that of a run which begins now."""
        return cls(secret=secrets.token_bytes(SECRET_BYTES), day=datetime.now(UTC).date())


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A run whose report is not out yet.

    Args:
        path: Where it is kept.
        identity: What stays the same if it is broken off.
        continued: Whether it had begun before.
    """

    path: Path
    identity: Identity
    continued: bool

    @classmethod
    def begin(cls, state: Path, key: str, *, fresh: bool = False) -> Unfinished:
        """Return the run that was broken off under `key`, or a new one.

        Args:
            state: Folder of the audit's own files.
            key: Digest of the plan and all that it reads.
            fresh: Whether to begin a new one in any case.

        Raises:
            ForgetAuditError: If what is kept cannot be read.
        """
        path = state / FOLDER / f"{key}.json"
        known = None if fresh else _read(path)
        if known is not None:
            return cls(path=path, identity=_identity(known, path), continued=True)
        identity = Identity.new()
        document = {"secret": identity.secret.hex(), "day": identity.day.isoformat()}
        write_whole(path, canonical_json(document))
        return cls(path=path, identity=identity, continued=False)

    def place(self, head: Json) -> Json:
        """Return where the ledger stood when this run was about to be issued for the first time.

        Args:
            head: Where it stands now: origin, size and root.
        """
        known = _read(self.path) or {}
        kept = known.get("ledger")
        if isinstance(kept, dict) and kept.get("origin") == head["origin"]:
            if not _is_head(kept):
                raise _damaged(self.path)
            return kept
        identity = {"secret": self.identity.secret.hex(), "day": self.identity.day.isoformat()}
        write_whole(self.path, canonical_json({**identity, "ledger": dict(head)}))
        return head

    def end(self) -> None:
        """Forget it: its report is out."""
        self.path.unlink(missing_ok=True)


def _read(path: Path) -> Json | None:
    try:
        found: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


def _is_head(found: Json) -> bool:
    """Say whether this is a place in a ledger: origin, size and root, and nothing else."""
    size, root = found.get("size"), found.get("root")
    return (
        set(found) == {"origin", "size", "root"}
        and type(size) is int
        and size >= 0
        and isinstance(root, str)
        and HASH.fullmatch(root) is not None
    )


def _identity(found: Json, path: Path) -> Identity:
    try:
        secret = bytes.fromhex(str(found["secret"]))
        day = date.fromisoformat(str(found["day"]))
    except (KeyError, ValueError) as error:
        raise _damaged(path) from error
    if len(secret) != SECRET_BYTES:
        raise _damaged(path)
    return Identity(secret=secret, day=day)


def _damaged(path: Path) -> ForgetAuditError:
    return ForgetAuditError(
        f"{path} should hold the beginning of a run that was broken off, and cannot be read; "
        "delete it, or use --fresh: the run then begins anew, under another id"
    )
