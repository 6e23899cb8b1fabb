"""The commission of an audit that sees recorded answers and nothing else.

Every model becomes a module that looks its answers up: the one feature of a row is its number.
Nothing is trained, so attacks that need shadows, the recipe or weights do not apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from forget_audit import registry
from forget_audit.audits.commission import About, Commission
from forget_audit.errors import NotApplicable
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.model_identity import model_digest
from forget_audit.plans.plan import Plan
from forget_audit.pools import Pool
from forget_audit.predictions import VERSION, Predictions
from forget_audit.targets import Target, granted
from forget_audit.training.references import Counts, References
from forget_audit.types import Case, Floats, Rows, Scope
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import GROUPS, Group

ARCHITECTURE = "not known: answers alone were handed in"


class Recorded(AnswersOnly):
    """A model that is known by its answers to some rows.

    Args:
        answers: Logits or log-probabilities `(rows, classes)`, in order of the rows' numbers.
    """

    answers: torch.Tensor

    def __init__(self, answers: Floats) -> None:
        super().__init__()
        self.register_buffer("answers", torch.tensor(answers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the recorded answers of the rows numbered in `x` `(n, 1)`.

        Raises:
            NotApplicable: If `x` holds anything but numbers of rows.
        """
        numbers = x.reshape(-1)
        known = (numbers >= 0) & (numbers < len(self.answers)) & (numbers == numbers.floor())
        if x.shape[1:] != (1,) or not bool(known.all()):
            raise NotApplicable(
                "needs answers to rows that it makes up, and only answers to given rows were "
                "handed in"
            )
        return self.answers[numbers.long()]


def from_plan(plan: Plan, *, cache: Path | None = None) -> Commission:
    """Return the commission of a checked plan that hands in predictions.

    Args:
        plan: With a section `[predictions]`.
        cache: Folder of the audit's own files.

    Raises:
        CaseError: If the plan hands in none.
        PredictionsError: If the file is no longer in order.
    """
    found = plan.answers()
    classes = tuple(plan.request.classes or ())
    case = case_of(found, scope=plan.request.scope, classes=classes)
    models = {group: _models(found, group) for group in GROUPS}
    days = plan.request.model_dump(mode="json", include={"received", "due", "erased"})
    wanted = plan.battery.attacks
    return Commission(
        case=case,
        template=lambda: models["audited"][0],
        seed=plan.references.seed,
        counts=Counts(
            retrained=len(models["retrained"]),
            originals=len(models["originals"]),
            identity=len(models["identity"]),
            shadows=0,
            copies=len(models["audited"]),
        ),
        profile=PROFILES[plan.battery.profile],
        unlearned=models["audited"],
        attacks=None
        if wanted is None
        else tuple(name for name in wanted if name in registry.attacks()),
        access=granted(models["audited"][0], plan.battery.access),
        about=About(
            reference=plan.request.reference,
            **days,
            basis=plan.request.basis,
            report=plan.report,
            title=f"rows behind the predictions in {found.name}",
            architecture=ARCHITECTURE,
            plan=published(plan),
            files=_files(plan, found),
            answers={
                "trained_by": "whoever handed in the predictions",
                "predictions": found.name,
                "sha256": found.digest,
                "format": f"version {VERSION}, {found.kind}",
                "notes": "; ".join(found.notes) or "none",
            },
        ),
        cache=cache,
        references=references_of(models),
    )


def case_of(found: Predictions, *, scope: Scope = "instance", classes: Sequence[int] = ()) -> Case:
    """Return the rows by role, numbered through; a row's number is its one feature.

    Args:
        found: The content of a file of predictions.
        scope: Of the request. Rows of people count one by one in requests for classes.
        classes: To be forgotten.
    """
    rows: dict[str, Rows] = {}
    start = 0
    for part, content in found.parts.items():
        end = start + len(content)
        rows[part] = Rows(
            x=np.arange(start, end, dtype=np.float32)[:, None],
            y=content.labels,
            ids=content.ids,
            units=content.units if scope == "instance" else None,
        )
        start = end
    nobody = rows["test"].take(np.zeros(0, dtype=np.int64))
    return Case(
        name=f"predictions:{found.name}",
        n_classes=found.n_classes,
        retain=rows["retain"],
        forget=rows["forget"],
        test=rows["test"],
        auxiliary=rows.get("auxiliary", nobody),
        scope=scope,
        classes=tuple(classes),
        others=rows.get("other"),
    )


def references_of(models: Mapping[Group, Sequence[nn.Module]]) -> References:
    """Return the models for comparison of an audit that trains none."""
    targets = {group: tuple(Target(model) for model in found) for group, found in models.items()}
    return References(
        pool=Pool(retrained=targets["retrained"], originals=targets["originals"]),
        identity=targets["identity"],
    )


def _models(found: Predictions, group: Group) -> tuple[Recorded, ...]:
    """Return a module a model, its answers in the order in which `case_of` numbers the rows."""
    tables = [found.answers[group][part] for part in found.parts]
    return tuple(
        Recorded(np.concatenate([table[k] for table in tables])) for k in range(len(tables[0]))
    )


def published(plan: Plan) -> dict[str, object]:
    """Return the resolved plan with the names of files in place of their paths."""
    document = plan.as_json()
    section = document["predictions"]
    section |= {key: Path(section[key]).name for key in ("file", "model") if section[key]}
    document["data"]["source"] = f"predictions:{section['file']}"
    return document


def _files(plan: Plan, found: Predictions) -> dict[str, list[tuple[str, str]]]:
    """Return names and digests of what was handed in.

    The subject of the report is the file or folder of the audited model, if the plan names it.
    Everything else about the models, further copies included, is in the file of predictions.
    """
    answers = (found.name, found.digest)
    subject = answers
    if plan.predictions is not None and plan.predictions.model is not None:
        model = plan.path(plan.predictions.model)
        subject = (model.name, model_digest(model))
    copies = found.counts["audited"]
    return {"unlearned": [subject, *[answers] * (copies - 1)], "predictions": [answers]}
