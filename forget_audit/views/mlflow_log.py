"""Finished audits as runs of MLflow: verdict, measures and conditions, and the released files.

Only what verifies is logged: signatures and digests are checked and the numbers computed again
first. MLflow's telemetry is switched off, unless MLflow was imported before.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forget_audit import trust as trust_files
from forget_audit.digests import file_digest
from forget_audit.errors import ForgetAuditError, MissingDependency, VerificationError
from forget_audit.reports import evidence as evidence_file
from forget_audit.reports import numbers, tables
from forget_audit.reports.folders import EVIDENCE
from forget_audit.trust import Trust
from forget_audit.types import Json
from forget_audit.verdict import scoretable
from forget_audit.verification.verify import verify_path

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT, ARTEFACTS, PREFIX = "forget-audit", "forget-audit", "forget_audit."
TELEMETRY, FILES = "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE"
MEASURED = ("estimate", "difference", "margin", "p_value", "reference_mean", "reference_sd")
SIGNED = {0: "trusted", 3: "not in the trust file", 4: "no longer to be relied on"}


class TrackingError(ForgetAuditError):
    """MLflow cannot store the run."""


def log_audit(
    folder: Path | str,
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    trust: Trust | None = None,
) -> str:
    """Log a released audit as a run of MLflow.

    The whole folder goes with it, so that what is downloaded later can be verified again. Global
    settings of MLflow stay as they are.

    Args:
        folder: As `report` or `forget-audit certify` left it.
        tracking_uri: Where MLflow keeps runs, such as `file:runs` or `sqlite:///runs.db`; as
            MLflow is set up if left out.
        experiment: Name; created if needed, `forget-audit` if left out.
        trust: Whose signatures count as trusted; the trust file of this account if left out.

    Returns:
        The id of the run.

    Raises:
        VerificationError: If the folder is no release, was changed, or its numbers do not follow.
        MissingDependency: If MLflow is not installed.
        TrackingError: If MLflow cannot store the run.
    """
    _need_mlflow()
    path = Path(folder)
    signed = _verified(path, trust_files.load() if trust is None else trust)
    evidence = evidence_file.read((path / EVIDENCE).read_bytes())
    client = _client(tracking_uri)
    from mlflow.exceptions import MlflowException

    try:
        return _log(client, experiment or EXPERIMENT, path, evidence, signed)
    except (MlflowException, OSError) as error:
        raise TrackingError(f"MLflow cannot store the run: {error}") from error


def _verified(path: Path, trust: Trust) -> str:
    """Return what is to be said of the signer.

    Raises:
        VerificationError: If a check fails.
    """
    result = verify_path(path, trust, scoretable.recompute)
    if result.exit_code == 1:
        failed = [check for check in result.checks if check.outcome == "fail"]
        raise VerificationError(
            "only a released folder that verifies is logged; "
            + "; ".join(f"{check.name} {check.file}: {check.detail}" for check in failed[:3])
        )
    return SIGNED[result.exit_code]


def _need_mlflow() -> None:
    if importlib.util.find_spec("mlflow") is None:
        raise MissingDependency(
            'logging to MLflow needs MLflow: pip install "forget-audit[mlflow]"'
        )


def _client(tracking_uri: str | None) -> MlflowClient:
    os.environ.setdefault(TELEMETRY, "true")
    if tracking_uri is not None and urlsplit(tracking_uri).scheme in ("", "file"):
        os.environ.setdefault(FILES, "true")  # MLflow wants to hear that a folder is meant
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        return MlflowClient(tracking_uri=tracking_uri)
    except (MlflowException, OSError, ImportError) as error:
        raise TrackingError(f"MLflow cannot open {tracking_uri or 'its store'}: {error}") from error


def _log(client: MlflowClient, experiment: str, path: Path, evidence: Json, signed: str) -> str:
    from mlflow.entities import Metric, Param, RunTag

    known = client.get_experiment_by_name(experiment)
    place = client.create_experiment(experiment) if known is None else known.experiment_id
    run = client.create_run(place, run_name=evidence["report"]["id"]).info.run_id
    finished = False
    try:
        now = int(time.time() * 1000)
        client.log_batch(
            run,
            metrics=[Metric(name, value, now, 0) for name, value in _metrics(evidence)],
            params=[Param(name, value) for name, value in _params(evidence)],
            tags=[RunTag(name, value) for name, value in _tags(path, evidence, signed)],
        )
        client.log_artifacts(run, str(path), ARTEFACTS)
        finished = True
    finally:
        client.set_terminated(run, status="FINISHED" if finished else "FAILED")
    return str(run)


def _metrics(evidence: Json) -> Iterator[tuple[str, float]]:
    """Yield measures, and what attacks found; of small requests only what the report shows."""
    small = numbers.is_small(evidence["counts"])
    for item in evidence["statistics"]:
        if small and tables.counted(item["name"]):
            continue
        low, high = item["interval"]
        found = {name: item[name] for name in MEASURED}
        yield from _known(item["name"], {**found, "low": low, "high": high})
    for attack in evidence["attacks"] if not small else ():
        for metric in attack["metrics"]:
            found = {name: metric[name] for name in ("audited", "retrained_mean", "original_mean")}
            yield from _known(f"attack.{attack['name']}.{metric['name']}", found)
    verdict = {name: evidence["verdict"][name] for name in ("attained_bound", "detectable_share")}
    yield from _known("verdict", verdict)


def _known(name: str, values: Json) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if value is not None:
            yield f"{name}.{key}", float(value)


def _params(evidence: Json) -> Iterator[tuple[str, str]]:
    for name in ("retrained", "originals", "copies", "identity", "shadows"):
        yield f"counts.{name}", str(evidence["counts"][name])
    method: Any = evidence["method"] or {"parameters": {}}
    for name, value in method["parameters"].items():
        yield f"method.{name}", str(value)


def _tags(path: Path, evidence: Json, signed: str) -> Iterator[tuple[str, str]]:
    verdict = evidence["verdict"]
    for name, value in {
        "outcome": verdict["outcome"],
        "reasons": ", ".join(verdict["reasons"]) or "none",
        "profile": verdict["profile"],
        "request": evidence["request"]["reference"],
        "scope": evidence["request"]["scope"],
        "method": evidence["method"]["name"] if evidence["method"] else "handed in",
        "report": evidence["report"]["id"],
        "signer": signed,
        "version": evidence["tool"]["version"],
        "evidence_sha256": file_digest(path / EVIDENCE),
        "model_sha256": ", ".join(item["sha256"] for item in evidence["model"]["audited"]),
    }.items():
        yield PREFIX + name, str(value)
    for gate in evidence["gates"]:
        yield f"{PREFIX}gate.{gate['code']}", gate["outcome"]
