"""Real audits: what is committed to before training stands in the ledger before the report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from forget_audit.audits import runs
from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import ForgetAuditError
from forget_audit.keys.sources import find_key
from forget_audit.ledger.ledger import Ledger
from forget_audit.progress import Silent
from forget_audit.reports.release import Terms, release
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verdict import scoretable
from forget_audit.verification.begun import check_begun
from forget_audit.verification.checks import Findings
from forget_audit.verification.verify import VerifyResult, verify_path
from tests.fixtures.commands import Run

PLAN = """\
[request]
reference = "{reference}"
random = 25

[data]
source = "digits"
train = 80
test = 60
auxiliary = 0

[model]
architecture = "linear"
{model}

[training]
epochs = {epochs}

[method]
name = "retrain"

[references]
retrained = 4
originals = 2
identity = 2
shadows = 0

[battery]
attacks = []

[report]
formats = []
"""


@pytest.fixture(autouse=True)
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(home))
    return home


def write(folder: Path, epochs: int = 2, *, reference: str = "BEGUN", model: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "plan.toml"
    text = PLAN.format(reference=reference, model=model, epochs=epochs)
    path.write_text(text, encoding="utf-8")
    return path


def certify(path: Path, out: Path, **issue: Any) -> Json:
    done = runs.certify(runs.read(path), out, Silent(), issue=runs.Issue(**issue))
    evidence: Json = done.audit.evidence
    return evidence


def verified(folder: Path) -> VerifyResult:
    trust = Trust().add_key(find_key(None))
    return verify_path(folder, trust, scoretable.recompute, ledger=Ledger.open(create=False))


def begun(result: VerifyResult) -> list[tuple[str, str]]:
    return [(check.outcome, check.code) for check in result.checks if check.name == "begun"]


def test_the_commitment_opens_and_stands_before_the_report(tmp_path: Path) -> None:
    evidence = certify(write(tmp_path / "plan"), tmp_path / "audit")
    kinds = [entry.kind for entry in Ledger.open().entries()]
    assert kinds == ["audit-begun", "audit-issued"]
    found = verified(tmp_path / "audit")
    assert found.exit_code == 0
    assert begun(found) == [("pass", "pass"), ("pass", "pass")]
    revealed = evidence["seeds"]["begun"]
    assert [len(revealed["seeds"][name]) for name in ("retrained", "identity", "originals")] == [
        4, 2, 2,
    ]  # fmt: skip
    content = {
        "plan": evidence["digests"]["plan"],
        "case": evidence["digests"]["case"],
        "seeds": revealed["seeds"],
        "audited": [],
        "method": {key: evidence["method"][key] for key in ("name", "parameters")},
        "original": None,
    }  # as docs/verdict.md says
    assert sha256(canonical_json([revealed["nonce"], content])) == revealed["commitment"]
    assert Ledger.open().entries()[0].body["commitment"] == revealed["commitment"]


def test_another_folder_is_no_fresh_start(tmp_path: Path) -> None:
    """Neither deleting what is remembered beside the plan, nor copying the plan elsewhere."""

    def attempt(folder: str, epochs: int, **issue: Any) -> tuple[int, int]:
        found = certify(write(tmp_path / folder, epochs), tmp_path / f"{folder}-audit", **issue)
        return found["battery"]["attempt"], found["seeds"]["begun"]["attempts"]

    assert attempt("first", 2) == (1, 1)
    assert attempt("first", 3) == (2, 2)
    shutil.rmtree(tmp_path / "first")
    assert attempt("first", 4, draft=True) == (3, 3)
    assert attempt("elsewhere", 5) == (4, 4)
    assert attempt("elsewhere", 3) == (2, 2)  # the plan is known: the same attempt again
    other = {"ledger": tmp_path / "home" / "other.sqlite"}
    assert attempt("elsewhere", 6, **other) == (3, 1)  # the folder remembers two more


def test_another_spelling_of_the_source_is_no_fresh_start(tmp_path: Path) -> None:
    x, y = load_digits(return_X_y=True)
    path = write(tmp_path / "plan")
    np.savez(path.with_name("rows.npz"), x=(x / 16).astype(np.float32), y=y)
    text, numbers = path.read_text(encoding="utf-8"), []
    for source in ("npz:rows.npz", "npz:./rows.npz"):
        path.write_text(text.replace('"digits"', f'"{source}"'), encoding="utf-8")
        numbers.append(certify(path, tmp_path / "audit")["battery"]["attempt"])
    assert numbers == [1, 2]


def test_the_same_model_under_another_reference_is_a_further_attempt(tmp_path: Path) -> None:
    path = write(tmp_path / "plan")
    runs.unlearn(runs.read(path), tmp_path / "plan" / "mine.safetensors", Silent())
    model = 'unlearned = "mine.safetensors"'
    numbers = []
    for reference in ("ONE", "TWO"):
        path = write(tmp_path / reference, reference=reference, model=model)
        shutil.copy(tmp_path / "plan" / "mine.safetensors", path.parent)
        numbers.append(certify(path, tmp_path / f"{reference}-audit")["battery"]["attempt"])
    assert numbers == [1, 2]
    assert verified(tmp_path / "TWO-audit").exit_code == 0


def test_the_ledger_says_how_often_a_request_was_tried(tmp_path: Path, run: Run) -> None:
    certify(write(tmp_path / "plan", 2), tmp_path / "audit", draft=True)
    certify(write(tmp_path / "plan", 3), tmp_path / "audit", draft=True)
    _, said, _ = run("ledger", "list")
    assert [line.rpartition("attempt ")[2][:2].strip() for line in said.splitlines()] == ["1", "2"]
    assert "the ledger knows 2" in said
    _, text, _ = run("ledger", "list", "--json")
    assert [entry["body"]["attempt"] for entry in json.loads(text)] == [1, 2]


def test_a_run_that_breaks_off_keeps_its_commitment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "plan")

    def broken(*_: object) -> None:
        raise ForgetAuditError("the power went")

    with monkeypatch.context() as off:
        off.setattr(runs, "carry_out", broken)
        with pytest.raises(ForgetAuditError, match="the power went"):
            certify(path, tmp_path / "audit")
    (entry,) = Ledger.open().entries()
    evidence = certify(path, tmp_path / "audit")
    assert evidence["seeds"]["begun"]["commitment"] == entry.body["commitment"]
    assert [item.kind for item in Ledger.open().entries()] == ["audit-begun", "audit-issued"]


def other_model(evidence: Json) -> None:
    item = evidence["model"]["audited"][0]
    item |= {"made_by": "handed in", "sha256": "a" * 64}


def other_method(evidence: Json) -> None:
    evidence["method"]["name"] = "finetune"


def other_parameters(evidence: Json) -> None:
    evidence["method"]["parameters"] = {"epochs": 7}


def other_root(evidence: Json) -> None:
    evidence["seeds"]["root"] = 1


def other_seeds(evidence: Json) -> None:
    evidence["seeds"]["begun"]["seeds"]["retrained"][0] = "0" * 16


def other_plan(evidence: Json) -> None:
    evidence["plan"]["training"]["epochs"] = 9


def other_rows(evidence: Json) -> None:
    evidence["digests"]["case"] = "b" * 64


def more_models(evidence: Json) -> None:
    evidence["counts"]["retrained"] = 5


def fewer_attempts(evidence: Json) -> None:
    evidence["seeds"]["begun"]["attempts"] = 2


def later(evidence: Json) -> None:
    evidence["ledger"] = {"origin": evidence["seeds"]["begun"]["ledger"], "size": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Json:
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGET_AUDIT_HOME", str(folder / "home"))
        return certify(write(folder / "plan"), folder / "audit")


@pytest.mark.parametrize(
    "change",
    [
        other_model, other_method, other_parameters, other_root, other_seeds, other_plan,
        other_rows, more_models, fewer_attempts, later,
    ],
)  # fmt: skip
def test_another_audit_than_the_one_committed_to_is_refused(
    made: Json, change: Callable[[Json], None]
) -> None:
    document = json.loads(canonical_json(made))
    findings = Findings()
    check_begun(findings, document, None)
    assert [check.outcome for check in findings.checks] == ["pass"]
    change(document)
    findings = Findings()
    check_begun(findings, document, None)
    assert [check.outcome for check in findings.checks] == ["fail"]


def forged(folder: Path, document: Json, scores: bytes) -> Path:
    """Issue changed evidence under the account's own key, as a dishonest provider can."""
    release(document, scores, {}, find_key(None), folder, Terms(formats=(), ledger=Ledger.open()))
    return folder


def test_a_beginning_after_the_report_and_a_wrong_entry_are_found(tmp_path: Path) -> None:
    certify(write(tmp_path / "plan"), tmp_path / "audit")
    document = json.loads((tmp_path / "audit" / "evidence.json").read_bytes())
    scores = (tmp_path / "audit" / "scores.npz").read_bytes()
    first = Ledger.open().entries()[0]
    document["seeds"]["begun"]["entry"] = 1
    document["ledger"]["size"] = 2
    found = begun(verified(forged(tmp_path / "wrong-entry", document, scores)))
    assert found == [("pass", "pass"), ("mismatch", "begun-mismatch")]
    Ledger.open().append("audit-begun", first.body, find_key(None))
    size = Ledger.open().head().size
    document["seeds"]["begun"]["entry"] = size - 1
    document["ledger"]["size"] = size
    found = begun(verified(forged(tmp_path / "late", document, scores)))
    assert found == [("pass", "pass"), ("mismatch", "begun-mismatch")]


def test_a_report_that_hides_attempts_is_found(tmp_path: Path) -> None:
    for epochs in (2, 3):
        certify(write(tmp_path / "plan", epochs), tmp_path / "audit")
    document = json.loads((tmp_path / "audit" / "evidence.json").read_bytes())
    assert document["battery"]["attempt"] == document["seeds"]["begun"]["attempts"] == 2
    document["seeds"]["begun"]["attempts"] = document["battery"]["attempt"] = 1
    document["report"]["id"] = "FA-20261121-ABCDEF"
    scores = (tmp_path / "audit" / "scores.npz").read_bytes()
    found = begun(verified(forged(tmp_path / "hidden", document, scores)))
    assert found == [("pass", "pass"), ("mismatch", "begun-mismatch")]


def test_a_ledger_that_cannot_be_written_stops_an_audit_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "plan")
    find_key(None)
    Ledger.open().path.chmod(0o644)
    monkeypatch.setattr(runs, "carry_out", None)
    with pytest.raises(ForgetAuditError, match="run chmod 600"):
        certify(path, tmp_path / "audit")
    assert Ledger.open().entries() == []
