"""The strategies of a stress test by name, each with one line on what it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from forget_audit.errors import LeakageError, UnknownName
from forget_audit.registry import unknown
from forget_audit.stress import drawing
from forget_audit.stress.drawing import Drawn
from forget_audit.stress.scouts import Scouts
from forget_audit.targets import Target

JUDGES = ("residual_influence", "loss_threshold")
Draw = Callable[[Scouts, int, np.random.Generator], Drawn]
Looks = Literal["nothing", "rows", "surrogate", "halves"]


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way to draw rows to forget.

    Args:
        name: For the command line.
        title: For tables.
        description: One line.
        looks: What the rows are picked with; `halves` includes the surrogate.
        draw: Draws them.
        attack: The attack that picks, if one does; it never judges.
        part: Which part of the hardness curve this is, from 1; 0 for other strategies.
    """

    name: str
    title: str
    description: str
    looks: tuple[Looks, ...]
    draw: Draw
    attack: str | None = None
    part: int = 0


_ALL = (
    Strategy(
        name="random",
        title="random",
        description="rows drawn at random: what all others are compared with",
        looks=("nothing",),
        draw=drawing.at_random,
    ),
    Strategy(
        name="class",
        title="whole class",
        description="all rows of one class, which is drawn at random",
        looks=("rows",),
        draw=drawing.one_class,
    ),
    Strategy(
        name="subclass",
        title="whole sub-class",
        description="all rows of one sub-class, of data that have them",
        looks=("rows",),
        draw=drawing.one_subclass,
    ),
    Strategy(
        name="top_mia",
        title="most exposed",
        description="rows that the attack `lira` finds most exposed in the auditor's surrogate",
        looks=("surrogate", "halves"),
        draw=drawing.most_exposed,
        attack="lira",
    ),
    Strategy(
        name="memorised",
        title="most memorised",
        description="rows whose label only models know that were trained on them",
        looks=("halves",),
        draw=drawing.most_memorised,
    ),
    Strategy(
        name="influence",
        title="longest gradient",
        description="rows whose loss pulls most at the weights of the auditor's surrogate",
        looks=("surrogate",),
        draw=drawing.longest_gradients,
    ),
    Strategy(
        name="near_duplicates",
        title="near-duplicates",
        description="one of each of the closest pairs of rows with the same label; one stays",
        looks=("rows",),
        draw=drawing.one_of_two,
    ),
    Strategy(
        name="mislabelled",
        title="mislabelled",
        description="rows whose label is contradicted by models that did not see them",
        looks=("halves",),
        draw=drawing.mislabelled,
    ),
    Strategy(
        name="canary",
        title="canaries",
        description="records made by the auditor, unseen inputs under wrong labels, trained in",
        looks=("rows",),
        draw=drawing.planted,
    ),
    Strategy(
        name="worst_case",
        title="worst case",
        description="rows that the surrogate still knows after forgetting them, by bi-level search",
        looks=("surrogate",),
        draw=drawing.hardest,
    ),
    Strategy(
        name="easiest",
        title="easiest",
        description="rows that the surrogate forgets most readily, by the same search reversed",
        looks=("surrogate",),
        draw=drawing.easiest,
    ),
)
STRATEGIES: Mapping[str, Strategy] = {strategy.name: strategy for strategy in _ALL}
BASELINE = "random"


def chosen(names: Iterable[str] | None) -> tuple[Strategy, ...]:
    """Return the strategies called `names` in order of the table, all if none are given.

    The random one is always among them.

    Raises:
        UnknownName: With the nearest name.
    """
    wanted = set(STRATEGIES) if names is None else {BASELINE, *names}
    strangers = sorted(wanted - set(STRATEGIES))
    if strangers:
        raise UnknownName(unknown("strategy", strangers[0], STRATEGIES))
    return tuple(strategy for strategy in _ALL if strategy.name in wanted)


def curve(parts: int) -> tuple[Strategy, ...]:
    """Return the strategies of the hardness curve: rows by how much they are memorised.

    Args:
        parts: Into how many equal parts the rows are dealt; none gives no curve.
    """
    return tuple(
        Strategy(
            name=f"memorisation_{k}_of_{parts}",
            title=f"memorisation, part {k} of {parts}",
            description=f"rows drawn at random from part {k} of {parts} by memorisation",
            looks=("halves",),
            draw=partial(drawing.by_memorisation, part=k - 1, of=parts),
            part=k,
        )
        for k in range(1, parts + 1)
    )


def keep_apart(strategy: Strategy, scouts: Iterable[Target], judges: Iterable[Target]) -> None:
    """Refuse to judge rows by what picked them.

    Args:
        strategy: That picked the rows.
        scouts: Every model that rows were picked with.
        judges: Every model that is judged or judged by.

    Raises:
        LeakageError: If the attack that picked is one that judges, or a model is on both sides.
    """
    if strategy.attack in JUDGES:
        raise LeakageError(
            f"expected another attack to pick rows than those that judge, found "
            f"{strategy.attack} on both sides of {strategy.name}; whoever picks rows by an attack "
            "has decided what it will find"
        )
    shared = {model.digest() for model in scouts} & {model.digest() for model in judges}
    if shared:
        raise LeakageError(
            f"expected rows to be picked with models of their own, found {len(shared)} model(s) of "
            f"{strategy.name} among those that are judged or judged by; train others"
        )
