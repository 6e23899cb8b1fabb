"""Doors of what the tool remembers itself, and of the numbers behind a released verdict."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from forget_audit.attacks.lira import Lira
from forget_audit.audits import holdings
from forget_audit.audits.attempts import FILE as ATTEMPTS
from forget_audit.audits.attempts import count
from forget_audit.audits.reissue import Run
from forget_audit.audits.results import RESULT, Results
from forget_audit.audits.unfinished import FOLDER, Unfinished
from forget_audit.contracts import Series
from forget_audit.digests import sha256
from forget_audit.errors import VerificationError
from forget_audit.findings import AttackResult, Metric
from forget_audit.model_files import safetensors_bytes
from forget_audit.proofs import prove
from forget_audit.reports.folders import SCORES
from forget_audit.seals import SECRET as OWN
from forget_audit.seals import SECRET_BYTES, sealed
from forget_audit.stress_file import read_stress
from forget_audit.training.remembered_models import load_remembered, remembered_bytes
from forget_audit.training.ways import Way
from forget_audit.types import Json
from forget_audit.verdict import scoretable
from forget_audit.verification.checks import Findings
from forget_audit.verification.numbers import check_scores
from forget_audit.whole_files import write_whole
from tests.fuzz.doors import SAME, Door, Refused
from tests.fuzz.model_doors import network

ROOT = Path(__file__).resolve().parents[2]
OLDER = ROOT / "tests" / "fixtures" / "older" / "audit-0.1.0"
HEAD = {"origin": "here", "size": 3, "root": "00" * 32}
REPORT = "FA-20261121-3F9A1C"


@contextmanager
def account(folder: Path) -> Iterator[None]:
    """Be another account, whose secret is always the same; then be the former one again."""
    before = os.environ.get("FORGET_AUDIT_HOME")
    os.environ["FORGET_AUDIT_HOME"] = str(folder)
    write_whole(folder / OWN, bytes(SECRET_BYTES))
    try:
        yield
    finally:
        if before is None:
            del os.environ["FORGET_AUDIT_HOME"]
        else:
            os.environ["FORGET_AUDIT_HOME"] = before


@cache
def document() -> Json:
    found: Json = json.loads((OLDER / "evidence.json").read_bytes())
    return found


def arrays() -> list[bytes]:
    """The released scores of version 0.1.0, cut down to as many rows as a verdict can do with."""
    with np.load(OLDER / SCORES, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    for name, values in found.items():
        part = name[-1]
        if part in "fto" and "_" in name:
            axis = 0 if name.startswith(("y_", "id_", "unit_")) else 1
            found[name] = values.take(np.arange(min(24, values.shape[axis])), axis=axis)
    return [scoretable.to_bytes(found)]


def enter_scores(data: bytes, folder: Path) -> object:
    """Let in the scores of a release whose evidence names them, as every reader of them does."""
    evidence = {**document(), "digests": {**document()["digests"], "scores": sha256(data)}}
    found = Findings()
    recompute = scoretable.recompute
    check_scores(found, recompute, evidence, data, listed=True, purge=None)
    (folder / SCORES).write_bytes(data)
    run = Run(folder=folder, evidence=evidence, files={SCORES: folder / SCORES})
    try:
        prove(run, "row", bytes(32))
    except VerificationError as error:
        if "not in the forget set" not in str(error):  # that much is true of sound scores, too
            raise Refused(str(error)) from error
    return found


def a_result() -> AttackResult:
    metric = Metric(
        name="auc", audited=0.5, low=0.4, high=None, construction="DeLong 95 %",
        retrained_mean=0.5, retrained_sd=0.01, original_mean=0.7, p_value=0.9,
    )  # fmt: skip
    line = Series(x_label="FPR", y_label="TPR", x=(0.0, 1.0), y=(0.0, 1.0))
    return AttackResult(
        name="lira", outcome="informative", reason="", metrics=(metric,),
        series={"roc": {"audited": line}}, duration_s=1.5,
    )  # fmt: skip


def enter_result(data: bytes, folder: Path) -> object:
    """Recall a result that stands on the disk; a damaged one is computed again.

    One without a seal gets it first, so that what stands behind the seal is read, too.
    """
    with account(folder / "home"):
        kept = Results(folder=folder, context="context")
        kept.keep(Lira, a_result())
        file = next(folder.glob("*.json"))
        file.write_bytes(sealed(data, file.stem) if data[:1] == b"{" else data)
        found = kept.recall(Lira)
    if found is None:
        raise Refused("computed again")
    return RESULT.dump_json(found)


def results() -> list[bytes]:
    """Return a result as it is kept, and without its seal."""
    with tempfile.TemporaryDirectory() as name, account(Path(name) / "home"):
        Results(folder=Path(name), context="context").keep(Lira, a_result())
        return [next(Path(name).glob("*.json")).read_bytes(), RESULT.dump_json(a_result())]


def enter_model(data: bytes, folder: Path) -> object:
    """Recall a model that stands on the disk."""
    path = folder / "kept.safetensors"
    path.write_bytes(data)
    with account(folder / "home"):
        model = load_remembered(network(), path)
    if safetensors_bytes(model) != safetensors_bytes(network()):
        raise AssertionError("another model than the one that was kept")
    return SAME


def models() -> list[bytes]:
    """Return a model as it is kept."""
    with tempfile.TemporaryDirectory() as name, account(Path(name)):
        return [remembered_bytes(network(), "kept")]


def enter_unfinished(data: bytes, folder: Path) -> object:
    """Go on with a run that was broken off, and ask where the ledger stood."""
    place = folder / FOLDER
    place.mkdir()
    (place / "key.json").write_bytes(data)
    run = Unfinished.begin(folder, "key")
    kept = run.place(dict(HEAD))
    assert set(kept) == set(HEAD)
    assert type(kept["size"]) is int
    assert len(bytes.fromhex(kept["root"])) == 32
    return run


def enter_ways(data: bytes, folder: Path) -> object:
    """Ask how a network is trained, with the file of what was measured before."""
    from forget_audit.training import remembered_ways

    file = folder / remembered_ways.FILE
    file.write_bytes(data)
    found = remembered_ways.remembered(file)
    for way in found.values():
        assert isinstance(way, Way)
        assert 1 <= way.models <= 1024
    return found


def enter_holdings(data: bytes, folder: Path) -> object:
    """Ask what an audit holds, by the register of this account."""
    with account(folder):
        (folder / "runs").mkdir()
        (folder / "runs" / f"{REPORT}.json").write_bytes(data)
        found = holdings.find(REPORT)
    assert all(str(path).encode() for path in (found.secret, *found.models))
    return found


def enter_attempts(data: bytes, folder: Path) -> object:
    """Count one more attempt beside those that are remembered."""
    (folder / ATTEMPTS).write_bytes(data)
    number = count(folder, "request", "plan")
    assert number >= 1
    return number


@cache
def stress_result() -> Json:
    """The committed result, cut down to its first set."""
    found: Json = json.loads((ROOT / "benchmarks" / "results" / "stress.json").read_bytes())
    return {**found, "sets": found["sets"][:1], "methods": found["methods"][:2]}


def enter_stress(data: bytes, folder: Path) -> object:
    path = folder / "stress.json"
    path.write_bytes(data)
    found = read_stress(path)
    json.dumps(found, allow_nan=False)
    return found


def _texts(*documents: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(found).encode() for found in documents]


WAY = {"how": "loop", "models": 1, "side_by_side": False, "bytes_each": 0, "share": 1.0}
SECRET = {"secret": "ab" * 32, "day": "2026-11-21"}
DOORS: tuple[Door, ...] = (
    Door(name="scores", seeds=arrays, enter=enter_scores, suffix=".npz", share=0.15),
    Door(
        name="remembered-result",
        seeds=results,
        enter=enter_result,
        suffix=".json",
        share=0.5,
    ),
    Door(
        name="remembered-model",
        seeds=models,
        enter=enter_model,
        suffix=".safetensors",
        must_refuse=True,
    ),
    Door(
        name="remembered-run",
        seeds=_texts(SECRET, {**SECRET, "ledger": HEAD}),
        enter=enter_unfinished,
        suffix=".json",
    ),
    Door(name="remembered-ways", seeds=_texts({"a": WAY}), enter=enter_ways, suffix=".json"),
    Door(
        name="remembered-holdings",
        seeds=_texts({"secret": "/a/b.key", "models": ["/a/c.safetensors"]}),
        enter=enter_holdings,
        suffix=".json",
    ),
    Door(
        name="remembered-attempts",
        seeds=_texts({"other": ["plan"], "request": ["a", "b"]}),
        enter=enter_attempts,
        suffix=".json",
        share=0.3,
    ),
    Door(
        name="stress-result",
        seeds=lambda: [json.dumps(stress_result()).encode()],
        enter=enter_stress,
        suffix=".json",
        share=0.4,
    ),
)  # fmt: skip
