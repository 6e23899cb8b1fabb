"""The whole program on changed files: a documented exit code, and never a traceback."""

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from forget_audit.seeds import derive
from tests.fixtures import attested
from tests.fixtures.commands import Run
from tests.fuzz import key_doors, ledger_doors, places, plan_doors, signed_doors
from tests.fuzz.doors import Door
from tests.fuzz.structures import mutated
from tests.ledger import books

FAULT = "a fault of forget-audit"
EACH = 8
DOORS = {
    door.name: door
    for door in (*plan_doors.DOORS, *signed_doors.DOORS, *ledger_doors.DOORS, *key_doors.DOORS)
}
Words = Callable[[Path, Path], Sequence[object]]


def beside(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def trusted(folder: Path) -> Path:
    return beside(folder, "trust.json", places.older_trust_file())


# Door, name of the file, command line, exit codes.
COMMANDS: dict[str, tuple[str, str, Words, set[int]]] = {
    "verify": (
        "attestation-alone",
        "audit.dsse.json",
        lambda f, d: ["verify", f, "--trust", trusted(d)],
        {0, 1, 3, 4},
    ),
    "verify --json": (
        "page-alone",
        "report.html",
        lambda f, d: ["verify", f, "--trust", trusted(d), "--json"],
        {0, 1, 3, 4},
    ),
    "verify PDF": (
        "pdf-alone",
        "report.pdf",
        lambda f, d: ["verify", f, "--trust", trusted(d)],
        {0, 1, 3, 4},
    ),
    "verify --policy": (
        "policy",
        "policy.toml",
        lambda f, d: ["verify", places.older(), "--policy", f, "--trust", trusted(d)],
        {1, 2, 4},
    ),
    "verify --trust": (
        "trust-file",
        "trust.json",
        lambda f, _: ["verify", places.older(), "--trust", f],
        {0, 2, 3, 4},
    ),
    "gate": (
        "gate-attestation",
        "audit.dsse.json",
        lambda f, d: [
            "gate",
            beside(d, "m", attested.UNLEARNED),
            "--attestation",
            f,
            "--trust",
            trusted(d),
        ],
        {0, 1, 2},
    ),
    "bundle": ("sigstore", "audit.dsse.json", lambda f, d: ["bundle", f, "--out", d / "b"], {0, 4}),
    "ledger list": (
        "ledger-file",
        "l.sqlite",
        lambda f, _: ["ledger", "list", "--ledger", f],
        {0, 4},
    ),
    "ledger verify": (
        "ledger-file",
        "l.sqlite",
        lambda f, d: ["ledger", "verify", "--ledger", f, "--trust", trusted(d)],
        {0, 1, 3, 4},
    ),
    "ledger export": (
        "ledger-file",
        "l.sqlite",
        lambda f, d: ["ledger", "export", "--ledger", f, "--out", d / "x"],
        {0, 4},
    ),
    "ledger prove": (
        "ledger-file",
        "l.sqlite",
        lambda f, d: ["ledger", "prove", books.report(3), "--ledger", f, "--out", d / "x"],
        {0, 1, 4},
    ),
    "ledger verify --against": (
        "ledger-note",
        "note",
        lambda f, d: [
            "ledger",
            "verify",
            "--ledger",
            books.book(),
            "--against",
            f,
            "--trust",
            trusted(d),
        ],
        {0, 1, 2, 3},
    ),
    "ledger check-proof": (
        "ledger-proof",
        "proof.json",
        lambda f, d: ["ledger", "check-proof", f, "--trust", trusted(d)],
        {0, 1, 2, 3},
    ),
    "proof check": (
        "erasure-proof",
        "proof.json",
        lambda f, _: ["proof", "check", f, "row-1", "--run", places.older()],
        {0, 1, 4},
    ),
    "trust list": (
        "trust-file",
        "trust.json",
        lambda f, _: ["trust", "list", "--trust", f],
        {0, 2},
    ),
    "trust add": (
        "handed-over",
        "file",
        lambda f, d: ["trust", "add", f, "--yes", "--trust", d / "new.json"],
        {0, 2},
    ),
    "keys show": ("key-pkcs12", "key.p12", lambda f, _: ["keys", "show", "--key", f], {0, 2}),
    "certify --dry-run": ("plan", "plan.toml", lambda f, _: ["certify", f, "--dry-run"], {0, 2}),
    "show": (
        "words",
        "name",
        lambda f, _: ["show", f.read_text("utf-8", "ignore")[:80]],
        {0, 2, 4},
    ),
}


def changed(door: Door, label: str) -> list[bytes]:
    rng = random.Random(derive(3, label))
    good = door.seeds()
    return [mutated(rng.choice(good), rng, good, door.suffix, door.dictionary) for _ in range(EACH)]


@pytest.mark.parametrize("label", COMMANDS)
def test_commands_end_in_words(
    label: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORGET_AUDIT_PASSPHRASE", "x")
    name, file, words, codes = COMMANDS[label]
    for i, data in enumerate(changed(DOORS[name], label)):
        folder = tmp_path / str(i)
        folder.mkdir()
        path = beside(folder, file, data)
        path.chmod(0o600)
        code, out, err = run(*words(path, folder))
        assert code in codes, (data[:200], out, err)
        assert FAULT not in err, (data[:200], err)


@pytest.mark.parametrize("label", ["verify", "gate", "ledger verify", "certify --dry-run"])
def test_a_process_of_its_own_ends_in_words(label: str, tmp_path: Path) -> None:
    name, file, words, codes = COMMANDS[label]
    path = beside(tmp_path, file, changed(DOORS[name], label)[0])
    call = [sys.executable, "-m", "forget_audit", *map(str, words(path, tmp_path))]
    environment = {"FORGET_AUDIT_HOME": str(tmp_path / "home"), "PATH": ""}
    done = subprocess.run(
        call, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in codes, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert FAULT not in done.stderr
