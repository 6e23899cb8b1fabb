"""The rows of the table: what is handed in, and at which access the docs call it detectable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from benchmarks.providers import bent, fakes
from benchmarks.providers.worlds import Access, Make, Suspect, World
from forget_audit.audits import impostors
from forget_audit.outputs import Outputs

Expected = Literal["honest", "accused", "caught", "missed"]
FILE: Mapping[Access, Expected] = {"file": "caught"}
HONEST: Mapping[Access, Expected] = dict.fromkeys(("file", "questions", "weights"), "honest")
LITTLE: Mapping[Access, Expected] = {"file": "missed"}  # what is left may lie inside the margin
ASKED: Mapping[Access, Expected] = {"file": "missed", "questions": "caught"}
UNSEEN: Mapping[Access, Expected] = {"file": "missed", "questions": "missed"}


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


def neighbour(world: World, k: int, _rng: np.random.Generator) -> nn.Module:
    """Let a retrained model answer what lies nearest to a row that was to be forgotten."""
    case = world.commission.case
    return fakes.Neighbour(world.original(k), world.retrained(k), case.forget.x, case.retain.x)


def distilled(*, retained: bool) -> Make:
    """Return a maker of students of an original."""

    def make(world: World, k: int, rng: np.random.Generator) -> nn.Module:
        case = world.commission.case
        rows = case.retain if retained else case.training
        seed = int(rng.integers(2**31))
        return fakes.distilled(world.original(k), rows, world.commission, seed)

    return network(make)


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
              expected={"file": "honest"}, make=bent.all_rounded(decimals))
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
    Cheat(group=KNOWS, name="recognises rows within one and a half of the usual distance",
          expected=UNSEEN, make=recogniser(1.5)),
    Cheat(group=KNOWS, name="recognises whatever is nearest to a forgotten training row",
          expected=UNSEEN, make=network(neighbour)),
    Cheat(group=KNOWS, name="honest for the first questions", expected={"questions": "caught"},
          make=tiring(first_questions)),
    Cheat(group=KNOWS, name="honest for more questions than an audit asks",
          expected={"questions": "missed"}, make=tiring(lambda _: 10**9)),
    Cheat(group=KNOWS, name="retrained in evaluation mode, original in training mode",
          expected={"questions": "missed", "weights": "caught"},
          make=network(lambda w, k, _: fakes.TwoFaced(w.retrained(k), w.original(k)))),
    Cheat(group=GIVEN, name="recipe of too few epochs", expected=FILE,
          make=bent.bad_recipe("few epochs", epochs=3)),
    Cheat(group=GIVEN, name="recipe with thirty times the learning rate", expected=FILE,
          make=bent.bad_recipe("high rate", lr=0.1)),
    Cheat(group=GIVEN, name="noise on the references' answers", expected=FILE,
          make=bent.noisy_yardstick),
    Cheat(group=GIVEN, name="a list of rows that nobody trained on", expected=FILE,
          make=bent.other_rows),
    Cheat(group=GIVEN, name="a list of other rows, truly removed", expected={"weights": "missed"},
          make=network(lambda w, k, _: w.retrained(k))),
    Cheat(group=GIVEN, name="trained on the test rows as well", expected=FILE,
          make=network(bent.taught_test_rows)),
    Cheat(group=GIVEN, name="an original among twelve true retrains", expected=FILE,
          make=bent.among_copies(12)),
    Cheat(group=GIVEN, name="half of the test rows near-copies of training rows, original",
          expected=FILE, make=bent.overlapping("original")),
    Cheat(group=TRUE, name="truly retrained, half of the test rows near-copies of training rows",
          expected={"file": "honest"}, make=bent.overlapping("retrained")),
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
