"""Which model is it? The SHA-256 of its file, or of the list of files if it is a folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import ModelError
from forget_audit.types import Json

SCHEMA = "forget-audit/model-folder/1"
MOST_FILES = 10_000
DEEPEST = 16


def model_digest(path: Path) -> str:
    """Return the SHA-256 of a model file, or of the manifest of a model folder.

    Raises:
        ModelError: If it is a link or anything else, cannot be read, or a folder holds what has
            no place there.
    """
    if not path.is_symlink() and path.is_dir():
        return folder_digest(path)
    return _file(path, "the model")[1]


@contextmanager
def unchanged(path: Path) -> Iterator[str]:
    """Yield the digest of a model while the body reads it; what was read is what was digested.

    Contents are compared before and after, and so are the marks that the system puts on a file
    when it is written, moved or linked, so that nothing is exchanged for a moment.

    Args:
        path: A file or a folder.

    Raises:
        ModelError: If it changes within the body, and as `model_digest` does.
    """
    before = _marks(path), model_digest(path)
    yield before[1]
    if (_marks(path), model_digest(path)) != before:
        raise ModelError(
            f"{path.name} changed while it was being read, so nobody could say which model was "
            "audited; begin again when nothing writes to it"
        )


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of the canonical JSON of `folder_manifest`.

    Raises:
        ModelError: As `folder_manifest` does.
    """
    return sha256(canonical_json(folder_manifest(folder)))


def folder_manifest(folder: Path) -> Json:
    """Return what a model folder consists of: name, size and SHA-256 of each file, by name.

    Names are relative, with `/` between their parts, on every system. Folders without files do
    not count.

    Raises:
        ModelError: If there are links, hidden files, pipes, names that are not text, or no files.
    """
    files = []
    for name, path in folder_files(folder).items():
        size, digest = _file(path, name)
        files.append({"name": name, "sha256": digest, "size": size})
    return {"schema": SCHEMA, "files": files}


def folder_files(folder: Path) -> dict[str, Path]:
    """Return the files of a model folder by name, in order.

    Raises:
        ModelError: If there are links, hidden files, pipes, names that are not text, or no files.
    """
    files: dict[str, Path] = {}
    for name, path in _walk(folder, "", 0):
        files[name] = path
        if len(files) > MOST_FILES:
            raise ModelError(f"the model folder {folder.name} holds more than {MOST_FILES} files")
    if not files:
        raise ModelError(f"the model folder {folder.name} is empty")
    return dict(sorted(files.items()))


def _walk(folder: Path, above: str, depth: int) -> Iterator[tuple[str, Path]]:
    if depth > DEEPEST:
        raise ModelError(f"the model folder is more than {DEEPEST} folders deep: {above}")
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ModelError(f"the model folder cannot be read: {error.strerror}") from error
    for entry in found:
        name = f"{above}{entry.name}"
        if not _is_text(entry.name):
            raise ModelError(f"the model folder holds {name!r}, which is no plain name")
        if entry.name.startswith("."):
            raise ModelError(
                f"the model folder holds the hidden entry {name}; copy the files of the model "
                "alone to a folder of their own"
            )
        if entry.is_symlink():
            raise ModelError(
                f"the model folder holds the link {name}; copy the folder with `cp -rL`, which "
                "puts files in the place of links"
            )
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{name}/", depth + 1)
        elif entry.is_file(follow_symlinks=False):
            yield name, folder / entry.name
        else:
            raise ModelError(f"the model folder holds {name}, which is no regular file")


def _marks(path: Path) -> list[tuple[int, ...]]:
    """Return what tells each file of a model from its successors, also of equal content."""
    files = folder_files(path).values() if path.is_dir() else [path]
    try:
        found = [file.lstat() for file in files]
    except OSError as error:
        raise ModelError(f"the model cannot be read: {error.strerror}") from error
    return [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in found]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _file(path: Path, name: str) -> tuple[int, str]:
    """Return size and SHA-256 of a regular file, read in chunks."""
    if path.is_symlink():
        raise ModelError(f"{name} is a link; give the file that it leads to")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                return status.st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{name} cannot be read: {error.strerror}") from error
    raise ModelError(f"{name} is no regular file")
