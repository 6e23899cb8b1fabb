"""Doors around the files: environment, passphrases, secrets, names, and what a terminal is told."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from asn1crypto import cms, tsp
from pyhanko.sign.timestamps import HTTPTimeStamper

from forget_audit import trust as trust_files
from forget_audit.audits import holdings, reissue
from forget_audit.console import say
from forget_audit.errors import ForgetAuditError
from forget_audit.keys.folders import home
from forget_audit.keys.sources import asker, find_key
from forget_audit.keys.token_uris import MODULE, TokenUri
from forget_audit.ledger.ledger import Ledger
from forget_audit.model_identity import folder_digest
from forget_audit.named_objects import code_digest
from forget_audit.reports import timestamps
from forget_audit.reports.timestamps import Timestamper
from forget_audit.seals import SECRET, seal_of
from forget_audit.starter.places import Place, columns_of
from forget_audit.training.places import usable_threads
from tests.fuzz import key_doors, places
from tests.fuzz.doors import SAME, Door, Refused
from tests.fuzz.scratch import scratch
from tests.keys import material
from tests.ledger import books

COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Run the body with a variable, if the system takes it."""
    if "\0" in value:
        raise Refused("no variable can hold that")
    with patch.dict(os.environ, {name: value}):
        yield


def enter_environment(data: bytes, folder: Path) -> object:
    """A variable and what it holds, in one line: what reads it takes it or says what is wrong."""
    name, _, value = data.decode("utf-8", "surrogateescape").partition("=")
    readers: dict[str, Callable[[], object]] = {
        "FORGET_AUDIT_HOME": lambda: (home(), trust_files.load(None).keys),
        "OMP_NUM_THREADS": usable_threads,
        MODULE: lambda: TokenUri.parse("pkcs11:object=signer"),
    }
    if name not in readers:
        raise Refused("nobody reads that")
    with environment(name, value):
        return readers[name]()


def enter_passphrase(data: bytes, folder: Path) -> object:
    """A passphrase that comes through a descriptor, and the same in a variable."""
    path = folder / "key.p12"
    path.write_bytes(key_doors.pkcs12_files()[0])
    path.chmod(0o600)
    source = folder / "passphrase"
    source.write_bytes(data)
    with source.open("rb") as file:
        opened = find_key(str(path), asker(None, file.fileno(), str))
    with environment("FUZZ", data.decode("utf-8", "surrogateescape").rstrip("\r\n")):
        again = find_key(str(path), asker("FUZZ", None, str))
    assert opened.keyid == again.keyid
    return SAME if data.splitlines()[0] == material.PASSPHRASE.encode() else None


def enter_account_secret(data: bytes, folder: Path) -> object:
    """The secret by which this account knows again what it has remembered."""
    (folder / SECRET).write_bytes(data)
    (folder / SECRET).chmod(0o600)
    with environment("FORGET_AUDIT_HOME", str(folder)):
        return seal_of(b"x", "name")


def enter_names(data: bytes, folder: Path) -> object:
    """A folder of files with the names that stand in the lines, as a model to identify."""
    for name in data.split(b"\n")[:20]:
        path = folder / "model" / name.decode("utf-8", "surrogateescape")
        if ".." in path.parts or folder not in path.parents or b"\0" in name:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name)
        except (OSError, RecursionError):  # the disk takes no such name, or pathlib none so deep
            continue
    return folder_digest(folder / "model")


def enter_report_id(data: bytes, folder: Path) -> object:
    """The number of a report, as it is typed or stands in somebody's file."""
    text = data.decode("utf-8", "surrogateescape")
    ledger = Ledger.open(books.book(), create=False)
    said: list[object] = [ledger.successor(text), ledger.purged(text), ledger.entries_about(text)]
    with environment("FORGET_AUDIT_HOME", str(folder)), suppress(ForgetAuditError):
        said.append(holdings.find(text))
    return said


def enter_released_again(data: bytes, folder: Path) -> object:
    """A released folder that is to be written again, reviewed or purged: whole, or refused."""
    reissue.opened(places.together(places.older(), folder / "run", "release.dsse.json", data))
    return None


def enter_columns(data: bytes, folder: Path) -> object:
    """A table whose columns are offered when a plan is begun."""
    (folder / "a.csv").write_bytes(data)
    return columns_of("csv:a.csv", Place(here=folder, folder=folder))


@cache
def _code() -> Path:
    """A module that is imported, and one beside it that it may import."""
    place = scratch() / "code"
    place.mkdir()
    (place / "fuzz_above.py").write_text("def f():\n    import fuzz_beside\n", "utf-8")
    sys.path.insert(0, str(place))
    try:
        import_module("fuzz_above")
    finally:
        sys.path.remove(str(place))
    return place


def enter_code(data: bytes, folder: Path) -> object:
    """A file beside code that a plan names: it is looked through, and not run."""
    (_code() / "fuzz_beside.py").write_bytes(data)
    if code_digest("fuzz_above") is None:
        raise Refused("no Python")
    return None


def enter_answer_of_authority(data: bytes, folder: Path) -> object:
    """What a time stamping authority answers; nobody is asked."""

    async def answer(*_: object) -> tsp.TimeStampResp:
        return tsp.TimeStampResp.load(data)

    with patch.object(HTTPTimeStamper, "async_request_tsa_response", answer):
        client = Timestamper("http://authority.example").client()
        client.include_nonce = False  # else no kept answer fits
        token = asyncio.run(client.async_timestamp(bytes(32), "sha256")).dump()
    return timestamps.read(token, key_doors.DATA, ())


def enter_terminal(data: bytes, folder: Path) -> object:
    """A line that holds the words of others: a terminal is told letters, and no orders."""
    told = io.StringIO()
    with redirect_stdout(told):
        say(data.decode("utf-8", "replace"))
    assert not COMMANDS.search(told.getvalue())
    return None


def _answers() -> Sequence[bytes]:
    token = cms.ContentInfo.load(key_doors.timestamp_seed())
    granted = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
    return [granted.dump()]


DOORS: tuple[Door, ...] = (
    Door(
        name="environment",
        seeds=lambda: [b"OMP_NUM_THREADS=2", b"FORGET_AUDIT_HOME=/nowhere",
                       b"FORGET_AUDIT_PKCS11_MODULE=/usr/lib/x.so"],
        enter=enter_environment,
        dictionary=("\u00b2".encode(), b"9" * 5000, b"/", b"~", b"OMP_NUM_THREADS=", b"-1"),
    ),
    Door(
        name="passphrase",
        seeds=lambda: [material.PASSPHRASE.encode(), material.PASSPHRASE.encode() + b"\n"],
        enter=enter_passphrase,
        dictionary=(b"\n", b"\r\n", b"\x00", b"\xff"),
        must_refuse=True,
        share=0.3,
    ),
    Door(name="account-secret", seeds=lambda: [bytes(32)], enter=enter_account_secret, share=0.3),
    Door(
        name="model-names",
        seeds=lambda: [b"config.json\nmodel.safetensors\nonnx/model.onnx"],
        enter=enter_names,
        dictionary=(b"\n", b"/", b".", b"\x1b[2K", "\u202e".encode(), b"a" * 300),
    ),
    Door(
        name="report-id",
        seeds=lambda: [books.report(3).encode(), b"../x"],
        enter=enter_report_id,
        dictionary=(b"../", b"\x00", b"'", b"%", b"/etc/passwd", b"a" * 300),
        share=0.1,
    ),
    Door(
        name="released-again",
        seeds=lambda: [(places.older() / "release.dsse.json").read_bytes()],
        enter=enter_released_again,
        suffix=".json",
        must_refuse=True,
        share=0.05,
    ),
    Door(name="init-columns", seeds=lambda: [b"id,label,x\n1,0,2\n"], enter=enter_columns,
         suffix=".csv"),
    Door(
        name="code-beside",
        seeds=lambda: [b"import os\nfrom . import a\n\ndef f(x):\n    return x + 1\n"],
        enter=enter_code,
        dictionary=(b"-" * 20_000, b"a." * 5000, b"import fuzz_above\n", b"from .. import x\n",
                    b"[" * 300, b"# coding: x\n", b"\x00", b"\xff"),
    ),
    Door(
        name="timestamp-answer",
        seeds=_answers,
        enter=enter_answer_of_authority,
        dictionary=key_doors.PEM,
        share=0.3,
    ),
    Door(
        name="terminal",
        seeds=lambda: ["a name \x1b[2K\x1b[1A PASS \u202e".encode(), b"plain [bold]text[/]"],
        enter=enter_terminal,
        dictionary=(b"\x1b]0;x\x07", b"\xc2\x9b31m", b"\r", "\u2066".encode(), b"[link=x]"),
        share=0.3,
    ),
)  # fmt: skip
