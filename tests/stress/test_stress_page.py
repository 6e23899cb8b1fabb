"""The committed results fit their schema and their pages, and docs/stress.md quotes them."""

import json
import re
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from forget_audit.stress import files, page
from forget_audit.stress.plots import svg
from forget_audit.stress.strategies import STRATEGIES
from forget_audit.types import Json
from tests.stress.test_running import schema

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
METHODS = ("scrub", "ssd", "finetune")
LEARNT_BY_HEART = ("top_mia", "memorised", "mislabelled", "canary")


@cache
def found() -> Json:
    document: Json = json.loads((RESULTS / "stress.json").read_text("utf-8"))
    return document


def docs() -> str:
    return (ROOT / "docs" / "stress.md").read_text("utf-8")


def call(name: str, method: str, measure: str) -> str:
    item = next(item for item in found()["sets"] if item["name"] == name)
    one = next(one for one in item["results"] if one["method"] == method)
    return str(one["harder"][measure]["call"])


def test_the_committed_document_fits_its_schema_and_its_pages() -> None:
    jsonschema.Draft202012Validator(schema()).validate(found())
    assert (RESULTS / "stress.json").read_text("utf-8") == files.as_text(found())
    assert (RESULTS / "stress.md").read_text("utf-8") == page.markdown(found())
    assert (RESULTS / "stress.csv").read_text("utf-8") == files.table_of_numbers(found())
    assert svg(found()).startswith("<?xml")


@pytest.mark.parametrize("name", ["influence", "left"])
def test_the_docs_hold_the_values_of_the_committed_document(name: str) -> None:
    assert "\n".join(page.values(found(), name)) in docs()


@pytest.mark.parametrize("name", ["efficacy", "left"])
def test_the_docs_hold_the_comparisons_of_the_committed_document(name: str) -> None:
    assert "\n".join(page.compared(found(), name)) in docs()


def test_numbers_in_the_text_are_those_of_the_committed_document() -> None:
    text = re.sub(r"\s+", " ", docs())
    assert f"took {found()['seconds']['processor']:.0f} s of processor time" in text
    calls = [
        spread["call"]
        for item in found()["sets"]
        for one in item["results"]
        if one["method"] == "retrain"
        for measure, spread in one["harder"].items()
        if spread is not None and measure != "efficacy"
    ]
    marked = [call for call in calls if call != "not told apart"]
    assert f"Of {len(calls)} such comparisons {len(marked)} are marked" in text


def test_what_the_docs_say_of_worst_cases_holds() -> None:
    for method in (*METHODS, "retrain"):
        assert call("worst_case", method, "efficacy") == "harder"
    for method in METHODS:
        assert call("worst_case", method, "left") == "easier"
    assert call("worst_case", "scrub", "influence") == "not told apart"
    assert call("worst_case", "ssd", "influence") == "not told apart"
    assert call("worst_case", "finetune", "influence") == "harder"
    item = next(item for item in found()["sets"] if item["name"] == "worst_case")
    assert item["signal"] == 0


def test_what_the_docs_say_of_records_learnt_by_heart_holds() -> None:
    for name in LEARNT_BY_HEART:
        for method in METHODS:
            assert call(name, method, "efficacy") == "easier"
        assert call(name, "scrub", "left") == call(name, "ssd", "left") == "harder"
        assert call(name, "scrub", "tow") == call(name, "ssd", "tow") == "harder"
        kept = name in ("memorised", "canary")
        assert call(name, "finetune", "left") == ("harder" if kept else "not told apart")
    assert call("memorised", "finetune", "influence") == "easier"


def test_what_the_docs_say_of_near_duplicates_holds() -> None:
    for method in METHODS:
        assert call("near_duplicates", method, "left") == "easier"
        assert call("near_duplicates", method, "efficacy") == "harder"


def test_the_docs_name_every_strategy_with_its_line() -> None:
    for name, strategy in STRATEGIES.items():
        assert f"| `{name}` | {strategy.description} |" in docs()
