"""Are the classes of all models those of the labels? Seen from answers about retained rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from forget_audit.audits.commission import Commission
from forget_audit.class_order import Reordered, reordered
from forget_audit.errors import ModelError
from forget_audit.targets import Target
from forget_audit.training.references import References
from forget_audit.types import Case

REMARK = "CLASS_ORDER"


def refuse_reordered(references: References, case: Case) -> None:
    """Refuse models for comparison that have their classes in another order than the labels.

    Their answers are those to the retained rows, which the verdict needs too: nobody is asked
    twice. Rows that bear several labels are not looked at.

    Raises:
        ModelError: That names the first of them.
    """
    named = _named(references)
    found = _found([target for _, target in named], case)
    if not found:
        return
    names = [named[item.model][0] for item in found]
    others = f" and {len(names) - 1} other models" if len(names) > 1 else ""
    raise ModelError(
        f"{names[0]}{others}: expected answers in the order of the labels, found retained rows "
        f"answered far better if classes are put in another order ({found[0]}); return the logit "
        "of class k as the k-th answer, counted from 0, of every model"
    )


def remarked(
    commission: Commission, audited: Sequence[Target], references: References
) -> Commission:
    """Return the commission with a remark if audited models have their classes in another order.

    The verdict is what it is: this model does answer so.
    """
    peers = [target for _, target in _named(references)]
    found = _found([*audited, *peers], commission.case)
    own = [item for item in found if item.model < len(audited)]
    if not own:
        return commission
    remark = (
        f"The audited model answers retained rows far better if its classes are put in another "
        f"order ({own[0]}). If its classes were numbered otherwise than the labels, put them in "
        "order and audit it again: a verdict on answers in the wrong order says little else."
    )
    about = dataclasses.replace(commission.about, remarks={REMARK: remark})
    return dataclasses.replace(commission, about=about)


def _named(references: References) -> list[tuple[str, Target]]:
    groups = {
        "retrained model": references.pool.retrained,
        "identity model": references.identity,
        "original model trained by the audit": references.pool.originals,
    }
    return [
        (f"{name} {k}", target)
        for name, targets in groups.items()
        for k, target in enumerate(targets, 1)
    ]


def _found(targets: Sequence[Target], case: Case) -> list[Reordered]:
    if case.multi_label:
        return []
    return reordered([target.labels(case.retain) for target in targets], case.retain.y)
