"""The page on sizes says what was measured and counted, and its fit finds what is there."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cost_model import Cost, Size, check, count, fitted, predicted

ROOT = Path(__file__).resolve().parents[2]
RESULT: Any = json.loads((ROOT / "benchmarks/results/cost_model.json").read_text("utf-8"))
PAGE = (ROOT / "docs/sizing.md").read_text("utf-8")
MEASURED = [Cost(**{**one, "repeats": tuple(one["repeats"])}) for one in RESULT["measured"]]


def cells(text: str) -> list[list[str]]:
    rows = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_fit_finds_the_rate_and_the_cost_of_a_weight() -> None:
    exact = [
        dataclasses.replace(cost, seconds=cost.flops * cost.rows / 5e10 + 2e-9 * cost.weights)
        for cost in MEASURED
    ]
    assert fitted(exact) == pytest.approx((1 / 5e10, 2e-9))
    assert all(abs(float(row["error"])) < 1e-9 for row in check(exact))  # type: ignore[arg-type]


def test_flops_are_those_of_the_layers() -> None:
    weights, both, forward = count(Size(family="perceptrons", name="linear", side=4, rows=2))
    assert weights == 48 * 1000 + 1000
    assert forward == 2 * 48 * 1000
    assert both == 2 * forward, "the rows need no gradient"


def test_the_page_shows_the_fit_of_the_file() -> None:
    shown = [
        row
        for row in cells(PAGE)
        if row[0].startswith(("ResNet-50 at", "ViT-L/16, "))
        and len(row) == 6
        and row[5].endswith("%")
    ]
    found = []
    for family in ("convolutions", "transformers"):
        own = [cost for cost in MEASURED if cost.family == family]
        rates = fitted(own)
        for cost in own:
            guess = predicted(rates, cost)
            found.append([
                f"{cost.weights / 1e6:.1f}", f"{cost.flops / 1e9:.2f}", f"{cost.seconds:.2f}",
                f"{guess:.2f}", f"{100 * (guess / cost.seconds - 1):+.0f} %",
            ])  # fmt: skip
    assert [row[1:] for row in shown] == found


def test_the_page_shows_the_check_of_the_file() -> None:
    for row in RESULT["checks"]:
        words = f"{row['predicted s']:.2f} s for {row['measured s']:.2f} s | {row['error']:+.0%}"
        assert words.replace("%", " %") in PAGE
        (rates,) = [found for found in cells(PAGE) if found[0] == row["family"]]
        assert rates[1:3] == [
            f"{1e-9 / row['s per FLOP']:.0f}",
            f"{1e9 * row['s per step and weight']:.1f}",
        ]


def test_the_page_shows_the_extrapolated_totals() -> None:
    hours = [row[5] for row in cells(PAGE) if len(row) == 6 and re.fullmatch(r"\d+", row[1])]
    totals = [row[4] for row in cells(PAGE) if len(row) == 6 and re.fullmatch(r"\d+", row[1])]
    rows = RESULT["extrapolated"]
    assert hours == [f"{row['hours at 1e14 FLOP/s sustained']:.0f}" for row in rows]
    assert totals == [f"{row['FLOPs of all trainings']:.2e}".replace("e+", "e") for row in rows]
