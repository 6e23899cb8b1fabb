"""What makes an audit a further attempt at a request, and what does not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.audits import runs
from forget_audit.audits.beginnings import begun
from forget_audit.audits.commission import from_plan
from forget_audit.ledger.ledger import Ledger
from forget_audit.model_files import safetensors_bytes
from forget_audit.plans.plan import Plan, check_plan
from tests.ledger.books import key

COUNTS = {"retrained": 3, "originals": 2, "identity": 2, "shadows": 0}
ROWS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with rows and two lists of ids."""
    rng = np.random.default_rng(0)
    write_rows(tmp_path, rng.normal(size=(ROWS, 4)))
    (tmp_path / "some.txt").write_text("row-1\nrow-2\n", encoding="utf-8")
    (tmp_path / "others.txt").write_text("row-3\nrow-4\n", encoding="utf-8")
    return tmp_path


def write_rows(folder: Path, x: np.ndarray) -> None:
    np.savez(
        folder / "rows.npz",
        x=x.astype(np.float32),
        y=np.arange(ROWS) % 2,
        ids=np.array([f"row-{k}" for k in range(ROWS)]),
        split=np.repeat(["train", "test"], [ROWS // 2, ROWS // 2]),
    )


def plan(
    folder: Path, *, reference: str = "R", ids: str = "some.txt", **changes: Mapping[str, object]
) -> Plan:
    tables: dict[str, Mapping[str, object]] = {
        "request": {"reference": reference, "forget": ids},
        "data": {"source": "npz:rows.npz"},
        "model": {"architecture": "mlp"},
        "method": {"name": "retrain"},
        "references": COUNTS,
        "battery": {"attacks": []},
    }
    for name, table in changes.items():
        tables[name] = {**tables.get(name, {}), **table}
        if not table:
            del tables[name]
    return check_plan(tables, folder)


def attempt(found: Plan, ledger: Ledger) -> tuple[int, str]:
    """Begin an audit; return the number of the attempt, and the digest of the run."""
    state = found.folder / runs.STATE
    ordered, run = begun(found, from_plan(found), state, ledger, key())
    assert ordered.profile.alpha == 0.05 / 2 ** (ordered.attempt - 1)
    return ordered.attempt, run


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "account" / "ledger.sqlite")


def test_other_attacks_experiments_and_words_are_the_same_attempt_of_another_run(
    folder: Path, ledger: Ledger
) -> None:
    found = [
        attempt(plan(folder), ledger),
        attempt(plan(folder, battery={"attacks": ["loss_threshold"]}), ledger),
        attempt(plan(folder, battery={"experiments": True}), ledger),
        attempt(plan(folder, report={"controller": "Another"}), ledger),
    ]
    assert [number for number, _ in found] == [1, 1, 1, 1]
    assert len({run for _, run in found}) == len(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"references": {"seed": 7}},
        {"training": {"epochs": 3}},
        {"method": {"name": "finetune"}},
        {"battery": {"access": "score"}},
    ],
    ids=["seed", "recipe", "method", "access"],
)
def test_whatever_the_verdict_rests_on_makes_another_attempt(
    folder: Path, ledger: Ledger, changes: dict[str, Any]
) -> None:
    assert attempt(plan(folder), ledger)[0] == 1
    assert attempt(plan(folder, **changes), ledger)[0] == 2
    assert attempt(plan(folder), ledger)[0] == 1


def test_other_rows_under_the_same_names_make_another_attempt(folder: Path, ledger: Ledger) -> None:
    first = attempt(plan(folder), ledger)
    write_rows(folder, np.random.default_rng(1).normal(size=(ROWS, 4)))
    assert attempt(plan(folder), ledger)[0] == 2
    write_rows(folder, np.random.default_rng(0).normal(size=(ROWS, 4)))
    assert attempt(plan(folder), ledger) == first


def test_one_model_may_be_audited_for_two_people(folder: Path, ledger: Ledger) -> None:
    """Another list under another reference is another request; the same list is not."""
    model = plan(folder).architecture(plan(folder).dataset()).build()
    (folder / "mine.safetensors").write_bytes(safetensors_bytes(model))
    handed: dict[str, Any] = {"model": {"unlearned": "mine.safetensors"}, "method": {}}
    assert attempt(plan(folder, **handed), ledger)[0] == 1
    other = plan(folder, reference="S", ids="others.txt", **handed)
    assert attempt(other, ledger)[0] == 1
    same = plan(folder, reference="T", references={"seed": 1}, **handed)
    assert attempt(same, ledger)[0] == 2
