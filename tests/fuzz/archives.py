"""Changes that know the form of data files: CSV, ZIP members (NPZ, skops) and safetensors."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence

from tests.fuzz import mutations
from tests.fuzz.trees import change_json


def change_csv(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change a cell, a row or a column of a table."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    row = rng.randrange(len(rows))
    column = rng.randrange(len(rows[row]))
    cells = (
        b"nan", b"inf", b"-1", b"1e999", b"", b'"', b'"a,b"', b"a" * 200_000, b"\x00", b"1,2",
        b"9" * 400, "١".encode(), b"True", b" 1", b"1_0", b"0x1", b"=1+1", b"1.5", b"\xff",
    )  # fmt: skip
    kind = rng.randrange(6)
    if kind == 0:
        rows[row][column] = rng.choice(cells)
    elif kind == 1:
        rows.insert(rng.randrange(len(rows)), list(rows[row]))
    elif kind == 2:
        del rows[row]
    elif kind == 3:
        for line in rows:
            if len(line) > column:
                line[column] = rng.choice(cells[:6])
    elif kind == 4:
        for line in rows:
            del line[column : column + 1]
    else:
        rows = rows[: rng.choice((0, 1, 2))]
    return b"\n".join(b",".join(line) for line in rows)


def change_zip(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change a member of a ZIP file, its name, or the list of members."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = [(info.filename, file.read(info)) for info in file.infolist()][:50]
    except (zipfile.BadZipFile, ValueError, OSError, RuntimeError, NotImplementedError, zlib.error,
            EOFError):  # fmt: skip
        return mutations.flip(data, rng, seeds)
    if not members:
        return data
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(8)
    if kind <= 2:
        content = (
            change_npy(content, rng) if rng.random() < 0.7 else mutations.any_change(content, rng)
        )
        members[at] = (name, content)
    elif kind == 3:
        other = ("../x", " ", "a" * 60_000, name + ".npy", "/x", "x\x00y", name.upper(), "é.npy")
        members[at] = (rng.choice(other), content)
    elif kind == 4:
        del members[at]
    elif kind == 5:
        members.append((name, rng.choice(members)[1]))
    elif kind == 6:  # a bomb: small here, large there
        size = rng.choices((10**6, 10**7, 3 * 10**8), (20, 10, 1))[0]
        members[at] = (name, content[:128] + bytes(size))
    else:
        j = rng.randrange(len(members))
        members[at], members[j] = (name, members[j][1]), (members[j][0], content)
    return _zipped(members, rng)


def _zipped(members: list[tuple[str, bytes]], rng: random.Random) -> bytes:
    made = io.BytesIO()
    way = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
    if sum(len(content) for _, content in members) > mutations.LARGEST:
        way = zipfile.ZIP_DEFLATED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name said twice is meant
        with zipfile.ZipFile(made, "w", way, compresslevel=1) as file:
            for name, content in members:
                file.writestr(name, content)
    return made.getvalue()


def change_npy(data: bytes, rng: random.Random) -> bytes:
    """Change the header of an array file, or values behind it."""
    end = data.find(b"}")
    if not data.startswith(b"\x93NUMPY") or end < 0 or rng.random() < 0.3:
        behind = max(end, 0)
        return data[:behind] + mutations.flip(data[behind:], rng, ())
    head = data[10 : end + 1].decode("latin-1")
    pairs = (
        ("'<f4'", "'<f8'"), ("'<f8'", "'<f4'"), ("'<i8'", "'<f8'"), ("'<f4'", "'|O'"),
        ("'<i8'", "'|O'"), ("'<f8'", "'<c16'"), ("'<i8'", "'<M8[s]'"), ("'<f8'", "'|V8'"),
        ("False", "True"), ("(", "(9999999999, "), ("(", "(0, "), ("(", "(-1, "), ("(", "(1, "),
        ("'<f4'", "[('a', '<f4')]"), ("'shape'", "'shaep'"), ("}", ", 'x': 1}"), ("(", "(" * 300),
        ("'<U", "'<U9"), ("'<U", "'|S"), ("'<f4'", "'>f4'"), ("'<i8'", "'<u8'"), ("'<i8'", "'|b1'"),
    )  # fmt: skip
    fit = [pair for pair in pairs if pair[0] in head]
    old, new = rng.choice(fit) if fit else ("{", "{{")
    text = head.replace(old, new, 1).encode("latin-1", "replace") + b"\n"
    return data[:8] + struct.pack("<H", len(text) & 0xFFFF) + text + data[end + 2 :].lstrip(b" \n")


def change_safetensors(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change the JSON header of a safetensors file, with its length right or wrong."""
    if len(data) < 8:
        return data + b"\x00"
    n = int.from_bytes(data[:8], "little")
    if n > len(data) - 8:
        return mutations.length_field(data, rng, seeds)
    head, body = data[8 : 8 + n], data[8 + n :]
    if rng.random() < 0.25:
        return data[: 8 + n] + mutations.flip(body, rng, seeds)
    head = change_json(head, rng, seeds) if rng.random() < 0.8 else mutations.digits(head, rng, ())
    size = len(head) if rng.random() < 0.9 else rng.choice(mutations.NUMBERS)
    return struct.pack("<Q", size) + head + body
