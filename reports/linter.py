"""Looks for what must not leave, in every file that is about to be signed.

Files are opened down to their last stream and every text is read in all its encodings: HTML
entities, percent signs, JSON escapes, base64, words of PDF pages. What is looked for:

- strings that the caller forbids, such as ids of the forgotten rows;
- folders of this machine and what looks like one, `file:` addresses, its user and host name;
- e-mail addresses and long numbers that stand alone, unless the caller allows them.

A false alarm blocks a signature. So ids of fewer than 4 characters, or of fewer than 6 digits and
nothing else, are not looked for: they stand everywhere. Words that the tool's own texts use, such
as a user called `root` or an id `train`, are no sign of a leak either. Weights, and numbers as
such, are not read.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from urllib.parse import unquote

from forget_audit.reports.leak_rules import Rules, is_ordinary
from forget_audit.reports.needles import SHORT, Needles, as_bytes
from forget_audit.reports.unpacking import LARGEST, Part, Unpacker, Unreadable

MOST = 50
IN_BYTES = 8
ROUNDS = 3

_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_SLASH = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|([\"\\/bfnrt]))")
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Something that must not leave.

    Args:
        file: Name of the file.
        what: What it is, such as an id of a forgotten record.
        where: Way to it inside the file; empty if it stands at the top.
        excerpt: Its beginning and its length, never the whole.
    """

    file: str
    what: str
    where: str
    excerpt: str

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.file}{place}: {self.what} ({self.excerpt})"


def scan(
    files: Mapping[str, bytes],
    forbidden: Mapping[str, str],
    allowed: Collection[str] = (),
    *,
    largest: int = LARGEST,
) -> list[Leak]:
    """Return what must not leave and is found in `files`; at most 50 finds.

    Args:
        files: Content by name.
        forbidden: Strings, each with what it is; they are found whatever `allowed` says.
        allowed: Texts that are printed on purpose, such as the controller's address: what stands
            in them is no e-mail address, number, user or host name that leaks.
        largest: Bytes that one file may unpack to. A larger file is a find itself, as is every
            file that cannot be read.
    """
    unpacker = Unpacker(largest=largest)
    parts: list[tuple[str, Part]] = []
    leaks: dict[tuple[str, str], Leak] = {}
    for name, data in files.items():
        try:
            parts += [(name, part) for part in unpacker.parts(name, data)]
        except Unreadable as error:
            reason = f"cannot be looked through: {error}"
            leaks[name, ""] = Leak(file=name, what=reason, where="", excerpt="not read")
    hidden, rules = _Forbidden.of(forbidden), Rules.of(allowed, [part for _, part in parts])
    for name, part in parts:
        for found, where, what in islice(_found(part, hidden, rules), MOST):
            leak = Leak(file=name, what=what, where=where, excerpt=_masked(found))
            leaks.setdefault((name, found), leak)
        if len(leaks) >= MOST:
            break
    return list(leaks.values())[:MOST]


@dataclass(frozen=True, kw_only=True)
class _Forbidden:
    """What the caller forbids, ready to be looked for.

    Args:
        what: What each string is.
        needles: The strings.
        broken: The longer ones without spaces, for text that lines may break anywhere.
        whole: The string of each of those.
    """

    what: Mapping[str, str]
    needles: Needles
    broken: Needles
    whole: Mapping[str, str]

    @staticmethod
    def of(forbidden: Mapping[str, str]) -> _Forbidden:
        bare = {"".join(text.split()): text for text in forbidden}
        whole = {text: needle for text, needle in bare.items() if len(as_bytes(text)) >= SHORT}
        return _Forbidden(
            what=forbidden, needles=Needles(forbidden), broken=Needles(whole), whole=whole
        )


def _found(part: Part, hidden: _Forbidden, rules: Rules) -> Iterator[tuple[str, str, str]]:
    """Yield string, way to it and what it is, of all that a part gives away."""
    for text in _readings(part):
        for offset, needle in hidden.needles.find(text):
            short = part.kind == "other" and len(as_bytes(needle)) < IN_BYTES
            if not short and not is_ordinary(needle):
                yield needle, _way(part, text, offset), hidden.what[needle]
        if part.kind not in ("other", "source"):
            for start, found, what in rules.apply(text, part):
                yield found, _way(part, text, len(as_bytes(text[:start]))), what
    if part.kind == "words":
        for _, bare in hidden.broken.find("".join(part.text.split())):
            needle = hidden.whole[bare]
            yield needle, _way(part, "", 0), hidden.what[needle]


def _way(part: Part, text: str, offset: int) -> str:
    """Return the way to a place; only the text as it stood knows more than the part."""
    return (part.place(offset) if text == part.text else part.where).strip(" .")


def _readings(part: Part) -> Iterator[str]:
    """Yield the text as it stands and with encodings undone, one over the other."""
    readings = [part.text]
    for _ in range(ROUNDS if part.kind != "other" else 0):
        undone = [
            undo(text) for text in readings for undo in (html.unescape, _unquoted, _unslashed)
        ]
        fresh = [text for text in dict.fromkeys(undone) if text not in readings]
        if not fresh:
            break
        readings += fresh
    yield from readings


def _unquoted(text: str) -> str:
    return _PERCENT.sub(lambda found: unquote(found.group(), errors="surrogateescape"), text)


def _unslashed(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code, character = match.groups()
        return chr(int(code, 16)) if code else _PLAIN.get(character, character)

    return _SLASH.sub(plain, text) if "\\" in text else text


def _masked(text: str) -> str:
    """Return the beginning of `text` and its length."""
    return f"{text[: 2 if len(text) >= IN_BYTES else 1]}…, {len(text)} characters"
