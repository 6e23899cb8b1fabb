"""What the commands do, apart from printing: read a plan, certify, unlearn."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forget_audit.audits import class_orders, commission, holdings, predicted
from forget_audit.audits.audit import Audit, carry_out
from forget_audit.audits.beginnings import begun
from forget_audit.audits.commission import Commission
from forget_audit.audits.machines import chosen_device, chosen_engine
from forget_audit.audits.subject import make_subject
from forget_audit.audits.unfinished import Unfinished
from forget_audit.digests import canonical_json, plain, sha256
from forget_audit.errors import ModelError
from forget_audit.faults import named
from forget_audit.keys.sources import find_key
from forget_audit.ledger.ledger import Ledger
from forget_audit.locks import beside, sole
from forget_audit.model_files import safetensors_bytes
from forget_audit.plans.plan import Plan, check_plan, read_tables
from forget_audit.progress import Display
from forget_audit.reports.folders import refuse_foreign
from forget_audit.reports.release import Released
from forget_audit.training.loop import fitting_threads
from forget_audit.types import Json
from forget_audit.whole_files import write_output

STATE, LOCK = ".forget-audit", "lock"
_folders: set[str] = set()  # of plans, that were put on the path of modules


def read(path: Path, method: str | None = None) -> Plan:
    """Read and check a plan; modules beside it can be imported by it.

    Args:
        path: The TOML file.
        method: Takes the place of the method and the unlearned model of the plan.

    Raises:
        PlanError: With every problem found.
    """
    _importable(path.resolve().parent)
    tables = read_tables(path)
    if method is not None:
        options = tables.get("method", {})
        same = isinstance(options, dict) and options.get("name") == method
        tables["method"] = options if same else {"name": method}
        if isinstance(tables.get("model"), dict):
            tables["model"].pop("unlearned", None)
    return check_plan(tables, path.resolve().parent)


def _importable(folder: Path) -> None:
    """Let modules in `folder` be imported, and none from folders of plans that are gone."""
    gone = {item for item in _folders if not Path(item).is_dir()}
    sys.path[:] = [item for item in sys.path if item not in gone]
    _folders.difference_update(gone)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        _folders.add(str(folder))


def commissioned(
    plan: Plan,
    *,
    device: str = "auto",
    fresh: bool = False,
    workers: int = 1,
    engine: str = "local",
) -> Commission:
    """Return the commission of a plan, with trained models remembered beside the plan."""
    place = chosen_device(device, engine=engine)
    cache = plan.folder / STATE / "models"
    if plan.predictions is not None:
        return predicted.from_plan(plan, cache=cache)
    ordered = commission.from_plan(plan, cache=cache, fresh=fresh, workers=workers)
    return ordered.on(place)


@dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """A finished and released audit.

    Args:
        audit: The audit.
        released: The files.
        folder: Where they are.
        report_s: Seconds for rendering and signing.
    """

    audit: Audit
    released: Released
    folder: Path
    report_s: float

    def timings(self) -> dict[str, float]:
        """Return seconds by stage."""
        return {**self.audit.evidence["timings"], "report": self.report_s}

    def as_json(self) -> Json:
        """Return what a program may want to know."""
        return {
            "verdict": self.audit.evidence["verdict"],
            "directory": str(self.folder),
            "files": [str(path) for path in self.released.paths],
            "pdf_missing": self.released.pdf_missing,
            "timings": self.timings(),
        }

    def _again(self) -> list[str]:
        """Say what trying again has cost."""
        attempt = self.audit.evidence["battery"]["attempt"]
        level = self.audit.weighed.profile.error()
        return [] if attempt == 1 else [f"attempt {attempt} at this request: level {level:g}"]

    def lines(self) -> list[str]:
        """Return what a person wants to know."""
        verdict = self.audit.verdict
        reasons = f" ({', '.join(verdict.reasons)})" if verdict.reasons else ""
        main = next(s for s in self.audit.weighed.statistics if s.name == "rho_p")
        low, high = (100 * end for end in main.interval)
        level = 100 * (1 - 2 * self.audit.weighed.profile.alpha)
        lines = [
            f"{verdict.outcome}{reasons}",
            f"residual influence {100 * main.difference:.1f} % "
            f"({level:g} % interval {low:.1f} to {high:.1f} %, "
            f"margin {100 * (main.margin or 0):.0f} %), "
            f"exact p-value of no difference {verdict.p_value:.3f}",
            *self._again(),
            *(i["text"] for i in self.audit.evidence["limits"] if i["code"] == class_orders.REMARK),
            *(str(path) for path in self.released.paths if path.suffix in (".html", ".pdf")),
        ]
        if self.released.pdf_missing:
            lines.append(self.released.pdf_missing)
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.timings().items())
        return [*lines, stages]


@dataclass(frozen=True, kw_only=True)
class Issue:
    """How the report of a run is issued.

    Args:
        key: Where the signing key is; the default key of this account if left out. It signs the
            entry in the ledger also where the report is a draft.
        ledger: File of the ledger; that of this account if left out.
        draft: Whether to sign no report: every page says that it is a draft.
        ask: Called for a passphrase, before anything is trained.
    """

    key: str | None = None
    ledger: Path | None = None
    draft: bool = False
    ask: Callable[[], str] | None = None


def certify(
    plan: Plan,
    folder: Path,
    progress: Display,
    *,
    device: str = "auto",
    fresh: bool = False,
    workers: int = 1,
    engine: str = "local",
    issue: Issue | None = None,
) -> Done:
    """Carry out the audit of a plan and release its report in `folder`.

    Args:
        plan: The plan.
        folder: Created if needed; an earlier release in it is replaced.
        progress: Shows how far it is.
        device: Where models are trained: `auto`, `cpu`, `cuda` and so on.
        fresh: Whether to ignore what is remembered.
        workers: Processes for training functions of the user's own.
        engine: Where trainings and attacks run: `local`, or `ray` for a cluster.
        issue: Key, ledger, and whether it is a draft only.

    Raises:
        Busy: If another process works on a plan of this folder, or on this report.
    """
    issue = issue or Issue()
    refuse_foreign(folder)
    with alone(plan.folder / STATE), sole(beside(folder), folder):
        return _certified(
            plan, folder, progress,
            device=device, fresh=fresh, workers=workers, engine=engine, issue=issue,
        )  # fmt: skip


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Let no other process change the audit's own files in `state` while the body runs.

    Raises:
        Busy: If one does already.
        StorageError: If the folder cannot be made or written to.
    """
    with named(state):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with sole(state / LOCK, state.parent):
        yield


def _certified(
    plan: Plan,
    folder: Path,
    progress: Display,
    *,
    device: str,
    fresh: bool,
    workers: int,
    engine: str,
    issue: Issue,
) -> Done:
    key = find_key(issue.key, issue.ask)
    key.refuse_unusable()
    ordered = commissioned(plan, device=device, fresh=fresh, workers=workers, engine=engine)
    state, ledger = plan.folder / STATE, Ledger.open(issue.ledger)
    ordered, digest = begun(plan, ordered, state, ledger, key)
    run = Unfinished.begin(state, digest, fresh=fresh)
    with chosen_engine(
        engine, device=ordered.device, workers=workers, folder=plan.folder
    ) as joined:
        audit = carry_out(dataclasses.replace(ordered, engine=joined), progress, run.identity)
    identifier = audit.evidence["report"]["id"]
    holdings.keep(identifier, state, audit.secret, audit.held)
    with progress.stage("report", 1):
        start = time.perf_counter()
        if issue.draft:
            released = audit.draft(folder, _private(plan, folder))
        else:
            released = audit.report(
                folder,
                key=key,
                formats=plan.report.formats,
                ledger=ledger,
                private=_private(plan, folder),
                timestamp=plan.report.timestamp,
                run=run,
            )
        run.end()
        seconds = time.perf_counter() - start
    return Done(audit=audit, released=released, folder=folder, report_s=seconds)


def _private(plan: Plan, folder: Path) -> dict[str, str]:
    """Return the paths that no report may hold, each with what it is."""
    found = {
        str(plan.folder.resolve()): "the folder of the plan",
        str(folder.resolve()): "the folder of the report",
    }
    if plan.request.forget:
        found[plan.request.forget] = "the name of the list of ids"
    return found


def unlearn(plan: Plan, out: Path, progress: Display, *, device: str = "auto") -> Json:
    """Apply the method of the plan; write the model to `out` and the record beside it.

    Raises:
        ModelError: If `out` does not end in `.safetensors`.
    """
    if out.suffix != ".safetensors":
        raise ModelError(f"models are written as .safetensors, found {out.name}")
    ordered = commissioned(plan, device=device)
    with (
        alone(plan.folder / STATE),
        progress.stage("unlearning", 2) as step,
        fitting_threads(ordered.template()),
    ):
        subject = make_subject(ordered, ordered.workshop(), step)
    made = subject.unlearned
    if made is None or ordered.method is None:
        raise ModelError("the plan hands in an unlearned model; there is nothing to do")
    weights = safetensors_bytes(subject.models[0])
    record = {
        "method": ordered.method.info.name,
        "parameters": vars(ordered.method),
        "report": made.report,
        "sha256": sha256(weights),
        "original_sha256": sha256(safetensors_bytes(subject.parents[0])),
        "plan_sha256": sha256(canonical_json(plan.as_json())),
    }
    said = out.with_suffix(".json")
    write_output(out, weights)
    write_output(said, json.dumps(plain(record), indent=2) + "\n")
    return {**plain(record), "model": str(out), "record": str(said)}
