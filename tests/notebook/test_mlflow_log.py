"""Audits as runs of MLflow, in a store in a folder; nothing is asked of a network."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from forget_audit.errors import MissingDependency, VerificationError
from forget_audit.trust import Trust
from forget_audit.verdict.scoretable import recompute
from forget_audit.verification.verify import verify_path
from forget_audit.views.mlflow_log import TrackingError, log_audit
from tests.fixtures import audited
from tests.fixtures.released import copied, key

pytest.importorskip("mlflow", reason="needs mlflow-skinny")

NOBODY = Trust()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "store").as_uri()


def test_verdict_measures_conditions_and_files_are_logged(store: str, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    run, ours = audited.run(), Trust().add_key(key())
    evidence = json.loads((run / "evidence.json").read_bytes())
    name = log_audit(run, tracking_uri=store, experiment="requests", trust=ours)
    client = MlflowClient(tracking_uri=store)
    logged = client.get_run(name)
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == evidence["report"]["id"]
    tags = logged.data.tags
    assert tags["forget_audit.outcome"] == evidence["verdict"]["outcome"]
    assert tags["forget_audit.reasons"] == ", ".join(evidence["verdict"]["reasons"])
    assert tags["forget_audit.signer"] == "trusted"
    for gate in evidence["gates"]:
        assert tags[f"forget_audit.gate.{gate['code']}"] == gate["outcome"]
    main = next(item for item in evidence["statistics"] if item["name"] == "rho_p")
    assert logged.data.metrics["rho_p.difference"] == pytest.approx(main["difference"])
    assert logged.data.metrics["rho_p.low"] == pytest.approx(main["interval"][0])
    assert logged.data.params["counts.retrained"] == "5"
    (downloaded,) = (tmp_path / "store").glob("*/*/artifacts/forget-audit")
    assert verify_path(downloaded, ours, recompute).exit_code == 0
    again = log_audit(str(run), tracking_uri=store, experiment="requests", trust=NOBODY)
    place = client.get_experiment_by_name("requests")
    assert place is not None
    assert {r.info.run_id for r in client.search_runs([place.experiment_id])} == {name, again}
    assert client.get_run(again).data.tags["forget_audit.signer"] == "not in the trust file"


@pytest.mark.parametrize("file", ["evidence.json", "report.html"])
def test_what_was_changed_is_not_logged(store: str, tmp_path: Path, file: str) -> None:
    run = copied(audited.run(), tmp_path / "run")
    (run / file).write_bytes((run / file).read_bytes() + b" ")
    with pytest.raises(VerificationError, match=file):
        log_audit(run, tracking_uri=store, trust=NOBODY)
    assert not (tmp_path / "store").exists()


def test_drafts_and_other_folders_are_not_logged(store: str, tmp_path: Path) -> None:
    audited.audit().draft(tmp_path / "draft")
    with pytest.raises(VerificationError, match="draft"):
        log_audit(tmp_path / "draft", tracking_uri=store, trust=NOBODY)
    with pytest.raises(VerificationError, match="only a released folder"):
        log_audit(tmp_path / "nothing", tracking_uri=store, trust=NOBODY)


def test_a_run_that_breaks_is_marked(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(MlflowClient, "log_artifacts", full)
    with pytest.raises(TrackingError, match="the disk is full"):
        log_audit(audited.run(), tracking_uri=store, trust=NOBODY)
    client = MlflowClient(tracking_uri=store)
    place = client.get_experiment_by_name("forget-audit")
    assert place is not None
    (run,) = client.search_runs([place.experiment_id])
    assert run.info.status == "FAILED"


def test_a_missing_mlflow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match=r'pip install "forget-audit\[mlflow\]"'):
        log_audit(audited.run(), trust=NOBODY)


def test_telemetry_is_switched_off(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import environment_variables

    disabled: Any = environment_variables.MLFLOW_DISABLE_TELEMETRY
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    with pytest.raises(TrackingError, match="nosuch"):
        log_audit(audited.run(), tracking_uri="nosuch://here", trust=NOBODY)
    assert disabled.get()
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ
    log_audit(audited.run(), tracking_uri=store, trust=NOBODY)
    assert os.environ["MLFLOW_ALLOW_FILE_STORE"] == "true"
