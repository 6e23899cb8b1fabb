"""Files as the texts inside them: containers opened, encodings undone, sizes bounded."""

import base64
import binascii
import io
import json
import math
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from tokenize import TokenError
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np

from forget_audit.digests import sha256
from forget_audit.reports import pdf_text

Kind = Literal["record", "page", "drawing", "words", "strings", "source", "other"]

LARGEST = 256 * 1024 * 1024
DEEPEST = 6
SHORTEST_BASE64 = 24
_PACKED = re.compile(rf"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{{{SHORTEST_BASE64},}}={{0,2}}")
_KNOWN_STARTS = (b"{", b"[", b"<", b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"\xef\xbb\xbf")


DAMAGED = (
    BadZipFile, zlib.error, TokenError, SyntaxError, TypeError, ValueError, OSError, EOFError,
    MemoryError, OverflowError, NotImplementedError, RuntimeError, KeyError,
)  # fmt: skip


class Unreadable(Exception):
    """A file, or something in it, cannot be looked through; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A text inside a file.

    Args:
        where: Way to it, for people.
        kind: Strings of a JSON `record`, a `page` of HTML, a `drawing` or other XML, `words` shown
            on a PDF page, `strings` of a container, or `other` bytes read as Latin-1.
        text: The text.
        marks: For a record, where each string starts in UTF-8, and its path.
        numbers: For a record, digits of its numbers, one text.
    """

    where: str
    kind: Kind
    text: str
    marks: tuple[tuple[int, str], ...] = ()
    numbers: str = ""

    def place(self, offset: int) -> str:
        """Return the way to what stands at an offset in UTF-8."""
        index = bisect_right(self.marks, offset, key=lambda mark: mark[0]) - 1
        return f"{self.where}{self.marks[index][1]}" if index >= 0 else self.where


@dataclass(kw_only=True)
class Unpacker:
    """Opens files and remembers what it has seen, so that copies are looked through once.

    Args:
        largest: Bytes that one file may unpack to.
    """

    largest: int = LARGEST
    _left: int = field(default=0, init=False)
    _seen: set[str] = field(default_factory=set, init=False)

    def parts(self, name: str, data: bytes) -> Iterator[Part]:
        """Yield all texts in a file.

        Raises:
            Unreadable: If it is damaged, encrypted, nested too deeply or unpacks to too much.
        """
        self._left = self.largest
        yield from self._open(name, "", data, 0)

    def _spend(self, size: int) -> int:
        self._left -= size
        if self._left < 0:
            raise Unreadable(f"it unpacks to more than {self.largest // 2**20} MiB")
        return self._left

    def _open(self, name: str, where: str, data: bytes, depth: int) -> Iterator[Part]:
        digest = sha256(data)
        if digest in self._seen:
            return
        self._seen.add(digest)
        if depth > DEEPEST:
            raise Unreadable("it is nested too deeply")
        if data.startswith(b"%PDF-"):
            yield from self._pdf(where, data, depth)
        elif data.startswith(b"PK\x03\x04"):
            yield from self._zip(where, data, depth)
        elif data.startswith(b"\x1f\x8b"):
            try:
                content = pdf_text.inflated(data, self._spend, 16 + zlib.MAX_WBITS)
            except ValueError as error:
                raise Unreadable(str(error)) from error
            yield from self._open(name, where, content, depth + 1)
        elif name.endswith(".safetensors"):
            size = int.from_bytes(data[:8], "little")
            yield from self._open("header.json", f"{where} header", data[8 : 8 + size], depth + 1)
        else:
            yield from self._text(where, data, depth)

    def _text(self, where: str, data: bytes, depth: int) -> Iterator[Part]:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            yield _other(where, data)
            return
        start = text[:200].lstrip().lower()
        if start.startswith(("{", "[")):
            part = _record(where, text)
        else:
            markup = start.startswith("<")
            page = markup and ("<!doctype html" in start or "<html" in start)
            kind: Kind = "page" if page else "drawing" if markup else "strings"
            part = Part(where=where, kind=kind, text=text)
        yield part
        if part.kind == "record":
            # a name given twice hides the first value from readers
            yield Part(where=where, kind="source", text=text)
        for place, packed in _base64(part.text):
            yield from self._open("", f"{part.place(place)} (base64)", packed, depth + 1)

    def _pdf(self, where: str, data: bytes, depth: int) -> Iterator[Part]:
        try:
            for piece in pdf_text.pieces(data, self._spend):
                way = f"{where} {piece.where}"
                if piece.kind == "file":
                    yield from self._open("", way, piece.data, depth + 1)
                elif piece.kind == "other":
                    yield _other(way, piece.data)
                else:
                    text = piece.data.decode("utf-8", "replace")
                    yield Part(where=way, kind=piece.kind, text=text)
        except (ValueError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        yield _other(where, data)

    def _zip(self, where: str, data: bytes, depth: int) -> Iterator[Part]:
        """Open a zip or npz file; of arrays, only those of text or whole numbers are read."""
        try:
            with ZipFile(io.BytesIO(data)) as archive:
                comment = archive.comment.decode("latin-1")
                names = [item.filename for item in archive.infolist()]
                yield Part(
                    where=f"{where} names", kind="strings", text="\n".join([*names, comment])
                )
                for item in archive.infolist():
                    way = f"{where} {item.filename}"
                    with archive.open(item) as file:
                        if item.filename.endswith(".npy"):
                            yield from self._array(way, file)
                            continue
                        content = file.read(self._spend(0) + 1)
                    self._spend(len(content))
                    yield from self._open(item.filename, way, content, depth + 1)
        except DAMAGED as error:
            raise Unreadable(f"{type(error).__name__} in {where.strip() or 'it'}") from error

    def _array(self, where: str, file: Any) -> Iterator[Part]:
        magic = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0
        shape, _, kind = (reader if magic == (1, 0) else np.lib.format.read_array_header_2_0)(file)
        if kind.hasobject or kind.names:
            raise Unreadable(f"{where.strip()} holds objects")
        if kind.kind not in "SUiu":
            return
        size = math.prod(shape) * kind.itemsize
        if any(length < 0 for length in shape):
            raise Unreadable(f"{where.strip()} says that it has fewer than no values")
        self._spend(size)
        content = file.read(size)
        values = np.unique(np.frombuffer(content, dtype=kind))
        words = values.astype(np.str_).tolist() if kind.kind != "S" else [
            value.decode("utf-8", "replace") for value in values.tolist()
        ]  # fmt: skip
        whole = kind.kind in "iu"
        yield Part(where=where, kind="other" if whole else "strings", text="\n".join(words))


def _other(where: str, data: bytes) -> Part:
    return Part(where=where, kind="other", text=data.decode("utf-8", "surrogateescape"))


def _record(where: str, text: str) -> Part:
    """Return all strings of a JSON text with their paths; other text that starts alike as it is."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Part(where=where, kind="strings", text=text)
    strings: list[str] = []
    marks: list[tuple[int, str]] = []
    numbers: list[str] = []
    size = 0
    for path, value in _leaves(document, ""):
        if isinstance(value, str):
            strings.append(value)
            marks.append((size, path))
            size += len(value.encode("utf-8", "surrogatepass")) + 1
        else:
            numbers.append(str(value))
    return Part(
        where=where, kind="record", text="\n".join(strings), marks=tuple(marks),
        numbers=" ".join(numbers),
    )  # fmt: skip


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{path} (name)", name
            yield from _leaves(item, f"{path}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]")
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        yield path, value


def _base64(text: str) -> Iterator[tuple[int, bytes]]:
    """Yield what stands in a text as base64, if it is text itself or a known container."""
    for match in _PACKED.finditer(text):
        word = match.group().rstrip("=")
        if len(word) % 4 == 1:
            continue
        try:
            data = base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
        except binascii.Error:
            continue
        if data.startswith(_KNOWN_STARTS) or _readable(data):
            yield match.start(), data


def _readable(data: bytes) -> bool:
    try:
        return data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False
