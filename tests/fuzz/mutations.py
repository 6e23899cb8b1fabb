"""Changes of bytes: flips, cuts, splices, tokens, lengths, other encodings."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

LARGEST = 1 << 20
TOKENS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"nan", b"inf", b"-0.0", b"0", b"-1",
    b"9" * 400, b"1" * 5000, b"null", b"true", b"[]", b"{}", b'""', b"\x00", b"\xff\xfe",
    b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"../../x", b"/dev/null", b"\r\n",
    b"\n\n", b"\t", b'"', b"'", b"\\", b"=", b",", b";", b":", b"[" * 2000, b'{"a":' * 2000,
    b"(" * 500, b"a" * 10_000, b"PK\x03\x04", b"PK\x05\x06", b"%%EOF", b"\x93NUMPY", b"PAR1",
    "\u202e".encode(), "\u0661\u0662".encode(), "Å".encode(), "\U0001f600".encode(),
)  # fmt: skip
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


def flip(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data or b"\x00")
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Overwrite a short run with one value, or with noise."""
    at = rng.randrange(len(data) + 1)
    n = rng.choice((1, 1, 2, 4, 8, 64))
    run = bytes([rng.randrange(256)]) * n if rng.random() < 0.5 else rng.randbytes(n)
    return data[:at] + run + data[at + n :]


def cut(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Leave out the end, the beginning or a piece of the middle; rarely everything."""
    at = rng.randrange(len(data) + 1)
    n = min(len(data) - at, rng.choice((1, 2, 4, 16, 256, len(data))))
    return rng.choice((data[:at], data[at:], data[:at] + data[at + n :], data[: at + n]))


def repeat(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Say a piece again, rarely many times."""
    at = rng.randrange(len(data) + 1)
    piece = data[at : at + rng.choice((1, 4, 16, 64, 1024))]
    times = rng.choice((1, 1, 2, 8, 1000))
    return data[:at] + (piece * times)[:LARGEST] + data[at:]


def splice(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Go on with the end of another input, or take in a piece of it."""
    other = rng.choice(seeds) if seeds else data
    at, there = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
    if rng.random() < 0.5:
        return data[:at] + other[there:]
    n = rng.choice((1, 4, 16, 64, 512))
    return data[:at] + other[there : there + n] + data[at + n * rng.randrange(2) :]


def token(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Put in a token that readers stumble over."""
    at = rng.randrange(len(data) + 1)
    put = rng.choice(TOKENS)
    return data[:at] + put + data[at + rng.choice((0, 0, 1, len(put))) :]


def length_field(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Overwrite what may be a length with an extreme one."""
    form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q", "<B"))
    size = struct.calcsize(form)
    number = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
    at = (
        rng.randrange(min(len(data), 64) + 1)
        if rng.random() < 0.5
        else rng.randrange(len(data) + 1)
    )
    return data[:at] + struct.pack(form, number) + data[at + size :]


def recode(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Write text in another encoding, with another line end, or with a byte order mark."""
    text = data.decode("utf-8", "replace")
    return rng.choice(
        (
            text.encode("utf-16"), text.encode("utf-32"), text.encode("latin-1", "replace"),
            b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"),
            data.upper(), data.replace(b" ", "\u00a0".encode()), b"\x00" + data, data + b"\x00",
        )
    )  # fmt: skip


def swap(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Let two pieces change places."""
    i, j = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    n = rng.choice((1, 4, 16, 64))
    if i + n > j:
        return data[:i] + data[i : i + n][::-1] + data[i + n :]
    return data[:i] + data[j : j + n] + data[i + n : j] + data[i : i + n] + data[j + n :]


def digits(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change a number that stands in the text."""
    places = [i for i in range(len(data)) if 48 <= data[i] <= 57]
    if not places:
        return flip(data, rng, seeds)
    at = rng.choice(places)
    put = rng.choice((b"%d" % rng.randrange(10), b"", b"-", b".", b"e9", b"e999", b"9" * 30, b"0x"))
    return data[:at] + put + data[at + 1 :]


PLAIN: tuple[Mutation, ...] = (
    flip, flip, set_bytes, cut, repeat, splice, token, length_field, recode, swap, digits,
)  # fmt: skip


def from_dictionary(words: Sequence[bytes]) -> Mutation:
    """Return the mutation that puts in a word of `words`, or puts it in another's place."""

    def put(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
        word = rng.choice(words)
        there = [other for other in words if other in data and other != word]
        if there and rng.random() < 0.5:
            return data.replace(rng.choice(there), word, rng.choice((1, -1)))
        at = rng.randrange(len(data) + 1)
        return data[:at] + word + data[at:]

    return put


def any_change(data: bytes, rng: random.Random) -> bytes:
    """Return an input after one change that knows no form."""
    return rng.choice(PLAIN)(data, rng, ())
