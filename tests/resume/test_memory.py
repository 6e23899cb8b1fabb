"""What an audit remembers: a second one trains nothing, and runs only the attacks that are new."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from forget_audit.audits import results, runs, unfinished
from forget_audit.errors import ForgetAuditError
from forget_audit.findings import AttackResult
from forget_audit.progress import Silent
from forget_audit.registry import attacks
from forget_audit.training import unlearning
from forget_audit.types import Json

PLAN = """\
[request]
reference = "TWICE"
random = 30

[data]
source = "digits"
label_noise = 0.15
train = 200
test = 100
auxiliary = 100

[model]
architecture = "linear"

[training]
epochs = 5

[method]
name = "finetune"

[references]
retrained = 6
originals = 2
identity = 2
shadows = 4
candidate_shadows = 3

[battery]
attacks = {attacks}

[report]
formats = ["html"]
"""


@pytest.fixture(autouse=True)
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))


def certify(folder: Path, names: list[str], *, fresh: bool = False) -> Json:
    plan = folder / "plan.toml"
    plan.write_text(PLAN.format(attacks=json.dumps(names)), encoding="utf-8")
    done = runs.certify(runs.read(plan), folder / "audit", Silent(), fresh=fresh)
    evidence: Json = done.audit.evidence
    return evidence


def measured(evidence: Json) -> dict[str, Any]:
    return {row["name"]: row for row in evidence["attacks"] if row["outcome"] == "informative"}


def test_one_more_attack_trains_nothing_and_is_no_further_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = certify(tmp_path, ["lira", "ruli"])

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("something was trained, unlearned or attacked again")

    monkeypatch.setattr("forget_audit.training.references.Workshop._fit", lambda *_: iter(()))
    monkeypatch.setattr("forget_audit.methods.finetune.Finetune.unlearn", refused)
    monkeypatch.setattr("forget_audit.attacks.lira.Lira.fit", refused)
    second = certify(tmp_path, ["lira", "ruli", "loss_threshold"])
    assert second["battery"]["attempt"] == first["battery"]["attempt"] == 1
    assert second["statistics"] == first["statistics"]
    before, after = measured(first), measured(second)
    assert after.keys() - before.keys() == {"loss_threshold"}
    assert all(after[name] == before[name] for name in before)
    assert second["report"]["id"] != first["report"]["id"]


def test_fresh_computes_everything_again(tmp_path: Path) -> None:
    first = measured(certify(tmp_path, ["lira"]))["lira"]
    second = measured(certify(tmp_path, ["lira"], fresh=True))["lira"]
    assert first.pop("duration_s") != second.pop("duration_s")
    assert first == second


def test_a_method_that_was_changed_unlearns_again(tmp_path: Path) -> None:
    first = certify(tmp_path, [])
    changed = PLAN.replace('name = "finetune"', 'name = "finetune"\noptions = {{ epochs = 1 }}')
    plan = tmp_path / "plan.toml"
    plan.write_text(changed.format(attacks="[]"), encoding="utf-8")
    second = runs.certify(runs.read(plan), tmp_path / "audit", Silent()).audit.evidence
    names = [e["model"]["audited"][0]["weights_sha256"] for e in (first, second)]
    assert names[0] != names[1]
    assert second["battery"]["attempt"] == 2


FOUND = AttackResult(
    name="lira", outcome="informative", reason="", metrics=(), series={}, duration_s=0.1
)


def test_results_follow_from_the_code_of_the_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = results.Results(folder=tmp_path / "results", context="same")
    kind = attacks()["lira"]
    assert memory.recall(kind) is None
    memory.keep(kind, FOUND)
    assert memory.recall(kind) == FOUND
    assert results.Results(folder=memory.folder, context="other").recall(kind) is None
    assert results.Results(folder=memory.folder, context="same", fresh=True).recall(kind) is None
    monkeypatch.setattr(results, "code_of", lambda _: "other code")
    assert memory.recall(kind) is None
    monkeypatch.setattr(results, "code_of", lambda _: None)
    memory.keep(kind, FOUND)
    assert memory.recall(kind) is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"name": 1}', b"\xff"])
def test_a_damaged_result_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    memory = results.Results(folder=tmp_path, context="same")
    kind = attacks()["lira"]
    memory.keep(kind, FOUND)
    (file,) = tmp_path.glob("*.json")
    file.write_bytes(content)
    assert memory.recall(kind) is None


def test_an_error_is_not_remembered(tmp_path: Path) -> None:
    memory = results.Results(folder=tmp_path, context="same")
    memory.keep(attacks()["lira"], dataclasses.replace(FOUND, outcome="error"))
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_broken_off_keeps_its_identity(tmp_path: Path) -> None:
    first = unfinished.Unfinished.begin(tmp_path, "key")
    again = unfinished.Unfinished.begin(tmp_path, "key")
    assert not first.continued
    assert again.continued
    assert again.identity == first.identity
    head = {"origin": "a", "size": 1, "root": "00" * 32}
    assert first.place(head) == head
    assert again.place({**head, "size": 7}) == head
    assert again.place({"origin": "b", "size": 2, "root": "11" * 32})["size"] == 2
    assert unfinished.Unfinished.begin(tmp_path, "other").identity != first.identity
    again.end()
    assert unfinished.Unfinished.begin(tmp_path, "key").identity != first.identity


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"secret": "00", "day": "2026-01-01"}'])
def test_a_damaged_identity_is_an_error_and_fresh_gets_round_it(
    tmp_path: Path, content: bytes
) -> None:
    first = unfinished.Unfinished.begin(tmp_path, "key")
    first.path.write_bytes(content)
    with pytest.raises(ForgetAuditError, match="delete it, or use --fresh"):
        unfinished.Unfinished.begin(tmp_path, "key")
    assert not unfinished.Unfinished.begin(tmp_path, "key", fresh=True).continued


def test_models_of_another_build_are_not_remembered() -> None:
    from torch import nn

    same = unlearning.same_build
    assert same(nn.Linear(2, 3), nn.Linear(2, 3))
    assert not same(nn.Linear(2, 3), nn.Linear(3, 3))
    assert not same(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), nn.Sequential(nn.Linear(2, 3)))
