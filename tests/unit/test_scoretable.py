"""The stored scores: nothing is lost in them, and the verdict can be computed from them again."""

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forget_audit.audits.audit import Audit, carry_out
from forget_audit.audits.commission import from_plan
from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import VerificationError
from forget_audit.plans.plan import check_plan
from forget_audit.verdict import scoretable


@pytest.fixture(scope="module")
def audit() -> Audit:
    tables = {
        "request": {"reference": "REQ-1", "random": 60},
        "data": {"source": "digits", "label_noise": 0.15},
        "training": {"epochs": 40, "lr": 0.01},
        "model": {"options": {"hidden": [32]}},
        "method": {"name": "retrain"},
        "references": {"retrained": 19, "originals": 3, "shadows": 0},
        "battery": {"attacks": []},
    }
    return carry_out(from_plan(check_plan(tables, Path())))


def test_evidence_and_scores_agree(audit: Audit) -> None:
    assert scoretable.recompute(audit.evidence, audit.scores) == []
    assert canonical_json(audit.evidence)


def test_logits_come_back_exactly(audit: Audit) -> None:
    arrays = scoretable.from_bytes(audit.scores)
    assert arrays["logit_A_f"].dtype == np.float32
    assert arrays["logit_R_f"].shape == (19, 60, 10)
    assert scoretable.to_bytes(arrays) == audit.scores
    assert len(set(arrays["id_f"].tolist())) == 60
    assert all(len(i) == 32 for i in arrays["id_f"].tolist())
    assert not any(i.startswith("digits") for i in arrays["id_f"].tolist())


@pytest.mark.parametrize(
    "path",
    [
        ("verdict", "outcome"),
        ("verdict", "p_value"),
        ("statistics", 0, "difference"),
        ("statistics", 3, "outcome"),
        ("gates", 1, "outcome"),
        ("controls", "original", "n_eff"),
        ("cloud", "rho_p", "retrained", 4),
        ("fidelity", "p_value"),
        ("verdict", "scope"),
    ],
)
def test_every_changed_result_is_found(audit: Audit, path: tuple[Any, ...]) -> None:
    changed = copy.deepcopy(audit.evidence)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    old = place[path[-1]]
    place[path[-1]] = old + 1e-6 if isinstance(old, float) else "other"
    differences = scoretable.recompute(changed, audit.scores)
    assert len(differences) == 1
    assert str(path[-1]) in differences[0]


@pytest.mark.parametrize("name", ["logit_A_f", "phi_R_t", "loss_O_f", "racc_A", "y_f"])
def test_every_changed_number_is_found(audit: Audit, name: str) -> None:
    arrays = {key: value.copy() for key, value in scoretable.from_bytes(audit.scores).items()}
    arrays[name].flat[0] = (arrays[name].flat[0] + 1) % 10 if name == "y_f" else 0.123
    data = scoretable.to_bytes(arrays)
    evidence = copy.deepcopy(audit.evidence)
    evidence["digests"]["scores"] = sha256(data)
    assert scoretable.recompute(evidence, data)


def test_other_scores_are_found_by_their_digest(audit: Audit) -> None:
    data = scoretable.to_bytes(scoretable.from_bytes(audit.scores)) + b" "
    assert "digests.scores is not that of scores.npz" in scoretable.recompute(audit.evidence, data)


def as_npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data", [b"", b"junk", as_npz(a=np.array([None], dtype=object)), as_npz(a=np.zeros(3))]
)
def test_hostile_scores_are_an_answer_and_not_a_crash(audit: Audit, data: bytes) -> None:
    assert scoretable.recompute(audit.evidence, data)


@pytest.mark.parametrize("value", [None, [], "x", 3, {"profile": "none such"}])
def test_hostile_evidence_is_an_answer_and_not_a_crash(audit: Audit, value: Any) -> None:
    evidence = {**audit.evidence, "battery": value}
    assert scoretable.recompute(evidence, audit.scores)


def test_missing_arrays_are_named(audit: Audit) -> None:
    arrays = scoretable.from_bytes(audit.scores)
    del arrays["logit_O_t"]
    with pytest.raises(VerificationError, match="lacks the array 'logit_O_t'"):
        scoretable.models_of(arrays)
    arrays = scoretable.from_bytes(audit.scores)
    arrays["logit_O_t"] = arrays["logit_O_t"][:, :3]
    with pytest.raises(VerificationError, match=r"expected 3 models and 400 rows, found shape"):
        scoretable.models_of(arrays)
