"""Each way to draw a set of rows to forget: a function of the scouts, a number and a generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from forget_audit.errors import NotApplicable
from forget_audit.stress.scouts import Scouts
from forget_audit.training.loop import Index
from forget_audit.types import SMALL_REQUEST, Floats, Ids, Labels, Rows, Scope
from forget_audit.worst_case import Surrogate, WorstCase, extreme, gradient_norms

FEWEST_CLASSES = 3
NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A set of rows to forget.

    Args:
        ids: Of training rows, or of the planted ones.
        scope: Whether a whole class or sub-class is meant.
        classes: Which.
        planted: Rows that the auditor made and that have to be trained in first.
        spare: What is left of the spare rows then.
        facts: What is known of the set from how it was drawn.
    """

    ids: Ids
    scope: Scope = "instance"
    classes: tuple[int, ...] = ()
    planted: Rows | None = None
    spare: Rows | None = None
    facts: Mapping[str, float] = field(default_factory=dict)


def at_random(scouts: Scouts, n: int, rng: np.random.Generator) -> Drawn:
    """Draw units without looking at anything."""
    return _of_units(scouts, _some(np.arange(len(scouts.firsts)), n, rng))


def one_class(scouts: Scouts, _n: int, rng: np.random.Generator) -> Drawn:
    """Draw a class and take all its rows."""
    scouts.need_classes()
    return _whole(scouts, "class", scouts.rows.y, rng)


def one_subclass(scouts: Scouts, _n: int, rng: np.random.Generator) -> Drawn:
    """Draw a sub-class and take all its rows."""
    if scouts.finer is None:
        raise NotApplicable("needs data that say which sub-class a row is of")
    return _whole(scouts, "subclass", scouts.finer, rng)


def most_exposed(scouts: Scouts, n: int, _rng: np.random.Generator) -> Drawn:
    """Take what an attack on the surrogate calls members most surely."""
    return _top(scouts, scouts.exposure(), n, [scouts.need_surrogate(), *scouts.halves])


def most_memorised(scouts: Scouts, n: int, _rng: np.random.Generator) -> Drawn:
    """Take what only models know that saw it."""
    return _top(scouts, scouts.memorisation(), n, scouts.halves)


def by_memorisation(
    scouts: Scouts, n: int, rng: np.random.Generator, *, part: int, of: int
) -> Drawn:
    """Draw from one of equal parts of the units, ordered by how much they are memorised.

    Args:
        scouts: With models on halves.
        n: How many units.
        rng: Breaks ties and draws.
        part: Which part, from 0: the least memorised.
        of: How many parts there are.
    """
    score = scouts.memorisation()
    order = rng.permutation(len(score))
    order = order[np.argsort(score[order], kind="stable")]
    chosen = _some(np.array_split(order, of)[part], n, rng)
    return _of_units(scouts, chosen, memorisation=float(score[chosen].mean()))


def longest_gradients(scouts: Scouts, n: int, _rng: np.random.Generator) -> Drawn:
    """Take what pulls most at the surrogate's weights."""
    surrogate = scouts.need_gradients()
    lengths = gradient_norms(surrogate, scouts.rows)
    return _top(scouts, _means(scouts, lengths), n, [surrogate])


def hardest(
    scouts: Scouts, n: int, rng: np.random.Generator, *, search: WorstCase | None = None
) -> Drawn:
    """Search for what the surrogate still knows after forgetting it."""
    surrogate = scouts.need_gradients()
    _enough(scouts, n)
    weights = (search or WorstCase()).weigh(surrogate, scouts.rows, scouts.unit, n, rng)
    return _top(scouts, weights, n, [surrogate])


def easiest(scouts: Scouts, n: int, rng: np.random.Generator) -> Drawn:
    """Search for what the surrogate forgets most readily."""
    return hardest(scouts, n, rng, search=WorstCase(easiest=True))


def one_of_two(scouts: Scouts, n: int, _rng: np.random.Generator) -> Drawn:
    """Take one of each of the closest pairs of rows with the same label; the other one stays.

    Distances are Euclidean between the features, each column scaled to its range. Rows of equal
    content do not count: they would have to be forgotten together.
    """
    from sklearn.neighbors import NearestNeighbors

    rows, unit = scouts.rows, scouts.unit
    x = np.asarray(rows.x, dtype=np.float64).reshape(len(rows), -1)
    reach = np.ptp(x, axis=0)
    x = x / np.where(reach > 0, reach, 1.0)
    look = min(NEIGHBOURS + 1, len(rows))
    distance, other = NearestNeighbors(n_neighbors=look).fit(x).kneighbors(x)
    alike = (rows.y[other] == rows.y[:, None]).reshape(len(rows), look, -1).all(axis=2)
    possible = alike & (unit[other] != unit[:, None]) & (distance > 0)
    gap = np.where(possible, distance, np.inf)
    nearest, twin = gap.min(axis=1), unit[other[np.arange(len(rows)), gap.argmin(axis=1)]]
    taken: dict[int, float] = {}
    staying: set[int] = set()
    for row in np.argsort(nearest, kind="stable"):
        own, partner = int(unit[row]), int(twin[row])
        if len(taken) == n or not np.isfinite(nearest[row]):
            break
        if own not in taken and own not in staying and partner not in taken:
            taken[own] = float(nearest[row])
            staying.add(partner)
    if len(taken) < n:
        raise NotApplicable(f"needs {n} pairs with the same label, found {len(taken)}")
    usual = float(np.mean(nearest[np.isfinite(nearest)]))
    closeness = float(np.mean(list(taken.values()))) / usual
    return _of_units(scouts, np.array(list(taken)), distance=closeness)


def mislabelled(scouts: Scouts, n: int, _rng: np.random.Generator) -> Drawn:
    """Take the rows whose label is contradicted most by models that did not see them.

    The order is that of confident learning's normalised margin: the mean probability of the
    likeliest other class less that of the label. A row is `flagged` if the likeliest of the
    classes that are surer of it than of their own rows on average is another one: Northcutt,
    Jiang and Chuang (2021), Confident Learning, arXiv:1911.00068.
    """
    scouts.need_classes()
    p, y = scouts.second_opinion(), scouts.rows.y
    places = np.arange(len(y))
    others = p.copy()
    others[places, y] = -np.inf
    margin = others.max(axis=1) - p[places, y]
    known = np.bincount(y, minlength=scouts.n_classes)
    usual = np.bincount(y, p[places, y], minlength=scouts.n_classes)
    usual = np.where(known > 0, usual / np.maximum(known, 1), np.inf)
    sure = np.where(p >= usual, p, -np.inf)
    flagged = np.isfinite(sure.max(axis=1)) & (sure.argmax(axis=1) != y)
    drawn = _top(scouts, _means(scouts, margin), n, scouts.halves)
    inside = np.isin(scouts.rows.ids, drawn.ids)
    return Drawn(ids=drawn.ids, facts={"flagged": float(flagged[inside].mean())})


def planted(scouts: Scouts, n: int, rng: np.random.Generator) -> Drawn:
    """Make records of unseen inputs under wrong labels; originals have to be trained with them."""
    scouts.need_classes()
    spare = scouts.spare
    units, unit = spare.numbered()
    if units < n or not len(spare):
        raise NotApplicable(f"needs {n} auxiliary records to make canaries of, found {units}")
    chosen = np.sort(rng.choice(units, n, replace=False))
    made = spare.take(np.unique(unit, return_index=True)[1][chosen])
    wrong = (made.y + rng.integers(1, scouts.n_classes, n)) % scouts.n_classes
    names = np.array([f"canary-{k}" for k in range(n)], dtype=np.str_)
    people = None if scouts.rows.units is None else names
    rows = Rows(x=made.x, y=wrong, ids=names, units=people)
    return Drawn(ids=names, planted=rows, spare=spare.take(~np.isin(unit, chosen)))


def _whole(scouts: Scouts, scope: Scope, kinds: Labels, rng: np.random.Generator) -> Drawn:
    values, counts = np.unique(kinds, return_counts=True)
    usable = values[counts >= SMALL_REQUEST]
    if len(values) < FEWEST_CLASSES or not len(usable):
        raise NotApplicable(
            f"needs {FEWEST_CLASSES} classes, one of them with {SMALL_REQUEST} rows or more, "
            f"found {len(values)}"
        )
    chosen = rng.choice(usable)
    return Drawn(ids=scouts.rows.ids[kinds == chosen], scope=scope, classes=(int(chosen),))


def _some(units: Index, n: int, rng: np.random.Generator) -> Index:
    if not 1 <= n < len(units):
        raise NotApplicable(f"needs more than {n} to draw {n} from, found {len(units)}")
    return rng.choice(units, n, replace=False)


def _enough(scouts: Scouts, n: int) -> None:
    if not 1 <= n < len(scouts.firsts):
        raise NotApplicable(f"needs more than {n} to pick {n} from, found {len(scouts.firsts)}")


def _top(scouts: Scouts, scores: Floats, n: int, by: Sequence[Surrogate]) -> Drawn:
    """Take the units with the highest scores `(units,)`."""
    _enough(scouts, n)
    found = extreme(scouts.rows.take(scouts.firsts), scores, n, by=by)
    chosen = np.isin(scouts.rows.ids[scouts.firsts], found)
    return _of_units(scouts, np.flatnonzero(chosen))


def _of_units(scouts: Scouts, units: Index, **facts: float) -> Drawn:
    return Drawn(ids=scouts.rows.ids[np.isin(scouts.unit, units)], facts=facts)


def _means(scouts: Scouts, values: Floats) -> Floats:
    return np.asarray(np.bincount(scouts.unit, values) / np.bincount(scouts.unit))
