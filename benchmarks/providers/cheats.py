"""The rows of the table: what is handed in, and at which access the docs call it detectable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from benchmarks.providers import fakes
from benchmarks.providers.worlds import Access, Suspect, World
from forget_audit.audits import impostors
from forget_audit.audits.calibration import Bench
from forget_audit.outputs import Outputs
from forget_audit.types import Rows

Expected = Literal["honest", "accused", "caught", "missed"]
Make = Callable[[World, int, np.random.Generator], Suspect]
FILE: Mapping[Access, Expected] = {"file": "caught"}
HONEST: Mapping[Access, Expected] = dict.fromkeys(("file", "questions", "weights"), "honest")
LITTLE: Mapping[Access, Expected] = {"file": "missed"}  # what is left may lie inside the margin
ASKED: Mapping[Access, Expected] = {"file": "missed", "questions": "caught"}


@dataclass(frozen=True, kw_only=True)
class Cheat:
    """One kind of provider.

    Args:
        group: Heading in the table.
        name: What is handed in.
        expected: What the docs say, by access.
        make: Makes it of the k-th models of a request.
        scope: Of the request.
    """

    group: str
    name: str
    expected: Mapping[Access, Expected]
    make: Make
    scope: Literal["instance", "class"] = "instance"


def network(make: Callable[[World, int, np.random.Generator], nn.Module]) -> Make:
    """Return a maker that asks the network it makes."""
    return lambda world, k, rng: world.ask(make(world, k, rng))


def edited(edit: Callable[[Outputs, np.random.Generator], Outputs]) -> Make:
    """Return a maker that edits the answers of an original."""
    return lambda world, k, rng: Suspect(
        audited=edit(world.bench.originals.take(np.array([k])), rng)
    )


def unlearner(kind: str) -> Make:
    """Return a maker that applies a bad unlearner to an original."""
    return network(
        lambda world, k, rng: impostors.make(kind, world.original(k), world.commission.case, rng)
    )


def recogniser(radius: float) -> Make:
    """Return a maker of models that know the forget rows from afar, as a share of distances."""

    def make(world: World, k: int, _rng: np.random.Generator) -> nn.Module:
        x = world.commission.case.forget.x
        reach = radius * fakes.distance(x)
        return fakes.Recogniser(world.original(k), world.retrained(k), x, reach)

    return network(make)


def tiring(rows: Callable[[World], int]) -> Make:
    """Return a maker of models that answer honestly for so many rows."""
    return network(lambda w, k, _: fakes.Tiring(w.retrained(k), w.original(k), rows(w)))


def first_questions(world: World) -> int:
    """Return how many rows an audit asks about before it asks again."""
    case = world.commission.case
    return len(case.forget) + len(case.test) + len(case.retain)


def bad_recipe(name: str, **changes: object) -> Make:
    """Return a maker that gives out an original, and a recipe that did not make it."""

    def make(world: World, k: int, _rng: np.random.Generator) -> Suspect:
        retrained, originals = world.by_recipe(name, **changes)
        audited = world.bench.originals.take(np.array([k]))
        return Suspect(audited=audited, retrained=retrained, originals=originals)

    return make


def noisy_yardstick(world: World, k: int, rng: np.random.Generator) -> Suspect:
    """Give out an original, among references whose answers were made to differ."""
    counts = world.commission.counts
    order = rng.permutation(np.delete(np.arange(len(world.bench.retrained)), k))
    needed = world.bench.retrained.take(order[: counts.retrained + counts.identity])
    return Suspect(
        audited=world.bench.originals.take(np.array([k])),
        retrained=fakes.spread(needed, rng, 3.0),
    )


def other_rows(world: World, k: int, rng: np.random.Generator) -> Suspect:
    """List rows that no model was ever trained on: originals cannot know them."""
    never = rng.permutation(np.delete(np.arange(len(world.bench.retrained)), k))
    return Suspect(
        audited=world.bench.retrained.take(np.array([k])),
        originals=world.bench.retrained.take(never[-world.commission.counts.originals :]),
    )


def overlapping(audited: Literal["original", "retrained"]) -> Make:
    """Return a maker whose control rows are retained rows, moved so little that none is equal."""

    def make(world: World, k: int, _rng: np.random.Generator) -> Suspect:
        retrained, originals = _on_members(world)
        chosen = originals if audited == "original" else retrained
        rest = np.delete(np.arange(len(retrained)), k)
        return Suspect(
            audited=chosen.take(np.array([k])),
            retrained=retrained.take(rest),
            originals=originals.take(np.delete(np.arange(len(originals)), k)[:8]),
        )

    return make


def _on_members(world: World) -> tuple[Outputs, Outputs]:
    if "members" not in world.made:
        case = world.commission.case
        half = len(case.test) // 2
        members, rest = case.retain.take(np.arange(half)), case.test.take(np.arange(half))
        copied = Rows(
            x=members.x + np.float32(1e-4), y=members.y, ids=np.char.add("copy-", members.ids)
        )
        commission = dataclasses.replace(
            world.commission, case=case.replace(test=Rows.concat(copied, rest))
        )
        bench = Bench.of(commission, world.pool)
        world.made["members"] = bench.retrained, bench.originals
    return world.made["members"]


def distilled(*, retained: bool) -> Make:
    """Return a maker of students of an original."""

    def make(world: World, k: int, rng: np.random.Generator) -> nn.Module:
        case = world.commission.case
        rows = case.retain if retained else case.training
        seed = int(rng.integers(2**31))
        return fakes.distilled(world.original(k), rows, world.commission, seed)

    return network(make)


def _all_rounded(decimals: int) -> Make:
    """Return a maker of honest models, whose references are rounded like them."""

    def make(world: World, k: int, rng: np.random.Generator) -> Suspect:
        retrained = fakes.rounded(world.bench.retrained, decimals)
        order = rng.permutation(np.delete(np.arange(len(retrained)), k))
        return Suspect(
            audited=retrained.take(np.array([k])),
            retrained=retrained.take(order),
            originals=fakes.rounded(world.bench.originals, decimals).take(np.arange(8)),
        )

    return make


def cached(world: World, k: int, _rng: np.random.Generator) -> Suspect:
    """Serve a retrained model, and for the forget rows what a cache still holds."""
    model = world.bench.retrained.take(np.array([k]))
    return Suspect(audited=fakes.stale(model, world.bench.originals.take(np.array([k]))))


GONE, EDITED, KNOWS = "Not unlearned at all", "Answers or weights edited", "Knows the audit"
GIVEN, TRUE, CLASSES = "Recipe and data bent", "Honest", "Requests for a class"
SQUEEZED: Sequence[tuple[str, Callable[[nn.Module], nn.Module]]] = (
    ("quantised to 8 bits", fakes.quantised),
    ("half of the weights pruned", lambda model: fakes.pruned(model, 0.5)),
    ("nine tenths of the weights pruned", lambda model: fakes.pruned(model, 0.9)),
    ("probabilities rounded to 2 decimals", lambda model: fakes.Rounded(model, 2)),
    ("probabilities rounded to 1 decimal", lambda model: fakes.Rounded(model, 1)),
)


def _squeezed(edit: Callable[[nn.Module], nn.Module]) -> Make:
    return network(lambda world, k, _: edit(world.original(k)))


def _mixed(share: float) -> Make:
    return network(lambda w, k, _: fakes.Mixed(w.original(k), w.retrained(k), share))


def _of_class(kind: str) -> Make:
    return network(lambda w, k, rng: impostors.MODELS[kind](w.original(k), w.commission.case, rng))


BLIND: Mapping[Access, Expected] = {"questions": "caught", "weights": "caught"}
CHEATS: tuple[Cheat, ...] = (
    Cheat(group=TRUE, name="truly retrained", expected=HONEST,
          make=network(lambda w, k, _: w.retrained(k))),
    *(
        Cheat(group=TRUE, name=f"truly retrained, all answers rounded to {decimals} decimal{s}",
              expected={"file": "honest"}, make=_all_rounded(decimals))
        for decimals, s in ((2, "s"), (1, ""))
    ),
    Cheat(group=TRUE, name="truly retrained, its answers alone rounded to 2 decimals",
          expected={"file": "accused"},
          make=network(lambda w, k, _: fakes.Rounded(w.retrained(k), 2))),
    Cheat(group=GONE, name="original called unlearned", expected=FILE, make=unlearner("original")),
    *(
        Cheat(group=GONE, name=f"original, {name}", expected=FILE, make=_squeezed(edit))
        for name, edit in SQUEEZED
    ),
    Cheat(group=GONE, name="original distilled on all training rows", expected=FILE,
          make=distilled(retained=False)),
    Cheat(group=GONE, name="original distilled on retained rows", expected=LITTLE,
          make=distilled(retained=True)),
    Cheat(group=GONE, name="original that drops units at random", expected=FILE,
          make=network(lambda w, k, _: fakes.Dropping(w.original(k), 0.1, k))),
    *(
        Cheat(group=GONE, name=f"{kind}", expected=FILE, make=unlearner(kind))
        for kind in ("finetune 5 epochs", "gradient ascent", "random labels")
    ),
    *(
        Cheat(group=GONE, name=f"original mixed with a retrained model, {share:g} original",
              expected=FILE, make=_mixed(share))
        for share in (0.25, 0.5, 0.75)
    ),
    *(
        Cheat(group=EDITED, name=name, expected=FILE, make=edited(edit))
        for name, edit in {**impostors.ANSWERS, "one sure answer": fakes.peaky}.items()
    ),
    Cheat(group=EDITED, name="retrained, with the original's answers in a cache", expected=FILE,
          make=cached),
    Cheat(group=KNOWS, name="recognises the very rows", expected=ASKED, make=recogniser(0.0)),
    Cheat(group=KNOWS, name="recognises rows within a tenth of the usual distance",
          expected=ASKED, make=recogniser(0.1)),
    Cheat(group=KNOWS, name="recognises rows within half of the usual distance",
          expected=ASKED, make=recogniser(0.5)),
    Cheat(group=KNOWS, name="honest for the first questions", expected={"questions": "caught"},
          make=tiring(first_questions)),
    Cheat(group=KNOWS, name="honest for more questions than an audit asks",
          expected={"questions": "missed"}, make=tiring(lambda _: 10**9)),
    Cheat(group=KNOWS, name="retrained in evaluation mode, original in training mode",
          expected={"questions": "missed", "weights": "caught"},
          make=network(lambda w, k, _: fakes.TwoFaced(w.retrained(k), w.original(k)))),
    Cheat(group=GIVEN, name="recipe of too few epochs", expected=FILE,
          make=bad_recipe("few epochs", epochs=3)),
    Cheat(group=GIVEN, name="recipe with thirty times the learning rate", expected=FILE,
          make=bad_recipe("high rate", lr=0.1)),
    Cheat(group=GIVEN, name="noise on the references' answers", expected=FILE,
          make=noisy_yardstick),
    Cheat(group=GIVEN, name="a list of rows that nobody trained on", expected=FILE,
          make=other_rows),
    Cheat(group=GIVEN, name="a list of other rows, truly removed", expected={"weights": "missed"},
          make=network(lambda w, k, _: w.retrained(k))),
    Cheat(group=GIVEN, name="half of the test rows near-copies of training rows, original",
          expected=FILE, make=overlapping("original")),
    Cheat(group=TRUE, name="truly retrained, half of the test rows near-copies of training rows",
          expected={"file": "honest"}, make=overlapping("retrained")),
    Cheat(group=TRUE, name="truly retrained without the class", expected={"weights": "honest"},
          make=network(lambda w, k, _: w.retrained(k)), scope="class"),
    *(
        Cheat(group=CLASSES, name=kind, expected=BLIND, make=_of_class(kind), scope="class")
        for kind in impostors.MODELS
    ),
    Cheat(group=CLASSES, name="recognises the very rows", expected=BLIND,
          make=recogniser(0.0), scope="class"),
    Cheat(group=CLASSES, name="a retrained model answers what looks like the class",
          expected=BLIND, scope="class",
          make=network(lambda w, k, _: fakes.Routed(
              w.original(k), w.retrained(k), w.commission.case.classes))),
)  # fmt: skip
