"""`gate`, `bundle` and `verify` as a person or a pipeline calls them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forget_audit import cli
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import sigstore
from tests.fixtures import attested
from tests.fixtures.released import copied, key, trust


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trust().save(tmp_path / "trust.json")
    return copied(attested.small(), tmp_path / "run")


def called(folder: Path, *words: object, code: int) -> str:
    """What a command says on standard output."""
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return str(done.stdout)


def asked(run: Path, *more: object, code: int, model: Path | None = None) -> str:
    words = ["gate", model or run / "unlearned.safetensors", "--attestation", run]
    return called(run, *words, "--trust", run.parent / "trust.json", *more, code=code)


def test_the_gate_opens_and_prints_what_it_let_through(run: Path) -> None:
    said = asked(run, code=0)
    assert "DEPLOY unlearned.safetensors (deploy)" in said
    digest = json.loads(asked(run, "--json", code=0))["sha256"]
    assert f"sha256 {digest}" in said


def test_the_gate_refuses_with_a_reason(run: Path) -> None:
    other = run.parent / "original.safetensors"
    other.write_bytes(attested.ORIGINAL)
    assert "REFUSE original.safetensors (is-the-original)" in asked(run, model=other, code=1)
    found = json.loads(asked(run, "--json", model=other, code=1))
    assert (found["deploy"], found["code"]) == (False, "is-the-original")
    assert {check["outcome"] for check in found["checks"]} == {"pass", "fail"}
    assert json.loads(asked(run, "--json", model=run / "absent", code=1))["code"] == "unreadable"
    asked(run, "--attestation", run / "release.dsse.json", code=1)


def test_age_policy_and_ledger_are_asked(run: Path) -> None:
    policy = run.parent / "policy.toml"
    policy.write_text('profile = "strict"\n')
    assert "(policy-mismatch)" in asked(run, "--policy", policy, code=1)
    policy.write_text('profile = "standard"\n')
    asked(run, "--policy", policy, code=0)
    ledger = Ledger.open(run.parent / "book" / "ledger.sqlite")
    ledger.append("key-added", {"keyid": key().keyid}, key())
    asked(run, "--ledger", ledger.path, code=0)
    ledger.append("report-superseded", {"report": "FA-20261121-3F9A1C", "by": "FA-1-A"}, key())
    assert "(superseded)" in asked(run, "--ledger", ledger.path, code=1)


def test_wrong_usage_ends_with_two(run: Path) -> None:
    policy, absent = run.parent / "policy.toml", run.parent / "absent"
    policy.write_text('profil = "x"\nreviewer = 3\n')
    for words in (
        ("--policy", policy), ("--policy", absent), ("--ledger", absent), ("--max-age", 0),
        ("--trust", absent), ("--nothing",),
    ):  # fmt: skip
        asked(run, *words, code=2)
    assert not absent.exists()
    done = CliRunner().invoke(
        cli.app,
        ["gate", str(policy), "--attestation", str(run), "--trust",
         str(run.parent / "trust.json"), "--policy", str(policy)],
    )  # fmt: skip
    assert "2 problem(s)" in done.output
    assert "did you mean 'profile'?" in done.output
    called(run, "gate", policy, "--attestation", run, code=2)
    called(run, "gate", policy, "--trust", run.parent / "trust.json", code=2)


def test_a_bundle_is_written_or_printed(run: Path) -> None:
    envelope, out = run / "audit.dsse.json", run.parent / "audit.sigstore.json"
    called(run, "bundle", envelope, "--out", out, code=0)
    assert out.read_bytes() == sigstore.bundle(envelope.read_bytes())
    done = CliRunner().invoke(cli.app, ["bundle", str(envelope)])
    assert done.stdout_bytes == out.read_bytes() + b"\n"
    called(run, "bundle", run / "evidence.json", code=4)
    called(run, "bundle", run / "absent", code=2)
