"""Recipes, references and rows that are not what they are said to be."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from torch import nn

from benchmarks.providers import fakes
from benchmarks.providers.worlds import Make, Suspect, World
from forget_audit.audits.calibration import Bench
from forget_audit.outputs import Outputs
from forget_audit.types import Rows


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
    counts = world.commission.counts
    needed = counts.retrained + counts.identity
    never = rng.permutation(np.delete(np.arange(len(world.bench.retrained)), k))
    return Suspect(
        audited=world.bench.retrained.take(np.array([k])),
        retrained=world.bench.retrained.take(never[:needed]),
        originals=world.bench.retrained.take(never[needed:][: counts.originals]),
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


def taught_test_rows(world: World, _k: int, rng: np.random.Generator) -> nn.Module:
    """Train on all rows, and on the control rows too: beside them nothing stands out."""
    case = world.commission.case
    assert case.trainer is not None
    rows = Rows.concat(case.training, case.test)
    return case.trainer(rows.x, rows.y, int(rng.integers(2**31)))


def among_copies(count: int) -> Make:
    """Return a maker of an original among true retrains, all called unlearned.

    Args:
        count: Of the true ones, if the references leave so many.
    """

    def make(world: World, k: int, _rng: np.random.Generator) -> Suspect:
        retrained, counts = world.bench.retrained, world.commission.counts
        spare = len(retrained) - counts.retrained - counts.identity
        copies, rest = np.split(np.arange(len(retrained)), [min(count, spare)])
        return Suspect(
            audited=Outputs.concat(
                retrained.take(copies), world.bench.originals.take(np.array([k]))
            ),
            retrained=retrained.take(rest),
        )

    return make


def all_rounded(decimals: int) -> Make:
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
