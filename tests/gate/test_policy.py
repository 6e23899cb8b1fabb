"""The policy file: read strictly, all problems at once, and held against a report."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forget_audit.deployment.gating import gate
from forget_audit.reports.attestation import audit_statement, seal
from forget_audit.verification import policy as deploy_policy
from forget_audit.verification.attested import Attested, read_attested
from forget_audit.verification.policy import Policy, PolicyError, differences, too_old
from tests.fixtures.attested import UNLEARNED, attestation, reported
from tests.fixtures.evidence import evidence
from tests.fixtures.released import key, trust

DIGEST = evidence()["battery"]["profile_digest"]
GOOD: dict[str, Any] = {
    "profile": "standard", "profile_digest": DIGEST, "claims": ["artifact", "algorithm"],
    "access": ["answers"], "controller": "Example Controller Ltd", "min_retrained": 39,
}  # fmt: skip
FULL = f"""
profile = "standard"
profile_digest = "{DIGEST}"
claims = ["artifact"]
access = ["answers", "weights"]
controller = "Example Controller Ltd"
max_age_days = 90
min_retrained = 19
reviewer = true
unattended_keys = false
ledger = true
"""


def audit(**parts: dict[str, Any]) -> Attested:
    document = reported()
    for name, changes in parts.items():
        document[name] |= changes
    return read_attested(seal(audit_statement(document), key()))


def test_a_whole_policy_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(FULL)
    policy = deploy_policy.load(tmp_path / "policy.toml")
    assert set(policy.model_dump()) == {line.split(" =")[0] for line in FULL.split("\n") if line}
    assert policy.model_dump(exclude_defaults=True) == policy.model_dump()
    (tmp_path / "empty.toml").write_text("")
    assert deploy_policy.load(tmp_path / "empty.toml") == Policy()


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(
        'profil = "standard"\nprofile_digest = "ABC"\nclaims = []\naccess = ["everything"]\n'
        'max_age_days = 0\nmin_retrained = "39"\nreviewer = 1\nlevel = 3\n'
    )
    with pytest.raises(PolicyError) as caught:
        deploy_policy.load(tmp_path / "policy.toml")
    found = {problem.place: problem.message for problem in caught.value.problems}
    assert set(found) == {"profil", "profile_digest", "claims", "access.0", "max_age_days",
                          "min_retrained", "reviewer", "level"}  # fmt: skip
    assert found["profil"] == "unknown key; did you mean 'profile'?"
    assert "'everything'" in found["access.0"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"profile = ", "is not TOML"), (b"\xff\xfe", "is not TOML"),
        (b"[profile]\nname = 1\n", "profile"), (b"#" * 70_000, "too large"),
        (b"a = " + b"[" * 5000, "is not TOML"), (None, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_policy_file_is_said(tmp_path: Path, data: bytes | None, words: str) -> None:
    if data is not None:
        (tmp_path / "policy.toml").write_bytes(data)
    with pytest.raises(PolicyError, match=words):
        deploy_policy.load(tmp_path / "policy.toml")


def test_a_policy_that_is_met_finds_nothing() -> None:
    assert differences(Policy(**GOOD), audit().claim) == []
    assert differences(Policy(), audit().claim) == []
    canary = audit(battery={"claim": "artifact and canary"})
    assert differences(Policy(claims=["artifact"]), canary.claim) == []


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"profile": "strict"}, {}), ({"profile_digest": "0" * 64}, {}),
        ({"claims": ["algorithm"]}, {}), ({"access": ["weights"]}, {}),
        ({"access": ["answers"]}, {"battery": {"access": "answers and weights with the recipe"}}),
        ({"controller": "example controller ltd"}, {}), ({"controller": "Somebody"}, {}),
        ({"controller": "Somebody"}, {"report": {"controller": None}}),
        ({"min_retrained": 40}, {}), ({"unattended_keys": False}, {}),
    ],
)  # fmt: skip
def test_what_is_not_met_is_named(changes: dict[str, Any], part: dict[str, Any]) -> None:
    found = differences(Policy(**{**GOOD, **changes}), audit(**part).claim)
    assert [item.field for item in found] == list(changes)
    assert "asks for" in found[0].message


def test_keys_under_a_passphrase_or_in_a_token_are_attended() -> None:
    for kind in ("passphrase", "token"):
        assert differences(Policy(unattended_keys=False), audit(report={"key": kind}).claim) == []


def test_what_an_older_report_does_not_say_is_not_met() -> None:
    older = read_attested(seal(audit_statement(evidence()), key()))
    found = differences(Policy(min_retrained=2, unattended_keys=False), older.claim)
    assert [item.field for item in found] == ["min_retrained", "unattended_keys"]
    assert "the report does not say" in found[0].message


def test_age_goes_by_the_shortest_limit() -> None:
    now, then = datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 11, tzinfo=UTC)
    assert too_old(then, [None, 10], now) is None
    assert too_old(then, [None, None], now) is None
    assert "9 are allowed" in (too_old(then, [20, 9], now) or "")


def test_the_gate_names_each_field(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(UNLEARNED)
    (tmp_path / "audit.dsse.json").write_bytes(attestation())
    policy = Policy(profile="strict", controller="Somebody", min_retrained=99)
    found = gate(tmp_path / "model", [tmp_path], trust(), policy=policy)
    assert (found.deploy, found.code) == (False, "policy-mismatch")
    for field in ("profile", "controller", "min_retrained"):
        assert f"{field}: asks for" in found.reason
