"""What is audited, against what and by which rule: fixed before anything is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from forget_audit import registry
from forget_audit.contracts import Method
from forget_audit.engines.engine import Engine
from forget_audit.model_files import load_weights
from forget_audit.model_identity import unchanged
from forget_audit.plans.plan import Plan
from forget_audit.plans.sections import ReportSection, left_to_function
from forget_audit.seeds import derive
from forget_audit.stress_file import read_stress
from forget_audit.targets import granted
from forget_audit.training.originals import RecipeMethod, refuse_unseen
from forget_audit.training.references import Counts, References, Workshop
from forget_audit.training.trainers import FirstMade, RecipeTrainer
from forget_audit.types import Access, Case, Json, Progress
from forget_audit.verdict.looks import Looks
from forget_audit.verdict.profiles import PROFILES, Profile

CANARY = "one_run_canary"


@dataclass(frozen=True, kw_only=True)
class About:
    """Facts for the record that no stage computes.

    Args:
        reference: Opaque reference of the request.
        received: Day of the request, ISO 8601.
        due: Day by which it must be met.
        erased: Day on which the records themselves were erased.
        attribute: Name of the label to be forgotten, if that is what was asked.
        basis: Legal basis.
        report: Who answers, who reads, and what else was derived from the model.
        title: What the data are.
        label_noise: Share of labels drawn at random.
        duplicates_dropped: Rows of equal content that were left out.
        architecture: Name of the architecture.
        plan: The resolved plan.
        files: Names and SHA-256 of model files that were handed in, by `unlearned`, `original`.
        answers: What is known of the file of predictions, if models are known by it alone.
        stress: Result of a stress test of the method, to be part of the report.
        begun: What was committed to in the ledger before anything was trained.
        remarks: What was found beside the verdict and is to stand among the limits, by code.
    """

    reference: str = "unreferenced"
    received: str | None = None
    due: str | None = None
    erased: str | None = None
    attribute: str | None = None
    basis: str = "not stated"
    report: ReportSection = field(default_factory=ReportSection)
    title: str = "arrays in memory"
    label_noise: float = 0.0
    duplicates_dropped: int = 0
    architecture: str = "handed in"
    plan: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    answers: Mapping[str, str] | None = None
    stress: Json | None = None
    begun: Json | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Commission:
    """Everything that is fixed before an audit begins.

    Args:
        case: The rows; its trainer retrains.
        template: Builds a model of the audited architecture.
        seed: Root seed.
        counts: How many models are trained.
        profile: The rule of the verdict.
        method: Makes the audited model, if it was not handed in.
        original: The model it was made from, if it was handed in.
        unlearned: The audited model or copies, if handed in.
        attacks: Names of the attacks to run; all if left out.
        access: The most that attacks and the verdict may ask of any model.
        experiments: Names of the experiments on the method to run; none if left out.
        canary: Whether the coin-toss experiment takes part in the verdict.
        sequential: Whether retrained models are added in blocks, until the verdict is clear.
        attempt: How often this request has been audited, this time included.
        about: Facts for the record that no stage computes.
        cache: Where models and results of attacks are remembered.
        fresh: Whether to ignore what is remembered.
        workers: Processes for training functions of the user's own.
        device: Where models are trained, as torch has it.
        engine: Runs trainings and attacks elsewhere, with the same results; none runs them here.
        references: The models for comparison, if they were handed in and are not to be trained.

    Raises:
        UnknownName: If there is no such attack or experiment.
    """

    case: Case
    template: Callable[[], nn.Module]
    seed: int = 0
    counts: Counts = field(default_factory=Counts)
    profile: Profile = PROFILES["standard"]
    method: Method | None = None
    original: nn.Module | None = None
    unlearned: tuple[nn.Module, ...] = ()
    attacks: tuple[str, ...] | None = None
    access: Access = "weights"
    experiments: tuple[str, ...] = ()
    canary: bool = False
    sequential: bool = False
    attempt: int = 1
    about: About = field(default_factory=About)
    cache: Path | None = None
    fresh: bool = False
    workers: int = 1
    device: str = "cpu"
    engine: Engine | None = None
    references: References | None = None

    def __post_init__(self) -> None:
        for name in self.attacks or ():
            registry.get_attack(name)
        for name in self.experiments:
            registry.get_experiment(name)

    def looks(self) -> Looks:
        """Return when a sequential audit looks."""
        return Looks.of(self.profile, canary=self.canary, most=self.counts.retrained)

    def first_counts(self) -> Counts:
        """Return how many models are trained before the first look."""
        if not self.sequential:
            return self.counts
        return dataclasses.replace(self.counts, retrained=self.looks().sizes[0])

    def on(self, device: str) -> Commission:
        """Return the commission with models trained on `device`, if a recipe trains them.

        Functions of the user's own choose their device themselves.
        """
        trainer = self.case.trainer
        if not isinstance(trainer, RecipeTrainer):
            return self
        case = self.case.replace(trainer=dataclasses.replace(trainer, device=device))
        return dataclasses.replace(self, case=case, device=device)

    def workshop(
        self, progress: Progress = lambda _: None, held: Callable[[Path], None] = lambda _: None
    ) -> Workshop:
        """Return where the models of this audit are trained."""
        return Workshop(
            case=self.case,
            seed=self.seed,
            template=self.template,
            cache=self.cache,
            fresh=self.fresh,
            workers=self.workers,
            engine=self.engine,
            progress=progress,
            held=held,
        )


def from_plan(
    plan: Plan,
    *,
    cache: Path | None = None,
    fresh: bool = False,
    workers: int = 1,
) -> Commission:
    """Return the commission that a checked plan describes.

    Args:
        plan: The plan.
        cache: Where trained models are remembered.
        fresh: Whether to ignore remembered models.
        workers: Processes for training functions of the user's own.

    Raises:
        ModelError: If a model file is unsafe or does not fit.
    """
    dataset = plan.dataset()
    case, method = plan.case(dataset), plan.unlearner()
    if isinstance(method, RecipeMethod) and "training" in method.info.needs and case.trainer:
        case = case.replace(trainer=method.trainer(case.trainer))
    architecture = plan.architecture(dataset)
    files = {
        kind: plan.path(name)
        for kind in ("original", "unlearned")
        if (name := getattr(plan.model, kind))
    }
    template: Callable[[], nn.Module] = architecture.build
    access = plan.battery.access
    unsaid = left_to_function(plan.model, plan.training)
    if unsaid and case.trainer is not None:
        first = derive(plan.references.seed, "template")
        template = FirstMade(case.trainer, case.retain.x, case.retain.y, first)
    else:
        built = template()
        access = granted(built, access)
        if method is not None and not files.get("unlearned"):
            refuse_unseen(method, built)
    models: dict[str, nn.Module] = {}
    named: dict[str, tuple[tuple[str, str], ...]] = {}
    for kind, path in files.items():
        with unchanged(path) as digest:
            models[kind] = load_weights(template(), path)
        named[kind] = ((path.name, digest),)
    counts = plan.references.model_dump(exclude={"seed", "sequential"})
    days = plan.request.model_dump(mode="json", include={"received", "due", "erased"})
    return Commission(
        case=case,
        template=template,
        seed=plan.references.seed,
        counts=Counts(**counts),
        profile=PROFILES[plan.battery.profile],
        method=method,
        original=models.get("original"),
        unlearned=(models["unlearned"],) if "unlearned" in models else (),
        attacks=_named(plan, registry.attacks()),
        access=access,
        experiments=_experiments(plan),
        canary=plan.battery.canary,
        sequential=plan.references.sequential,
        about=About(
            reference=plan.request.reference,
            **days,
            attribute=plan.request.attribute,
            basis=plan.request.basis,
            report=plan.report,
            title=dataset.title,
            label_noise=dataset.label_noise,
            duplicates_dropped=dataset.duplicates_dropped,
            architecture=str(plan.training.function) if unsaid else plan.model.architecture,
            plan=plan.as_json(),
            files=named,
            stress=read_stress(plan.path(plan.report.stress)) if plan.report.stress else None,
        ),
        cache=cache,
        fresh=fresh,
        workers=workers,
    )


def _named(plan: Plan, known: Iterable[str]) -> tuple[str, ...] | None:
    names = plan.battery.attacks
    return None if names is None else tuple(name for name in names if name in known)


def _experiments(plan: Plan) -> tuple[str, ...]:
    """Return the experiments that the plan names, asks for as a whole, or needs for its verdict."""
    known = tuple(registry.experiments())
    chosen = known if plan.battery.experiments else _named(plan, known) or ()
    return tuple(dict.fromkeys([*chosen, *([CANARY] if plan.battery.canary else [])]))
