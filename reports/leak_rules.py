"""What leaks by its form alone: this machine's names, paths, e-mail addresses, long numbers."""

from __future__ import annotations

import getpass
import re
import socket
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from forget_audit.keys.signing import home
from forget_audit.reports.unpacking import Part

FOLDERS: Mapping[str, Callable[[], object]] = {
    "home folder": Path.home,
    "working folder": Path.cwd,
    "folder of keys": home,
    "folder for temporary files": tempfile.gettempdir,
}
NAMES: Mapping[str, Callable[[], object]] = {
    "user name": lambda: getpass.getuser(),
    "host name": lambda: socket.gethostname(),
}
SHORTEST = 4
LONGEST_MAILBOX = 64

_TOPS = (
    "home", "root", "Users", "tmp", "var", "mnt", "media", "opt", "srv", "private", "Volumes",
    "workspace",
)  # fmt: skip
# Each with strings of which one stands in whatever it matches: looking for those is quick.
_PATHS = (
    (
        tuple(f"/{top}/" for top in _TOPS),
        re.compile(rf"(?<![\w.:/~-])/(?:{'|'.join(_TOPS)})/[^\s\"'<>|\\]+"),
    ),
    (
        ("Users\\", "Documents and Settings\\"),
        re.compile(
            r"(?<![A-Za-z0-9])[A-Za-z]:\\{1,2}(?:Users|Documents and Settings)\\[^\s\"<>|]*"
        ),
    ),
    ((":/",), re.compile(r"\bfile:/{1,3}[^\s\"'<>]*", re.IGNORECASE)),
)
_HOST = re.compile(r"@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.[^\W\d_]{2,}")
_MAILBOX = re.compile(r"[\w.%+'-]+\Z")
_DIGITS = re.compile(r"(?<![\w.#-])\d{7,}(?![\w-]|\.\d)")
# Ids of reports, dates inside a PDF, references to papers, UUIDs.
_MEANT = re.compile(
    r"FA-\d{8}-[0-9A-F]{6}|D:\d{14}|\b10\.\d{4,9}/\S+"
    r"|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"
)
_HIDDEN = re.compile(
    r"<style\b.*?</style>|<script\b.*?</script>|data:[a-z/+]+;base64,\S+", re.DOTALL
)
_DIGEST = re.compile(r"\b[0-9a-f]{16,}\b")
_OURS = (".py", ".j2", ".css", ".json", ".po")
_ROOMS = ("", "attacks", "experiments", "methods", "reports")
_SHELVES = ("reports/templates", "reports/schemas", "reports/locale")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules for one scan.

    Args:
        allowed: Texts that are printed on purpose.
        machine: Each folder and name of this machine, its pattern, and what it is.
        known: Digits of digests and numbers: a long number inside them means nothing.
    """

    allowed: tuple[str, ...]
    machine: tuple[tuple[str, re.Pattern[str], str], ...]
    known: str

    @staticmethod
    def of(allowed: Collection[str], parts: Iterable[Part]) -> Rules:
        """Return the rules for the parts of all files together."""
        texts = [part for part in parts if part.kind in ("record", "page")]
        digests = [digest for part in texts for digest in _DIGEST.findall(part.text)]
        return Rules(
            allowed=tuple(allowed),
            machine=tuple(_of_this_machine(allowed)),
            known=" ".join([*(part.numbers for part in texts), *digests]),
        )

    def apply(self, text: str, part: Part) -> Iterator[tuple[int, str, str]]:
        """Yield place, string and what it is, of all that leaks by its form."""
        for fact, pattern, what in self.machine:
            if fact in text and (match := pattern.search(text)):
                yield match.start(), match.group(), f"{what} of this machine"
        for signs, pattern in _PATHS:
            for match in pattern.finditer(text) if any(sign in text for sign in signs) else ():
                yield match.start(), match.group(), "path of a machine"
        yield from self._addresses(text)
        if part.kind not in ("drawing", "words"):  # those hold coordinates, and digests in pieces
            yield from self._numbers(_HIDDEN.sub(_blank, text) if part.kind == "page" else text)

    def _addresses(self, text: str) -> Iterator[tuple[int, str, str]]:
        for match in _HOST.finditer(text):
            before = text[max(match.start() - LONGEST_MAILBOX, 0) : match.start()]
            box = _MAILBOX.search(before)
            if box and not self._meant(box.group() + match.group()):
                yield (
                    match.start() - len(box.group()),
                    box.group() + match.group(),
                    "e-mail address",
                )

    def _numbers(self, text: str) -> Iterator[tuple[int, str, str]]:
        for match in _DIGITS.finditer(_MEANT.sub(_blank, text)):
            number = match.group()
            if not (self._meant(number) or number in self.known or is_ordinary(number)):
                yield match.start(), number, "long number"

    def _meant(self, text: str) -> bool:
        return any(text in item for item in self.allowed)


def is_ordinary(text: str) -> bool:
    """Say whether the tool's own texts use this word, so that finding it means nothing."""
    own = _own_texts()
    return text in own and _alone(text).search(own) is not None


def _of_this_machine(allowed: Collection[str]) -> Iterator[tuple[str, re.Pattern[str], str]]:
    for what, ask in FOLDERS.items():
        if found := _answer(ask).rstrip("/\\"):
            folder = str(Path(found).absolute())
            yield folder, re.compile(rf"(?<![\w.:/~-]){re.escape(folder)}(?![\w.-])"), what
    for what, ask in NAMES.items():
        name = _answer(ask)
        if name and not is_ordinary(name) and not any(_alone(name).search(a) for a in allowed):
            yield name, _alone(name), what


def _answer(ask: Callable[[], object]) -> str:
    """Return a fact of this machine; empty if it has none, or one too short to look for."""
    try:
        found = str(ask())
    except (OSError, KeyError, RuntimeError, ImportError):
        return ""
    return found if len(found) >= SHORTEST else ""


def _alone(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


@cache
def _own_texts() -> str:
    with resources.as_file(resources.files("forget_audit")) as package:
        folders = [package / name for name in (*_ROOMS, *_SHELVES)]
        paths = [path for folder in folders for path in sorted(folder.glob("*"))]
        return "\n".join(path.read_text("utf-8") for path in paths if path.suffix in _OURS)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())
