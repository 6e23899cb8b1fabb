"""Figures of an audit for notebooks and papers: those of the report, as matplotlib figures.

Nothing here touches pyplot; a figure is drawn, returned and forgotten. What the report withholds
of small requests is withheld here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from matplotlib.figure import Figure

from forget_audit.errors import NotApplicable, UnknownName
from forget_audit.registry import unknown
from forget_audit.reports import curves, figures, numbers, view
from forget_audit.reports.canvas import keeping
from forget_audit.types import Json
from forget_audit.views.shown import Shown, evidence_of

PARTS = ("forget", "test")


def influence(shown: Shown) -> Figure:
    """Draw the audited model's residual influence among retrained models and originals.

    The shaded band is the margin: an interval that lies wholly inside it passes.

    Args:
        shown: An audit, or its evidence.

    Raises:
        NotApplicable: If the audit has no such measure.
    """
    evidence = evidence_of(shown)
    return _drawn(lambda: figures.influence(evidence), "the audit measured no residual influence")


def statistics(shown: Shown) -> Figure:
    """Draw each measure's difference from retrained models, with its interval and margin.

    Args:
        shown: An audit, or its evidence.

    Raises:
        NotApplicable: If no measure has an interval that may be shown.
    """
    evidence = evidence_of(shown)
    return _drawn(lambda: figures.differences(evidence), "no measure has an interval to show")


def log_odds(shown: Shown, part: Literal["forget", "test"] = "forget") -> Figure:
    """Draw how sure models are of the true label: the audited, retrained ones, and originals.

    Args:
        shown: An audit, or its evidence.
        part: `forget`, the deleted records, or `test`, unseen ones.

    Raises:
        NotApplicable: If the evidence holds no distributions, or the request is small.
        UnknownName: For another part.
    """
    evidence = evidence_of(shown)
    if part not in PARTS:
        raise UnknownName(unknown("part", part, PARTS))
    _refuse_small(evidence, "distributions")
    with keeping() as drawn:
        told = figures.distributions(evidence)
    if not told:
        raise NotApplicable("the evidence holds no distributions of answers")
    place = PARTS.index(part)
    return _titled(drawn[place], told[place])


def by_class(shown: Shown) -> Figure:
    """Draw the accuracy on unseen records of each class beside that of retrained models.

    Args:
        shown: An audit, or its evidence.

    Raises:
        NotApplicable: If fewer than two classes have records enough.
    """
    evidence = evidence_of(shown)
    return _drawn(lambda: figures.by_class(evidence), "fewer than two classes have records enough")


def roc(shown: Shown, attack: str) -> Figure:
    """Draw error rates of an attack on logarithmic axes; few false alarms are at the lower left.

    Args:
        shown: An audit, or its evidence.
        attack: Name, such as `lira`.

    Raises:
        UnknownName: If the evidence has no such attack.
        NotApplicable: If it was not carried out, scores no single records, or the request is
            small.
    """
    evidence = evidence_of(shown)
    found = _attack(evidence, attack)
    _refuse_small(evidence, "error rates")
    return _drawn(
        lambda: curves.roc(found), f"{attack} has no error rates ({found['reason'] or 'none'})"
    )


def curve(shown: Shown, attack: str, name: str) -> Figure:
    """Draw another curve of an attack, such as `relearn` of the attack `relearn`.

    Args:
        shown: An audit, or its evidence.
        attack: Name of the attack.
        name: Of the curve.

    Raises:
        UnknownName: If there is no such attack or curve.
        NotApplicable: If the request is small and the curve would betray single records.
    """
    evidence = evidence_of(shown)
    found = _attack(evidence, attack)
    if name not in found["series"]:
        raise UnknownName(unknown(f"curve of {attack}", name, found["series"]))
    if curves.betrays(found, name):
        _refuse_small(evidence, "curves of single records")
    return _drawn(lambda: curves.lines(found, name), f"{name} of {attack} has no points")


def _attack(evidence: Json, name: str) -> Json:
    known = {item["name"]: item for item in evidence["attacks"]}
    if name not in known:
        raise UnknownName(unknown("attack", name, known))
    found: Json = known[name]
    return found


def _refuse_small(evidence: Json, what: str) -> None:
    if numbers.is_small(evidence["counts"]):
        raise NotApplicable(
            f"the request is about {numbers.BAND} records; {what} of so few would show single ones"
        )


def _drawn(draw: Callable[[], view.Figure | None], otherwise: str) -> Figure:
    with keeping() as drawn:
        told = draw()
    if told is None:
        raise NotApplicable(otherwise)
    return _titled(drawn[-1], told)


def _titled(figure: Figure, told: view.Figure) -> Figure:
    """Put the first sentence of the caption above what is drawn."""
    title = told.caption.partition(". ")[0].removesuffix(".")
    figure.axes[0].set_title(title, loc="left", fontsize=9, parse_math=False)
    return figure
