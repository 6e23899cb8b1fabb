"""The linter: finds what is planted in every container and encoding, and raises no false alarm."""

import base64
import getpass
import gzip
import html
import io
import json
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from forget_audit.digests import sha256
from forget_audit.reports import linter
from forget_audit.reports.needles import Needles

SECRET = 'person-köln/42 "A" & <B>'
WHAT = "id of a forgotten record"
ALLOWED = ("Example Controller Ltd, dpo@controller.example", "Example Auditor")


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def weights(about: str) -> bytes:
    header = json.dumps({"__metadata__": {"made": about}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\x00" * 64


def dsse(payload: bytes) -> bytes:
    packed = base64.b64encode(payload).decode()
    return json.dumps({"payload": packed, "payloadType": "x", "signatures": []}).encode()


def page(body: str) -> bytes:
    return f"<!DOCTYPE html><html><body>{body}</body></html>".encode()


def picture(text: str) -> str:
    drawing = f'<svg xmlns="x"><text>{html.escape(text)}</text></svg>'.encode()
    return f'<img src="data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}">'


def pdf(*, string: bytes = b"()", content: bytes = b"", extra: bytes = b"") -> bytes:
    packed = zlib.compress(content)
    return b"".join(
        [
            b"%PDF-1.7\n1 0 obj\n<</Type /Info /Title ", string, b">>\nendobj\n",
            b"2 0 obj\n<</Length %d /Filter /FlateDecode" % len(packed), extra,
            b">>\nstream\n", packed, b"\nendstream\nendobj\n%%EOF\n",
        ]
    )  # fmt: skip


def hexed(text: str) -> bytes:
    return f"<FEFF{text.encode('utf-16-be').hex()}>".encode()


def octal(text: str) -> bytes:
    return b"(" + b"".join(b"\\%03o" % code for code in b"\xef\xbb\xbf" + text.encode()) + b")"


CONTAINERS: dict[str, Callable[[str], tuple[str, bytes]]] = {
    "text": lambda s: ("note.txt", s.encode()),
    "json": lambda s: ("e.json", json.dumps({"a": [{"b": f"x {s} y"}]}).encode()),
    "json as utf-8": lambda s: ("e.json", json.dumps({s: 1}, ensure_ascii=False).encode()),
    "json, hidden by a second value": lambda s: (
        "e.json", f'{{"a": {json.dumps(s)}, "a": "plain"}}'.encode(),
    ),
    "json in json": lambda s: ("e.json", json.dumps({"a": json.dumps({"b": s})}).encode()),
    "html": lambda s: ("p.html", page(html.escape(s))),
    "html, numbered entities": lambda s: ("p.html", page("".join(f"&#{ord(c)};" for c in s))),
    "html, address": lambda s: ("p.html", page(f'<a href="x:{quote(s)}">x</a>')),
    "html, picture": lambda s: ("p.html", page(picture(s))),
    "html, envelope": lambda s: ("p.html", page(f"<script>{dsse(s.encode()).decode()}</script>")),
    "envelope": lambda s: ("a.dsse.json", dsse(json.dumps({"x": s}).encode())),
    "envelope in an envelope": lambda s: ("a.dsse.json", dsse(dsse(json.dumps([s]).encode()))),
    "text array": lambda s: ("s.npz", npz(x=np.zeros(3), ids=np.array(["other", s]))),
    "byte array": lambda s: ("s.npz", npz(ids=np.array([b"other", s.encode()]))),
    "name of an array": lambda s: ("s.zip", zipped(s, b"")),
    "zip": lambda s: ("s.zip", zipped("inner.json", json.dumps([s]).encode())),
    "gzip": lambda s: ("s.gz", gzip.compress(s.encode())),
    "weights": lambda s: ("m.safetensors", weights(s)),
    "pdf, information": lambda s: ("r.pdf", pdf(string=hexed(s))),
    "pdf, escaped": lambda s: ("r.pdf", pdf(string=octal(s))),
    "pdf, stream": lambda s: ("r.pdf", pdf(content=b"\x00\xff" + s.encode() + b"\xfe")),
    "pdf, attachment": lambda s: (
        "r.pdf", pdf(content=json.dumps({"a": s}).encode(), extra=b"/Type /EmbeddedFile"),
    ),
    "pdf, metadata": lambda s: (
        "r.pdf", pdf(content=f"<x>{html.escape(s)}</x>".encode(), extra=b"/Type /Metadata"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_secret_is_found_in_every_container(container: str) -> None:
    name, data = CONTAINERS[container](SECRET)
    found = linter.scan({name: data}, {SECRET: WHAT})
    assert [(leak.file, leak.what) for leak in found] == [(name, WHAT)]
    assert SECRET not in str(found)
    assert "pe…, 24 characters" in str(found[0])
    name, data = CONTAINERS[container]("somebody else, of the same length")
    assert linter.scan({name: data}, {SECRET: WHAT}) == []


def test_digests_and_numbers_raise_no_alarm() -> None:
    rng = np.random.default_rng(3)
    digests = [sha256(rng.bytes(8)) for _ in range(300)]
    numbers = [*rng.normal(size=300).tolist(), *rng.integers(0, 10**15, 100).tolist()]
    document = json.dumps({"digests": digests, "short": [d[:32] for d in digests], "n": numbers})
    shown = [*digests, *map(repr, numbers), *(f"{n:.6g}" for n in numbers)]
    shown += [f"{d[:16]}…" for d in digests] + [
        d[i : i + 4] for d in digests[:9] for i in range(60)
    ]
    files = {"evidence.json": document.encode(), "report.html": page("<p>".join(shown))}
    ids = {str(number): WHAT for number in range(100_000, 110_000)}
    ids |= {digest[:7]: WHAT for digest in (sha256(rng.bytes(8)) for _ in range(3000))}
    assert linter.scan(files, ids) == []


@pytest.mark.parametrize("text", ["a1", "123", "12345", "x"])
def test_very_short_ids_are_not_looked_for(text: str) -> None:
    assert linter.scan({"a.txt": f"say {text} and".encode()}, {text: WHAT}) == []


@pytest.mark.parametrize(
    ("needle", "text", "expected"),
    [
        ("row-1", "row-1", True),
        ("row-1", "(row-1)", True),
        ("row-1", "row-12", False),
        ("row-1", "arrow-1", False),
        ("123456", "number 123456.", True),
        ("123456", "0.123456", False),
        ("123456", "123456.7", False),
        ("123456", "a123456", False),
        ("deadbee", "0123deadbee4567", False),
        ("a-long-canary-0", "xa-long-canary-0x", True),
    ],
)
def test_short_ids_count_where_they_stand_alone(needle: str, text: str, expected: bool) -> None:
    assert bool(list(Needles([needle]).find(text))) == expected


def test_many_ids_are_found_at_once() -> None:
    rng = np.random.default_rng(4)
    ids = [f"id{number:07d}" for number in rng.permutation(10**6)[:20_000]]
    text = " ".join(f"id{number:07d}" for number in rng.permutation(10**6)[:2_000])
    expected = set(ids) & set(text.split())
    assert expected
    assert {needle for _, needle in Needles(ids).find(text)} == expected
    assert [text[place:].split()[0] for place, _ in Needles(ids).find(text)] == [
        needle for _, needle in Needles(ids).find(text)
    ]


PATHS = ["/" + "home/alice/x", "/" + "Users/alice", "C:\\Users\\alice\\x", "file:///etc/passwd",
         "/" + "root/.ssh", "/var/lib/data.csv"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", ["json", "html", "pdf, information", "text array"])
def test_paths_of_machines_are_found(path: str, form: str) -> None:
    name, data = CONTAINERS[form](f"see {path}")
    found = linter.scan({name: data}, {})
    assert any("machine" in leak.what for leak in found), found
    assert not any(path in str(leak) for leak in found)


def test_folders_and_names_of_this_machine_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "zaphodb")
    monkeypatch.setattr(socket, "gethostname", lambda: "heartofgold-7")
    monkeypatch.setenv("HOME", "/elsewhere/zb")
    monkeypatch.chdir(tmp_path)
    assert getpass.getuser() == "zaphodb"
    for text, what in (
        ("by zaphodb", "user name"), ("on heartofgold-7,", "host name"),
        ("in /elsewhere/zb/plan", "home folder"), (f"in {tmp_path}", "working folder"),
    ):  # fmt: skip
        found = linter.scan({"e.json": json.dumps({"a": text}).encode()}, {})
        assert f"{what} of this machine" in [leak.what for leak in found]
        assert found[0].where == "a"
    assert linter.scan({"a.txt": b"zaphodbeeblebrox and re-zaphodb"}, {}) == []
    assert linter.scan({"a.txt": b"made by zaphodb"}, {}, ["made by zaphodb"]) == []


def test_a_relative_folder_of_keys_is_no_word_to_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", "Quokka")
    assert linter.scan({"a.txt": b"the Quokka said"}, {}) == []
    found = linter.scan({"a.txt": str(Path("Quokka").absolute()).encode()}, {})
    assert "folder of keys of this machine" in {leak.what for leak in found}


@pytest.mark.parametrize("user", ["root", "audit", "model"])
def test_a_user_named_like_a_word_of_the_report_is_no_leak(
    monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, user)
    assert linter.scan({"e.json": json.dumps({user: f"the {user}"}).encode()}, {}) == []


def test_addresses_and_long_numbers_are_found_unless_they_are_meant() -> None:
    text = "write to jo.doe@mail.example or 0301234567, not to dpo@controller.example"
    files = {"e.json": json.dumps({"a": {"b": [text]}}).encode(), "p.html": page(text)}
    found = linter.scan(files, {}, ALLOWED)
    assert sorted((leak.file, leak.what, leak.where) for leak in found) == [
        ("e.json", "e-mail address", "a.b[0]"), ("e.json", "long number", "a.b[0]"),
        ("p.html", "e-mail address", ""), ("p.html", "long number", ""),
    ]  # fmt: skip
    assert linter.scan(files, {}, [*ALLOWED, "jo.doe@mail.example, 0301234567"]) == []


def test_what_is_forbidden_is_found_even_where_it_is_allowed() -> None:
    found = linter.scan(
        {"a.txt": b"dpo@controller.example"}, {"dpo@controller.example": WHAT}, ALLOWED
    )
    assert [leak.what for leak in found] == [WHAT]


def nested(depth: int) -> bytes:
    data = b'["x"]'
    for _ in range(depth):
        data = dsse(data)
    return data


UNREADABLE = {
    "zip bomb": ("s.npz", zipped("a.json", b"[" + b"0," * 3_000_000 + b"0]")),
    "gzip bomb": ("s.gz", gzip.compress(b"0" * 6_000_000)),
    "pdf bomb": ("r.pdf", pdf(content=b"0" * 6_000_000)),
    "array that claims to be huge": (
        "s.npz",
        zipped("a.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<U9', 'fortran_order': False, 'shape': "
               b"(10000000000,), }".ljust(128)[:128]),
    ),
    "pickled objects": ("s.npz", npz(x=np.array([{"a": 1}], dtype=object))),
    "damaged zip": ("s.npz", npz(ids=np.array(["x"]))[:60]),
    "damaged pdf": ("r.pdf", pdf(content=b"0" * 99).replace(b"stream\nx\x9c", b"stream\nzz")),
    "encrypted pdf": ("r.pdf", pdf() + b"trailer <</Encrypt 5 0 R>>"),
    "odd packing": ("r.pdf", pdf(content=b"x").replace(b"/FlateDecode", b"/LZWDecode")),
    "nested": ("a.dsse.json", nested(9)),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_looked_through_is_not_signed(kind: str) -> None:
    name, data = UNREADABLE[kind]
    found = linter.scan({name: data}, {}, largest=4 * 2**20)
    assert [leak.file for leak in found] == [name]
    assert "cannot be looked through: " in found[0].what


def test_finds_are_bounded() -> None:
    ids = {f"person-number-{number}": WHAT for number in range(500)}
    found = linter.scan({"a.txt": " ".join(ids).encode()}, ids)
    assert len(found) == linter.MOST
