"""The commands `ledger …` as a person runs them, and the files they take checkpoints from."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forget_audit.commands import ledger as cli_ledger
from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import VerificationError
from forget_audit.ledger import merkle
from forget_audit.ledger.ledger import Ledger, LedgerError
from forget_audit.ledger.witnesses import read
from forget_audit.trust import Trust
from tests.ledger.books import SIZE, book, copied, issue, key, report, trust, unguarded

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command of `ledger` on the ledger and trust file of an account."""
    account = tmp_path / "account"
    account.mkdir(mode=0o700)
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(account))
    shutil.copy(book(), account / "ledger.sqlite")
    trust().save(account / "trust.json")

    def call(*words: object) -> tuple[int, str]:
        done = CliRunner().invoke(cli_ledger.ledger, [str(word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout

    return call


def sealed(predicate: object) -> bytes:
    """An envelope as a release has it; nobody checks its signature here."""
    payload = base64.b64encode(canonical_json({"predicate": predicate})).decode()
    return canonical_json({"payload": payload, "payloadType": "x", "signatures": []})


def released(folder: Path, ledger: Ledger, size: int) -> Path:
    """A folder with the two files that carry a checkpoint."""
    folder.mkdir(parents=True)
    note = ledger.notes()[size - 1]
    (folder / "release.dsse.json").write_bytes(sealed({"checkpoint": note}))
    hashes = [bytes.fromhex(entry.leaf) for entry in ledger.entries()[: size - 1]]
    head = {"origin": ledger.origin, "size": size - 1, "root": merkle.tree_root(hashes).hex()}
    (folder / "evidence.json").write_bytes(canonical_json({"ledger": head}))
    return folder


def test_list_shows_every_entry(run: Run) -> None:
    code, out = run("list")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == SIZE
    assert lines[3].split() == ["3", lines[3].split()[1], "audit-issued", report(3)]
    code, out = run("list", "--json")
    assert [item["body"] for item in json.loads(out)] == [issue(n) for n in range(SIZE)]


def test_list_names_entries_whose_files_were_never_written(run: Run, tmp_path: Path) -> None:
    """What a crash between the entry and the files leaves behind."""
    ledger = Ledger.open()
    content = b"{}"
    for number in (30, 31):
        files = {"evidence.json": sha256(content + b"%d" % number)}
        ledger.append("audit-issued", {"report": report(number), "files": files}, key())
    (tmp_path / "audits" / "one").mkdir(parents=True)
    (tmp_path / "audits" / "one" / "evidence.json").write_bytes(b"{}30")
    code, out = run("list", "--reports", tmp_path / "audits")
    assert code == 0
    marked = {line.split()[0] for line in out.splitlines() if line.endswith("NO FILES FOUND")}
    assert marked == {str(index) for index in range(SIZE)} | {str(SIZE + 1)}
    code, out = run("list", "--reports", tmp_path / "audits", "--json")
    assert [item["files_missing"] for item in json.loads(out)][-2:] == [False, True]


def test_verify_says_that_all_is_well(run: Run) -> None:
    code, out = run("verify")
    assert (code, out) == (0, f"{Ledger.open().origin}: {SIZE} entries as they were signed\n")
    code, out = run("verify", "--json")
    found = json.loads(out)
    assert (found["exit_code"], found["size"], found["problems"]) == (0, SIZE, [])


def test_verify_names_the_first_bad_entry(run: Run) -> None:
    with unguarded(Ledger.open().path) as db:
        db.execute("UPDATE entries SET kind = 'purged' WHERE position = 7")
    code, out = run("verify")
    assert code == 1
    assert "edited        entry 7 is not the one that was signed" in out
    assert "DAMAGED, first at entry 7" in out
    code, out = run("verify", "--json")
    assert (code, json.loads(out)["first_bad"]) == (1, 7)


def test_verify_knows_strangers_and_files_that_are_no_ledger(run: Run, tmp_path: Path) -> None:
    Trust().save(tmp_path / "nobody.json")
    code, out = run("verify", "--trust", tmp_path / "nobody.json")
    assert code == 3
    assert f"untrusted     the checkpoint after entry 0 is by key {key().keyid}" in out
    code, out = run("verify", "--ledger", tmp_path / "missing.sqlite")
    assert code == 1
    assert "unreadable" in out
    assert "DAMAGED; keep the file" in out


@pytest.mark.parametrize(
    "form", ["note", "release", "evidence", "folder", "copy", "export", "proof"]
)
def test_verify_takes_checkpoints_from_whatever_carries_one(
    form: str, run: Run, tmp_path: Path
) -> None:
    ledger = Ledger.open(book())
    folder = released(tmp_path / "report", ledger, SIZE)
    (tmp_path / "note").write_text(ledger.checkpoint(), encoding="utf-8")
    (tmp_path / "export").write_bytes(ledger.export())
    (tmp_path / "proof").write_text(json.dumps(ledger.prove(3), indent=1), encoding="utf-8")
    path = {"release": folder / "release.dsse.json", "evidence": folder / "evidence.json",
            "folder": folder, "copy": book()}.get(form, tmp_path / form)  # fmt: skip
    code, out = run("verify", "--against", path)
    held = {"folder": 2, "copy": SIZE, "export": SIZE}.get(form, 1)
    assert (code, out.split(" entries")[1]) == (
        0, f" as they were signed, compared with {held} held elsewhere\n")  # fmt: skip
    with unguarded(Ledger.open().path) as db:
        db.execute("DELETE FROM entries WHERE position >= 9")
        db.execute("DELETE FROM checkpoints WHERE size > 9")
    assert run("verify")[0] == 0
    code, out = run("verify", "--against", path)
    assert code == 1
    assert "DAMAGED, first at entry 9" in out
    assert run("verify", "--against", tmp_path / "note", "--against", path)[0] == 1


@pytest.mark.parametrize(
    "content",
    [
        b"", b"text", b"\xff\xfe", b"{}", b"[]", b"{", b"{" * 100_000, b"{\n}",
        b'{"a":1}\n{"b":2}\n',
        b'{"payload":5}', b'{"payload":"!"}', b'{"payload":"e30="}', b'{"payload":"W10="}',
        b'{"payload":"/w=="}', b'{"checkpoint":"x"}', b'{"ledger":{}}', b'{"ledger":null}',
        b'{"ledger":{"origin":"x","size":1,"root":"zz"}}',
        b'{"ledger":{"origin":"x","size":-1,"root":"' + b"0" * 64 + b'"}}',
        b'{"ledger":{"origin":"x","size":1,"root":"00"}}', b"SQLite format 3\x00",
    ],
)  # fmt: skip
def test_files_without_a_checkpoint_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises((VerificationError, LedgerError)):
        read(path)


def test_folders_without_a_checkpoint_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="holds no checkpoint"):
        read(tmp_path)
    with pytest.raises(VerificationError, match="cannot be read"):
        read(tmp_path / "missing")


def test_checkpoint_prints_the_newest(run: Run, tmp_path: Path) -> None:
    code, out = run("checkpoint")
    assert (code, out) == (0, Ledger.open(book()).checkpoint())
    with pytest.raises(LedgerError, match="no ledger"):
        run("checkpoint", "--ledger", tmp_path / "missing.sqlite")


def test_a_proof_is_written_and_checked_elsewhere(run: Run, tmp_path: Path) -> None:
    ledger = Ledger.open()
    ledger.append("report-superseded", {"report": report(3), "by": report(9)}, key())
    ledger.append("purged", {"report": report(5)}, key())
    folder = released(tmp_path / "report", ledger, 5)
    proof = tmp_path / "proof.json"
    assert run("prove", report(3), "--since", folder, "--out", proof) == (0, f"{proof}\n")
    (tmp_path / "account" / "ledger.sqlite").unlink()
    code, out = run("check-proof", proof, "--against", folder / "release.dsse.json")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines()[:2]] == [
        "audit-issued",
        "report-superseded",
    ]
    assert f"with {SIZE + 2} entries, signed by Example Auditor\n" in out
    assert out.endswith("it has only grown since it had 5 entries\n")
    code, out = run("check-proof", proof, "--json")
    found = json.loads(out)
    assert (found["exit_code"], found["size"], found["since"]) == (0, SIZE + 2, 5)
    assert [item["index"] for item in found["entries"]] == [3, SIZE]


def test_check_proof_tells_strangers_changes_and_forks_apart(run: Run, tmp_path: Path) -> None:
    proof, kept = tmp_path / "proof.json", tmp_path / "kept.txt"
    run("prove", report(3), "--out", proof)
    Trust().save(tmp_path / "nobody.json")
    code, out = run("check-proof", proof, "--trust", tmp_path / "nobody.json")
    assert code == 3
    assert "signed by a key that the trust file does not hold" in out
    fork = copied(tmp_path / "fork.sqlite")
    with unguarded(fork.path) as db:
        db.execute("DELETE FROM entries WHERE position = 23")
        db.execute("DELETE FROM checkpoints WHERE size = 24")
    fork.append("purged", {"report": report(3)}, key())
    kept.write_text(fork.checkpoint(), encoding="utf-8")
    assert run("check-proof", proof, "--against", kept)[0] == 1
    proof.write_text(proof.read_text("utf-8").replace("audit-issued", "purged"), encoding="utf-8")
    assert run("check-proof", proof)[0] == 1
    assert run("check-proof", tmp_path / "missing.json")[0] == 2


def test_prove_needs_an_entry_and_a_signed_checkpoint(run: Run, tmp_path: Path) -> None:
    assert run("prove", "FA-20261121-NOBODY")[0] == 1
    code, out = run("prove", report(3))
    assert (code, json.loads(out)["entries"][0]["entry"]["index"]) == (0, 3)
    folder = released(tmp_path / "report", Ledger.open(), 5)
    assert run("prove", report(3), "--since", folder / "evidence.json")[0] == 2
    assert run("prove", report(3), "--since", tmp_path / "missing")[0] == 2
    assert run("verify", "--against", tmp_path)[0] == 2


def test_export_holds_everything_in_lines(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "ledger.jsonl"
    assert run("export", "--out", out) == (0, f"{out}\n")
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["body"] for line in lines] == [issue(number) for number in range(SIZE)]
    assert [line["checkpoint"] for line in lines] == Ledger.open().notes()
    assert run("export") == (0, out.read_text("utf-8"))


def test_the_way_back_after_damage_is_as_documented(run: Run, tmp_path: Path) -> None:
    ledger = Ledger.open()
    folder = released(tmp_path / "newest", ledger, SIZE)
    shutil.copy(ledger.path, tmp_path / "backup.sqlite")
    old = copied(tmp_path / "old.sqlite")
    with unguarded(old.path) as db:
        db.execute("DELETE FROM entries WHERE position >= 20")
        db.execute("DELETE FROM checkpoints WHERE size > 20")
    with unguarded(ledger.path) as db:
        db.execute("DELETE FROM entries WHERE position = 23")
    with pytest.raises(LedgerError, match="nothing is added to it"):
        ledger.append("purged", {"report": report(1)}, key())
    assert run("verify", "--against", folder)[0] == 1
    kept = ledger.path.rename(ledger.path.with_name("damaged-ledger.sqlite"))
    code, out = run("verify", "--ledger", old.path, "--against", folder)
    assert (code, "truncated" in out) == (1, True)
    assert run("verify", "--ledger", tmp_path / "backup.sqlite", "--against", folder)[0] == 0
    shutil.copy(tmp_path / "backup.sqlite", ledger.path)
    Ledger.open().append("purged", {"report": report(1)}, key())
    assert run("verify", "--against", folder)[0] == 0
    ledger.path.unlink()
    assert Ledger.open().origin != ledger.origin
    assert len(run("list", "--ledger", kept)[1].splitlines()) == SIZE - 1


def test_a_backup_that_was_gone_on_with_is_shown_as_a_fork(run: Run, tmp_path: Path) -> None:
    ledger = Ledger.open()
    old = copied(tmp_path / "old.sqlite")
    ledger.append("purged", {"report": report(1)}, key())
    folder = released(tmp_path / "newest", ledger, SIZE + 1)
    old.append("purged", {"report": report(2)}, key())
    code, out = run("verify", "--ledger", old.path, "--against", folder)
    assert code == 1
    assert f"forked        release.dsse.json signs another history of this ledger: they part at "\
           f"entry {SIZE}\n" in out  # fmt: skip
