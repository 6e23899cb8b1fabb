"""Checkpoints that others hold: found in notes, releases, evidence, proofs and other ledgers.

Whoever was handed a report holds a signed head of the ledger, and with it the means to show later
that the ledger was cut or rewritten.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forget_audit.errors import VerificationError
from forget_audit.finite import read_json
from forget_audit.ledger import checkpoints
from forget_audit.ledger import file as ledger_file

LARGEST = 64 * 1024 * 1024
BESIDE = ("release.dsse.json", "purge.dsse.json", "evidence.json")


@dataclass(frozen=True, kw_only=True)
class Witness:
    """A head of a ledger that stands somewhere else.

    Args:
        origin: Which ledger.
        size: Number of entries then.
        root: Of the tree over them then.
        note: Signed text it was read from; none where another signature covers it.
        source: Where it was found, for people.
    """

    origin: str
    size: int
    root: bytes
    note: str | None
    source: str


def of_note(text: str, source: str) -> Witness:
    """Return what a signed note says.

    Raises:
        VerificationError: If it is malformed.
    """
    note = checkpoints.parse(text)
    return Witness(origin=note.origin, size=note.size, root=note.root, note=text, source=source)


def read(path: Path) -> tuple[Witness, ...]:
    """Return all heads in a file or released folder.

    Args:
        path: A note, `release.dsse.json`, `evidence.json`, a proof, an export, another copy of the
            ledger, or a folder that holds some of them. Only notes are signed by themselves.

    Raises:
        VerificationError: If there is none, or the file is malformed.
    """
    if path.is_dir():
        files = [path / name for name in BESIDE if (path / name).is_file()]
        found = [item for file in files for item in _found(file)]
    else:
        found = list(_found(path))
    if not found:
        raise VerificationError(
            f"{path}: holds no checkpoint of a ledger; expected a note, a released folder, its "
            "release.dsse.json or evidence.json, or another copy of the ledger"
        )
    return tuple(found)


def _found(path: Path) -> Iterator[Witness]:
    source = path.name
    try:
        with path.open("rb") as file:
            start = file.read(len(ledger_file.SIGNATURE))
            data = start if start == ledger_file.SIGNATURE else start + file.read(LARGEST)
    except OSError as error:
        raise VerificationError(f"{path}: cannot be read ({error.strerror})") from error
    if data == ledger_file.SIGNATURE:
        for row in ledger_file.content(path).checkpoints:
            yield of_note(str(row[1]), f"{source}, size {row[0]}")
    elif data.startswith(b"{"):
        for document in _documents(data, source):
            yield from _in_document(document, source)
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise VerificationError(f"{source}: not a checkpoint") from error
        yield of_note(text, source)


def _documents(data: bytes, source: str) -> list[Any]:
    """Return the JSON document, or the one on each line."""
    try:
        return [read_json(data)]
    except (ValueError, RecursionError):
        pass
    try:
        return [read_json(line) for line in data.splitlines()]
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{source}: not JSON ({error})") from error


def _in_document(document: Any, source: str) -> Iterator[Witness]:
    if not isinstance(document, dict):
        return
    if isinstance(document.get("payload"), str):
        try:
            statement = read_json(base64.b64decode(document["payload"], validate=True))
        except (ValueError, RecursionError) as error:
            raise VerificationError(f"{source}: not an envelope ({error})") from error
        document = statement.get("predicate") if isinstance(statement, dict) else None
        if not isinstance(document, dict):
            return
    if isinstance(document.get("checkpoint"), str):
        yield of_note(document["checkpoint"], source)
    head = document.get("ledger")
    if isinstance(head, dict):
        yield _of_head(head, source)


def _of_head(head: dict[str, Any], source: str) -> Witness:
    """Return a head whose signature is that of the report it stands in."""
    origin, size, root = head.get("origin"), head.get("size"), head.get("root")
    try:
        decoded = bytes.fromhex(str(root))
    except ValueError as error:
        raise VerificationError(f"{source}: the root of the ledger is no SHA-256") from error
    if not isinstance(origin, str) or type(size) is not int or size < 0 or len(decoded) != 32:
        raise VerificationError(f"{source}: the head of the ledger needs origin, size and root")
    return Witness(origin=origin, size=size, root=decoded, note=None, source=source)
