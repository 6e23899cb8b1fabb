"""Inputs that were worth keeping: they are committed, and go in first at every run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.fuzz.doors import Door

CORPUS = Path(__file__).with_name("corpus")
LARGEST_FILE, LARGEST_DOOR, MOST_FILES = 20_000, 12_000, 12


def kept(door: Door) -> list[Path]:
    """Return the committed inputs of a door."""
    folder = CORPUS / door.name
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def keep(door: Door, data: bytes, kind: str) -> None:
    """Write an input into the corpus, if it is small and there is room."""
    there = kept(door)
    size = sum(path.stat().st_size for path in there) + len(data)
    full = len(there) >= MOST_FILES or size > LARGEST_DOOR
    if len(data) > LARGEST_FILE or (full and kind != "found"):
        return
    folder = CORPUS / door.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
