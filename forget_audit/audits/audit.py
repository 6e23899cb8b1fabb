"""The audit from beginning to end: train references, unlearn, attack, weigh, record, sign.

Each stage takes finished values and returns new ones; nothing points back.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from torch import nn

from forget_audit import registry
from forget_audit.attributes import look_inside
from forget_audit.audits import record
from forget_audit.audits.battery import run_battery, run_experiments
from forget_audit.audits.class_orders import refuse_reordered, remarked
from forget_audit.audits.commission import Commission
from forget_audit.audits.judging import judge
from forget_audit.audits.results import Results, context_of_attacks, context_of_experiments
from forget_audit.audits.subject import make_subject
from forget_audit.audits.unfinished import Identity, Unfinished
from forget_audit.digests import canonical_json
from forget_audit.errors import VerificationError
from forget_audit.findings import AttackResult, Verdict
from forget_audit.keys.signing import SigningKey
from forget_audit.keys.sources import find_key
from forget_audit.laboratory import Laboratory, Procedure
from forget_audit.ledger.ledger import Ledger
from forget_audit.model_files import safetensors_bytes
from forget_audit.pools import Pool
from forget_audit.progress import Display, Silent
from forget_audit.reports.release import Released, Terms, draft, issued, release
from forget_audit.targets import Target, check_targets, granted
from forget_audit.training.loop import fitting_threads
from forget_audit.training.practice import practise
from forget_audit.training.references import (
    References,
    Workshop,
    more_retrained,
    prepare_references,
)
from forget_audit.trials import Labs
from forget_audit.types import Case, Json, Progress
from forget_audit.verdict import scoretable
from forget_audit.verdict.policy import Weighed
from forget_audit.views import notebook
from forget_audit.whole_files import write_output


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """A finished audit.

    Args:
        verdict: The answer.
        weighed: The answer with everything that it rests on.
        attacks: One row a registered attack.
        evidence: The record, as it is signed.
        scores: Content of `scores.npz`.
        models: The audited model or copies.
        made_here: Whether the audit made them.
        secret: Of the pseudonyms; kept apart from the report.
        private: Ids of the forgotten rows and paths, each with what it is: no report holds them.
        held: Files of remembered models that were trained on what was to be forgotten.
    """

    verdict: Verdict
    weighed: Weighed
    attacks: tuple[AttackResult, ...]
    evidence: Json
    scores: bytes
    models: tuple[nn.Module, ...]
    made_here: bool
    secret: bytes
    private: Mapping[str, str]
    held: tuple[Path, ...]

    def __repr__(self) -> str:
        return notebook.table(self)

    def _repr_html_(self) -> str:
        return notebook.html(self)

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write `evidence.json` and `scores.npz` as a draft, unsigned; return their paths."""
        target = Path(folder)
        files = target / "evidence.json", target / "scores.npz"
        write_output(files[1], self.scores)
        write_output(files[0], canonical_json(self.evidence))
        return files

    def report(
        self,
        folder: str | Path,
        *,
        key: SigningKey | None = None,
        formats: Sequence[str] = ("html", "pdf"),
        ledger: Ledger | None = None,
        private: Mapping[str, str] | None = None,
        timestamp: str | None = None,
        run: Unfinished | None = None,
    ) -> Released:
        """Render, sign and write the report directory.

        Everything that follows from the scores is computed again first and must agree.

        Args:
            folder: Created if needed; must hold no other files.
            key: Signs; the default key, made on first use, if left out.
            formats: `html`, `pdf` or both.
            ledger: Where the issue is recorded; nowhere if left out.
            private: Further strings that must not leave, each with what it is.
            timestamp: Address of a time stamping authority; none is asked if left out.
            run: The run that is issued, if it could have been broken off before.

        Raises:
            VerificationError: If evidence and scores disagree.
            LeakError: If a file holds what must not leave.
        """
        differences = scoretable.recompute(self.evidence, self.scores)
        if differences:
            raise VerificationError("; ".join(differences))
        signer = key or find_key(None)
        terms = Terms(
            formats=formats,
            ledger=ledger,
            private={**self.private, **(private or {})},
            timestamp=timestamp,
        )
        evidence = issued(self.evidence, signer, ledger, run.place if run else None)
        return release(evidence, self.scores, self.files(), signer, Path(folder), terms)

    def draft(self, folder: str | Path, private: Mapping[str, str] | None = None) -> Released:
        """Write evidence, scores and an unsigned page that says that it is a draft.

        Args:
            folder: Created if needed; must hold no other files.
            private: Further strings that must not leave, each with what it is.
        """
        everything = {**self.private, **(private or {})}
        return draft(self.evidence, self.scores, Path(folder), everything)

    def files(self) -> dict[str, bytes]:
        """Return the models that the audit made, as they are released."""
        if not self.made_here:
            return {}
        names = [entry["name"] for entry in self.evidence["model"]["audited"]]
        return dict(zip(names, map(safetensors_bytes, self.models), strict=True))


def carry_out(
    commission: Commission, progress: Display | None = None, identity: Identity | None = None
) -> Audit:
    """Carry out an audit.

    Args:
        commission: What is audited, against what, by which rule.
        progress: Shows how far it is; silent if left out.
        identity: Of the run that is continued; a new one if left out.
    """
    template = commission.template()
    possible = dataclasses.replace(commission, access=granted(template, commission.access))
    with fitting_threads(template):
        return _carry_out(possible, progress or Silent(), identity or Identity.new())


def _carry_out(commission: Commission, shown: Display, identity: Identity) -> Audit:
    case, counts = commission.case, commission.first_counts()
    start = time.perf_counter()
    timings: dict[str, float] = {}
    held: list[Path] = []
    check_targets([Target(model) for model in commission.unlearned], case, "audited model")
    look_inside((), case, commission.seed, commission.access)  # are there rows enough for it?
    with shown.stage("training references", counts.total) as step, _timed(timings, "training"):
        workshop = commission.workshop(step, held.append)
        if commission.references is not None:
            step(counts.total)
        references = commission.references or prepare_references(workshop, counts)
        _check(references, case)
    with shown.stage("unlearning", counts.copies) as step, _timed(timings, "unlearning"):
        subject = make_subject(commission, workshop, step)
    audited = tuple(Target(model) for model in subject.models)
    check_targets(audited, case, "unlearned model")
    check_targets([Target(model) for model in subject.parents], case, "original model")
    total = len(registry.experiments())
    with shown.stage("experiments", total) as step, _timed(timings, "attacks"):
        experiments = _experiment(commission, step)
    commission = remarked(commission, audited, references)
    judging = partial(
        judge, commission, audited=audited, experiments=experiments, secret=identity.secret,
        shown=shown,
    )  # fmt: skip
    with _timed(timings, "statistics"):
        judged = judging(references)
    while judged.wanted:
        missing, aim = judged.wanted - len(references.pool.retrained), judged.wanted
        training = f"training up to {aim} references"
        with shown.stage(training, missing) as step, _timed(timings, "training"):
            references = more_retrained(workshop.told(step), references, aim)
            _check(references, case)
        with _timed(timings, "statistics"):
            judged = judging(references)
    pool = record.pool_of(references, subject.parents, subject.twin)
    with shown.stage("attacks", len(registry.attacks())) as step, _timed(timings, "attacks"):
        attacks = [*_attack(commission, audited[0], pool, workshop, step), *experiments]
    timings["total"] = time.perf_counter() - start
    evidence = record.compile_evidence(
        commission, subject, references, judged, attacks, identity=identity, timings=timings
    )
    return Audit(
        verdict=judged.weighed.verdict,
        weighed=judged.weighed,
        attacks=tuple(attacks),
        evidence=evidence,
        scores=judged.scores,
        models=subject.models,
        made_here=not commission.unlearned,
        secret=identity.secret,
        private=dict.fromkeys(case.forget.ids.tolist(), "the id of a deleted record"),
        held=tuple(dict.fromkeys(held)),
    )


def _check(references: References, case: Case) -> None:
    """Refuse models for comparison that do not answer as models should."""
    pool = references.pool
    check_targets(pool.retrained, case, "retrained model")
    check_targets(references.identity, case, "identity model")
    check_targets(pool.originals, case, "original model trained by the audit")
    check_targets([shadow.target for shadow in pool.shadows], case, "shadow model")
    refuse_reordered(references, case)


def _attack(
    commission: Commission, audited: Target, pool: Pool, workshop: Workshop, step: Progress
) -> list[AttackResult]:
    """Return one row an attack, remembered or carried out."""
    case, seed, names, access = workshop.case, workshop.seed, commission.attacks, commission.access
    if any(kind.info.practises for kind in registry.chosen_attacks(names)):
        method = None if commission.unlearned else commission.method
        pool = practise(pool, workshop, method, commission.counts.candidate_shadows)
    known = _results(commission, partial(context_of_attacks, audited, pool, case, seed, access))
    return run_battery(
        audited, pool, case, seed, names, step,
        access=access, results=known, engine=commission.engine,
    )  # fmt: skip


def _experiment(commission: Commission, step: Progress) -> list[AttackResult]:
    """Return one row an experiment, remembered or carried out."""
    case, seed, method = commission.case, commission.seed, commission.method
    labs, tried = _labs(commission), commission.experiments
    context = partial(context_of_experiments, method, case, seed)
    known = _results(commission, context) if tried else None
    return run_experiments(labs, case, seed, tried, step, results=known)


def _results(commission: Commission, context: Callable[[], str | None]) -> Results:
    """Return where results are remembered that follow from what `context` digests."""
    if commission.cache is None:
        return Results()
    folder = commission.cache / "results"
    return Results(folder=folder, context=context(), fresh=commission.fresh)


def _labs(commission: Commission) -> Labs | None:
    """Return the laboratories of the experiments, if the audit runs the method itself."""
    if commission.unlearned or commission.method is None or commission.case.trainer is None:
        return None
    memory: dict[str, nn.Module] = {}
    labs = {
        procedure: Laboratory(
            trainer=commission.case.trainer,
            procedure=procedure,
            method=commission.method,
            memory=memory,
        )
        for procedure in get_args(Procedure)
    }
    return Labs(**labs)


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = timings.get(name, 0.0) + time.perf_counter() - start
