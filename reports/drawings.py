"""Which figures a report shows."""

from forget_audit.reports import figures
from forget_audit.reports.view import Figure, Pair
from forget_audit.types import SMALL_REQUEST, Json

LINES = {
    "relearn": "How fast training on the deleted records brings them back. A model that kept "
    "something relearns faster than retrained ones.",
    "layers": "How far the weights lie from the original's, layer by layer. Weights that hardly "
    "moved are a hint that the records are masked and not gone.",
}


def overview(evidence: Json) -> tuple[Figure, ...]:
    """Return the figures of the verdict."""
    drawn = (figures.influence(evidence), figures.differences(evidence))
    return tuple(figure for figure in drawn if figure)


def curves(evidence: Json) -> tuple[Pair, ...]:
    """Return the figures of the attacks; none of single records if the request is small."""
    drawn = []
    for attack in evidence["attacks"]:
        if evidence["counts"]["forget"] >= SMALL_REQUEST:
            drawn.append(figures.roc(attack))
        drawn += [figures.lines(attack, name, text) for name, text in LINES.items()]
    shown = [figure for figure in drawn if figure]
    return tuple(Pair(figures=tuple(shown[i : i + 2])) for i in range(0, len(shown), 2))
