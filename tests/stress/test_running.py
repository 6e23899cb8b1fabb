"""A stress test from plan to document: schema, no ids, broken runs, broken methods, pairs."""

import csv
import dataclasses
import io
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import numpy as np
import pytest
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import LeakageError, NotApplicable
from forget_audit.methods.finetune import Finetune
from forget_audit.registry import make_method
from forget_audit.stress.files import broken, lines, table_of_numbers, write
from forget_audit.stress.ground import Extent
from forget_audit.stress.page import markdown
from forget_audit.stress.plots import figure, svg
from forget_audit.stress.results import Found, document, spread
from forget_audit.stress.rounds import one_set
from forget_audit.stress.running import Order, stress
from forget_audit.stress.strategies import chosen
from forget_audit.types import Case, Json
from tests.stress.small import SMALL, plan, prepared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Broken(Finetune):
    info: ClassVar[MethodInfo] = dataclasses.replace(Finetune.info, name="broken")

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        raise RuntimeError(f"broke on {case.forget.ids[0]}")


class Unable(Broken):
    info: ClassVar[MethodInfo] = dataclasses.replace(Finetune.info, name="unable")

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        raise NotApplicable("serves nobody")


def order(**changes: Any) -> Order:
    made = Order(
        plan=plan(),
        methods={"ssd": make_method("ssd"), "broken": Broken(), "unable": Unable()},
        strategies=chosen(["canary", "worst_case", "subclass"]),
        extent=SMALL,
    )
    return dataclasses.replace(made, **changes)


@cache
def made() -> Json:
    return stress(order(extent=dataclasses.replace(SMALL, parts=2)))


def schema() -> Json:
    folder = resources.files("forget_audit.reports") / "schemas"
    document: Json = json.loads((folder / "stress-1.json").read_text("utf-8"))
    return document


def without_times(found: Json) -> str:
    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(item) for key, item in value.items() if key != "seconds"}
        return [kept(item) for item in value] if isinstance(value, list) else value

    return json.dumps(kept(found))


# The document


def test_the_document_fits_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.Draft202012Validator(schema()).validate(made())


def test_unknown_keys_and_small_sets_do_not_fit() -> None:
    check = jsonschema.Draft202012Validator(schema())
    for change in ({"ids": ["digits-1"]}, {"size": {"low": 9, "high": 15}}):
        found = json.loads(json.dumps(made()))
        found["sets"][0] |= change
        assert list(check.iter_errors(found))


def test_no_id_and_no_text_of_an_error_leaves() -> None:
    text = json.dumps(made()) + markdown(made()) + table_of_numbers(made())
    ids = [name for number in range(2) for name in prepared()[0].rows.ids.tolist()]
    assert not [name for name in ids if f'"{name}"' in text or f" {name}" in text]
    assert "broke on" not in text
    assert "RuntimeError; the log says more" in text


def test_what_did_not_work_is_part_of_the_document() -> None:
    sets = {item["name"]: item for item in made()["sets"]}
    assert sets["subclass"]["status"] == "not applicable"
    assert "sub-class" in sets["subclass"]["reason"]
    assert sets["subclass"]["results"] == []
    states = {one["method"]: one["status"] for one in sets["random"]["results"]}
    assert states == {
        "original": "measured", "search": "measured", "ssd": "measured", "broken": "error",
        "unable": "not applicable",
    }  # fmt: skip
    planted = {one["method"]: one for one in sets["canary"]["results"]}
    assert planted["search"]["status"] == "not applicable"
    assert planted["ssd"]["n"] == 2
    assert broken(made())[0] == "random: broken: RuntimeError; the log says more"


def test_a_strategy_that_breaks_stops_no_other_but_a_leak_does() -> None:
    def breaks(*_: object) -> Any:
        raise FloatingPointError("row digits-7 is odd")

    def leaks(*_: object) -> Any:
        raise LeakageError("picked by its judge")

    def ordered(draw: Any) -> Order:
        bad = dataclasses.replace(chosen(["easiest"])[1], draw=draw)
        extent = dataclasses.replace(SMALL, seeds=1)
        return order(methods={}, strategies=(*chosen(["random"]), bad), extent=extent)

    found = stress(ordered(breaks))
    assert [item["status"] for item in found["sets"]] == ["measured", "error"]
    assert broken(found) == ["easiest: FloatingPointError; the log says more"]
    assert "digits-7" not in json.dumps(found)
    with pytest.raises(LeakageError):
        stress(ordered(leaks))


def test_sizes_counts_and_settings_are_stated() -> None:
    found = made()
    assert found["settings"]["references"] == 4
    assert found["rows"] == {"train": 150, "test": 80, "auxiliary": 60}
    assert {item["size"]["low"] for item in found["sets"] if item["n"]} == {15}
    assert [item["part"] for item in found["sets"]][-2:] == [1, 2]
    assert found["methods"][2]["settings"]["alpha"] is None


def test_random_sets_are_compared_with_nothing() -> None:
    first = made()["sets"][0]
    assert first["name"] == "random"
    assert all(gap is None for one in first["results"] for gap in one["harder"].values())


def test_the_same_order_gives_the_same_numbers_and_other_strategies_change_none() -> None:
    alone = stress(order(strategies=chosen(["worst_case"]), methods={"ssd": make_method("ssd")}))
    ours = {item["name"]: item for item in made()["sets"]}["worst_case"]
    theirs = alone["sets"][1]
    for name in ("original", "ssd"):
        pair = [next(one for one in item["results"] if one["method"] == name)
                for item in (ours, theirs)]  # fmt: skip
        assert pair[0]["measures"] == pair[1]["measures"]


# Pairs and intervals, by hand


def fake(values: dict[str, list[float]]) -> list[Found]:
    """Rounds in which one method has the given influence and efficacy on each set."""

    def one(value: float) -> Json:
        measures = dict.fromkeys(
            ("influence", "left", "forget_accuracy", "efficacy", "retain_accuracy",
             "test_accuracy", "tow", "mia_auc", "mia_excess"), value,
        )  # fmt: skip
        return {"status": "measured", "reason": "", "measures": measures, "flag": "beyond",
                "seconds": 0.0}  # fmt: skip

    return [
        Found(
            sets=[
                {"name": name, "status": "measured", "reason": "", "size": 15,
                 "set": {"effect": 0.1, "signal": True}, "facts": {},
                 "methods": {"original": one(1.0), "ssd": one(each[k])}, "seconds": 0.0}
                for name, each in values.items()
            ],
            rows={"train": 150, "test": 80, "auxiliary": 60},
            cpu_seconds=0.0,
        )
        for k in range(len(next(iter(values.values()))))
    ]  # fmt: skip


def compared(random: list[float], hard: list[float]) -> Json:
    found = document(
        plan=plan(),
        methods={"ssd": make_method("ssd")},
        strategies=chosen(["worst_case"]),
        extent=SMALL,
        rounds=fake({"random": random, "worst_case": hard}),
        seconds=0.0,
    )
    result: Json = next(one for one in found["sets"][1]["results"] if one["method"] == "ssd")
    return result


def test_differences_are_taken_within_seeds_and_harder_is_positive() -> None:
    result = compared([0.1, 0.5, 0.9], [0.3, 0.8, 1.0])
    gap = result["harder"]["influence"]
    assert gap["mean"] == pytest.approx(0.2)
    half = 4.302653 * 0.1 / 3**0.5
    assert (gap["low"], gap["high"]) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-5)
    assert gap["call"] == "not told apart"
    assert result["harder"]["efficacy"]["mean"] == pytest.approx(-0.2)


def test_calls_follow_the_interval() -> None:
    rising = compared([0.1, 0.5, 0.9], [0.3, 0.71, 1.09])["harder"]
    assert (rising["left"]["call"], rising["tow"]["call"]) == ("harder", "easier")
    assert compared([0.1], [0.3])["harder"]["influence"]["call"] == "one seed"


def test_spreads_of_few_values() -> None:
    assert spread([]) is None
    assert spread([None, None]) is None
    assert spread([0.5, None]) == {"mean": 0.5, "low": None, "high": None, "values": [0.5]}


# Broken runs


def test_a_broken_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = one_set
    calls: list[str] = []

    def stopping(strategy: Any, *rest: Any) -> Json:
        calls.append(strategy.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(strategy, *rest)

    small = order(
        strategies=chosen(["worst_case", "near_duplicates"]),
        methods={"ssd": make_method("ssd")},
        extent=dataclasses.replace(SMALL, seeds=1),
        memory=tmp_path,
    )
    monkeypatch.setattr("forget_audit.stress.running.one_set", stopping)
    with pytest.raises(KeyboardInterrupt):
        stress(small)
    assert len(list(tmp_path.rglob("*.json"))) == 2
    assert "digits-" not in "".join(path.read_text("utf-8") for path in tmp_path.rglob("*.json"))
    finished = stress(small)
    assert calls == ["random", "near_duplicates", "worst_case", "worst_case"]
    assert not list(tmp_path.rglob("*.json"))
    monkeypatch.setattr("forget_audit.stress.running.one_set", whole)
    assert without_times(finished) == without_times(stress(dataclasses.replace(small, memory=None)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 9), ("seeds", 0), ("references", 2), ("originals", 1), ("pairs", 1), ("parts", -1)],
)
def test_extents_that_are_too_small_are_refused(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        Extent(**{field: value})


# Pages


def test_pages_hold_the_numbers_of_the_document(tmp_path: Path) -> None:
    paths = write(made(), tmp_path)
    assert [path.suffix for path in paths] == [".json", ".md", ".csv", ".svg", ".png"]
    assert json.loads(paths[0].read_text("utf-8")) == made()
    rows = list(csv.DictReader(io.StringIO(paths[2].read_text("utf-8"))))
    cells = {(row["set"], row["method"], row["measure"]): row for row in rows}
    item = next(item for item in made()["sets"] if item["name"] == "worst_case")
    result = next(one for one in item["results"] if one["method"] == "ssd")
    row = cells["worst_case", "ssd", "left"]
    assert float(row["mean"]) == result["measures"]["left"]["mean"]
    assert float(row["harder_mean"]) == result["harder"]["left"]["mean"]
    assert ("worst_case", "broken", "left") not in cells
    assert paths[4].read_bytes().startswith(b"\x89PNG")


def test_the_page_says_what_it_is_not_and_what_did_not_work() -> None:
    text = markdown(made())
    assert "not the records of any request" in text
    assert "| subclass |  | not applicable: needs data that say" in text
    assert "| random | broken | error: RuntimeError; the log says more |" in text
    assert "## Transfer of the worst case" in text
    assert "PASS" not in text
    assert "Transfer" not in markdown(
        {**made(), "sets": [item for item in made()["sets"] if item["name"] != "worst_case"]}
    )


def test_the_short_table_has_a_line_a_strategy() -> None:
    found = lines(made())
    assert [line.split()[0] for line in found[1:]] == [
        "set", "random", "subclass", "canary", "worst_case",
    ]  # fmt: skip
    assert all(len(line) < 100 for line in found[1:])


def test_the_drawing_is_the_same_each_time() -> None:
    assert svg(made()) == svg(made())
    labels = [text.get_text() for text in figure(made()).axes[1].get_yticklabels()]
    assert labels == ["random", "canaries", "worst case"]
