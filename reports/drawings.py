"""Which figures a report shows."""

from forget_audit.reports import body_words, curves, figures, numbers
from forget_audit.reports.view import Figure, Pair, Text
from forget_audit.types import Json

WITHHELD = (
    "Score distributions and error rates of single attacks are not drawn: the request is about "
    "{band} records, and a curve of so few points would show the scores of single people. For the "
    "same reason rates are rounded to one place, and left out where they would tell the number."
)


def overview(evidence: Json) -> tuple[Figure | Pair | Text, ...]:
    """Return the figures of the verdict; for a small request say what is withheld, and why."""
    drawn = [figures.influence(evidence), figures.differences(evidence)]
    shown: list[Figure | Pair | Text] = [figure for figure in drawn if figure]
    pair = figures.distributions(evidence)
    if pair:
        shown.append(Pair(figures=pair))
    if numbers.is_small(evidence["counts"]):
        shown.append(Text(paragraphs=(WITHHELD.format(band=numbers.BAND),)))
    return tuple(shown)


def of_attacks(evidence: Json) -> tuple[Pair, ...]:
    """Return the figures of the attacks; none of single records if the request is small."""
    small = numbers.is_small(evidence["counts"])
    named = [
        (attack, name)
        for attack in evidence["attacks"]
        for name in _in_order(attack["series"])
        if not (small and curves.betrays(attack, name))
    ]
    named.sort(key=lambda pair: pair[1] != "roc")
    shown = [
        curves.roc(attack) if name == "roc" else curves.lines(attack, name)
        for attack, name in named
    ]
    drawn = [figure for figure in shown if figure]
    return tuple(Pair(figures=tuple(drawn[i : i + 2])) for i in range(0, len(drawn), 2))


def _in_order(series: Json) -> list[str]:
    """Return names of curves, known ones first; the twin is drawn with the layers."""
    known = [name for name in ("roc", *body_words.CURVES) if name in series]
    if "layers" in series:
        known = [name for name in known if name != "layers_twin"]
    return [*known, *sorted(set(series) - {"roc", *body_words.CURVES})]
