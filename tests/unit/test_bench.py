"""The benchmark: its numbers, its controls, its rows that could not be measured, its files."""

import csv
import dataclasses
import io
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import stats as distributions
from torch import nn

from forget_audit import registry, stats, whitebox
from forget_audit.bench.columns import METRICS
from forget_audit.bench.entries import CONTROLS, Entry, entries
from forget_audit.bench.inside import probe_auc
from forget_audit.bench.metrics import (
    Seen,
    ask,
    call_of_head,
    gap,
    head_interval,
    interval,
    measure,
)
from forget_audit.bench.plots import svg
from forget_audit.bench.requests import REQUESTS, Asked
from forget_audit.bench.running import Extent, bench
from forget_audit.bench.tables import html, markdown, shown, table_of_numbers, write
from forget_audit.bench.tries import Ground, attempt, prepare
from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable, UnknownName
from forget_audit.metering import metered
from forget_audit.methods.finetune import Finetune
from forget_audit.outputs import Derived, Outputs
from forget_audit.pools import Pool
from forget_audit.sources import loading as datasets
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.originals import needs_its_own, original_for
from forget_audit.types import Case, Features, Json, Labels, Scope, Trainer
from forget_audit.verdict import yardstick

NAMES = ("finetune", "ssd")
Measured = Callable[[str], Json]


def small(name: str) -> Asked:
    return dataclasses.replace(
        REQUESTS[name], sizes=(300, 300, 300), hidden=(32,), recipe=Recipe(epochs=15, lr=0.01)
    )


@pytest.fixture(scope="module", autouse=True)
def _few_draws() -> Iterator[None]:
    """Look inside models with fewer draws than in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whitebox, "PROBE_DRAWS", 8)
        patch.setattr(whitebox, "RELEARN_DRAWS", 1)
        yield


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Return the result of a small benchmark of a request; measured once."""
    found: dict[str, Json] = {}

    def once(name: str) -> Json:
        if name not in found:
            extent = Extent(methods=NAMES, seeds=2, references=6)
            found[name] = bench(name, small(name), extent)
        return found[name]

    return once


@pytest.fixture(scope="module")
def ground() -> Ground:
    return prepare(small("instance").case(), references=4, seeds=1, workers=1)


@pytest.fixture(scope="module")
def label_ground() -> Ground:
    return prepare(small("attribute").case(), references=3, seeds=1, workers=1)


def row(result: Json, name: str) -> Any:
    return next(row for row in result["rows"] if row["name"] == name)


def mean(result: Json, name: str, metric: str) -> float:
    return float(row(result, name)["metrics"][metric]["mean"])


# Numbers


def test_interval_is_that_of_student() -> None:
    values = [0.2, 0.5, 0.9, 0.4]
    expected = distributions.t.interval(
        0.95, 3, loc=np.mean(values), scale=distributions.sem(values)
    )
    assert interval(values) == pytest.approx(expected)
    assert interval([0.3]) is None
    assert interval([0.3, 0.3]) == (0.3, 0.3)


def answering(right_f: list[float], retain: list[float], test: list[float]) -> Seen:
    """Return models that are right on a share of ten forget rows, all of class 0."""
    logits = np.zeros((len(right_f), 10, 2))
    for k, share in enumerate(right_f):
        logits[k, :, 1] = np.where(np.arange(10) < round(10 * share), -1.0, 1.0)
    return Seen(
        outputs=Outputs(
            logits_f=logits,
            logits_t=logits,
            y_f=np.zeros(10, dtype=np.int64),
            y_t=np.zeros(10, dtype=np.int64),
            retain_accuracy=np.array(retain),
            test_accuracy=np.array(test),
        )
    )


def test_gap_is_the_mean_distance_of_three_accuracies() -> None:
    references = answering([0.0, 0.2], [1.0, 0.9], [0.8, 0.8])
    model = answering([0.5], [0.85], [0.9])
    assert gap(model, references) == pytest.approx((0.4 + 0.1 + 0.1) / 3)


def test_measures_of_rows_against_slow_references(ground: Ground) -> None:
    seen = ask([Target(ground.parents[0])], ground.case, 0)
    found = measure(seen, ground.references, ground.originals, "instance")
    derived = Derived.of(
        Outputs.concat(ground.references.outputs, ground.originals.outputs, seen.outputs)
    )
    r, last, n_f = len(ground.references), len(derived) - 1, derived.n_f
    slow = yardstick.primary_values(
        derived, last, np.arange(r), derived.take(np.arange(r, last)), "instance"
    )
    assert found["residual_influence"] == pytest.approx(slow["rho_p"])
    reference = derived.phi[:r]
    variance = reference.var(axis=0, ddof=1)
    spread = np.sqrt(((r - 1) * variance + 4 * variance.mean()) / (r + 3))
    z = (derived.phi[last] - reference.mean(axis=0)) / spread
    pairs = [(a > b) + 0.5 * (a == b) for a in z[:n_f] for b in z[n_f:]]
    assert found["zauc"] == pytest.approx(np.mean(pairs))
    fitted = registry.get_attack("loss_threshold")().fit(
        Pool(), ground.case, np.random.default_rng(0)
    )
    scores = fitted.score(Target(ground.parents[0]), np.random.default_rng(0))
    assert found["mia_auc"] == pytest.approx(stats.auc(scores.forget, scores.control))


def test_requests_measure_what_their_columns_say(measured: Measured) -> None:
    for name in ("class", "instance", "attribute"):
        result = measured(name)
        assert set(result["metrics"]) | set(result["not_measured"]) == set(METRICS)
        for one in result["rows"]:
            assert one["status"] == "measured", one["reason"]
            assert set(one["metrics"]) == set(result["metrics"])
            assert all(spread["mean"] is not None for spread in one["metrics"].values())
    assert "traces inside a model" in measured("instance")["not_measured"]["relearn"]["reason"]
    assert "no class to find" in measured("instance")["not_measured"]["probe"]["reason"]


def test_folded_measures_are_distances_from_one_half(measured: Measured) -> None:
    for one in measured("attribute")["rows"]:
        for name, folded in (
            ("head_auc", "head_folded"),
            ("balanced_accuracy", "balanced_folded"),
        ):
            values = one["metrics"][name]["values"]
            assert one["metrics"][folded]["values"] == pytest.approx([abs(v - 0.5) for v in values])


# The output of a label


def test_an_inverted_head_is_called_so_and_an_untaught_one_is_not() -> None:
    retrained = [0.2, 0.4, 0.7, 0.8]
    low, high, middle = (0.01, 0.03), (0.97, 0.99), (0.45, 0.55)
    assert call_of_head([0.02, 0.02, 0.03], [low] * 3, retrained) == "INVERTED"
    assert call_of_head([0.98, 0.98, 0.97], [high] * 3, retrained) == "remembers"
    assert call_of_head([0.5, 0.5, 0.5], [(0.5, 0.5)] * 3, retrained) == "says nothing"
    assert call_of_head([0.49, 0.52], [middle] * 2, retrained) == "says nothing"
    assert call_of_head([0.2, 0.8], [(0.15, 0.25), (0.75, 0.85)], retrained) == "scattered"
    # Two outputs below one half, as untaught ones often are: their mean is not shown to be.
    assert call_of_head([0.3, 0.45], [(0.25, 0.35), (0.42, 0.48)], retrained) == "scattered"
    # A single seed must lie beyond the retrained models.
    assert call_of_head([0.25], [(0.2, 0.3)], retrained) == "scattered"
    assert call_of_head([0.02], [low], retrained) == "INVERTED"
    assert call_of_head([0.98], [high], retrained) == "remembers"


def test_untaught_heads_are_seldom_called_inverted() -> None:
    rng, called = np.random.default_rng(0), 0
    for _ in range(2000):
        areas = np.clip(rng.normal(0.5, 0.2, 3), 0.01, 0.99).tolist()
        called += call_of_head(areas, [(a - 0.02, a + 0.02) for a in areas], []) == "INVERTED"
    assert called / 2000 < 0.035


def test_flipping_mirrors_the_head_and_its_interval(label_ground: Ground) -> None:
    case, parent = label_ground.case, label_ground.parents[0]
    flipped = CONTROLS["head flipped"].make(parent, case, np.random.default_rng(0))
    plain, turned = (ask([Target(m)], case, 0) for m in (parent, flipped))
    a, b = (
        measure(seen, label_ground.references, label_ground.originals, "attribute")
        for seen in (plain, turned)
    )
    assert a["head_auc"] == pytest.approx(1 - b["head_auc"])
    assert a["balanced_accuracy"] == pytest.approx(1 - b["balanced_accuracy"])
    assert a["forget_accuracy"] == pytest.approx(1 - b["forget_accuracy"])
    assert a["probe_auc"] == b["probe_auc"]
    low, high = head_interval(plain)
    assert head_interval(turned) == pytest.approx((1 - high, 1 - low))


class Lookup(nn.Module):
    """Features are the inputs; an output layer follows."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, width), nn.Linear(width, outputs)
        nn.init.eye_(self.first.weight)
        nn.init.zeros_(self.first.bias)

    def forward(self, x: Any) -> Any:
        return self.last(self.first(x))


def test_probe_reads_a_label_that_stands_in_the_features(label_ground: Ground) -> None:
    case = label_ground.case

    def marked(role: str, noise: float) -> Any:
        rows = getattr(case, role)
        x = np.random.default_rng(len(role)).normal(size=rows.x.shape)
        x[:, 5] = rows.y[:, case.attribute] * (1 - noise) + x[:, 5] * noise
        return dataclasses.replace(rows, x=x.astype(np.float32))

    roles = ("auxiliary", "test")
    target = Target(Lookup(64, 4))
    assert probe_auc(target, case.replace(**{r: marked(r, 0.0) for r in roles})) == 1.0
    assert abs(probe_auc(target, case.replace(**{r: marked(r, 1.0) for r in roles})) - 0.5) < 0.15


@pytest.mark.parametrize("scope", ["instance", "attribute"])
def test_a_model_built_otherwise_is_not_looked_into(
    scope: Scope, ground: Ground, label_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = ground if scope == "instance" else label_ground

    def wide(_model: nn.Module, case: Case, _rng: np.random.Generator) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, case.n_classes)).eval()

    control = dataclasses.replace(CONTROLS["do nothing"], make=wide)
    monkeypatch.setitem(CONTROLS, "do nothing", control)
    tried = attempt(Entry(name="do nothing", kind="control"), shared, 0)
    assert tried.notes == ("its model is built otherwise than the references: not looked inside",)
    assert {"retain_accuracy", "mia_auc", "gap"} <= set(tried.values)
    assert ("residual_influence" in tried.values) == (scope == "instance")
    assert not {"probe", "relearn", "probe_auc"} & set(tried.values)


@pytest.mark.parametrize("request_", ["class", "attribute"])
def test_relearning_breaks_on_no_model(request_: str) -> None:
    case = small(request_).case()
    assert case.trainer is not None
    model = case.trainer(case.retain.x, case.retain.y, 0)
    before = weights_digest(model)
    gentle = whitebox.relearn(Target(model), case, 0)
    assert weights_digest(model) == before
    assert 0 < gentle < 5
    for parameter in model.parameters():
        parameter.data *= 1e3
    assert np.isfinite(whitebox.relearn(Target(model), case, 0))


# Controls


def test_controls_show_what_they_must(measured: Measured) -> None:
    for name in ("class", "instance", "attribute"):
        result = measured(name)
        assert mean(result, "do nothing", "residual_influence") == pytest.approx(1, abs=0.3)
        assert mean(result, "reset to random", "residual_influence") < 0.3
        retrained = row(result, "retrain, another seed")["metrics"]["residual_influence"]
        assert abs(retrained["mean"]) < 0.25
        assert mean(result, "reset to random", "retain_accuracy") < 0.7
        normal = result["retrained"]["metrics"]["residual_influence"]
        assert abs(normal["mean"]) < 0.1
        assert [r["kind"] for r in result["rows"]][-2:] == ["method", "method"]


def test_silenced_and_flipped_heads_are_found_out(measured: Measured) -> None:
    result = measured("attribute")
    zeroed, flipped = row(result, "head row zeroed"), row(result, "head flipped")
    assert zeroed["head"]["call"] == "says nothing"
    assert zeroed["metrics"]["head_folded"]["values"] == [0.0, 0.0]
    assert flipped["head"]["call"] == "INVERTED"
    assert row(result, "do nothing")["head"]["call"] == "remembers"
    for name in ("residual_influence", "probe_auc"):
        same = row(result, "do nothing")["metrics"][name]["values"]
        assert zeroed["metrics"][name]["values"] == pytest.approx(same)
        assert flipped["metrics"][name]["values"] == pytest.approx(same)
    assert mean(result, "head flipped", "forget_accuracy") < 0.1


def test_controls_of_a_label_are_for_label_requests_alone() -> None:
    names = {scope: [entry.name for entry in entries(scope, ())] for scope in REQUESTS}  # type: ignore[arg-type]
    assert "head flipped" in names["attribute"]
    assert names["class"] == names["instance"] == names["subclass"]
    assert "head flipped" not in names["class"]
    with pytest.raises(UnknownName, match="did you mean 'ssd'"):
        entries("class", ("sdd",))


# Rows that could not be measured


class Broken(Finetune):
    info: ClassVar[MethodInfo] = dataclasses.replace(Finetune.info, name="broken")

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        raise AssertionError("<b>broke | half-way</b>")


class Narrow(Finetune):
    info: ClassVar[MethodInfo] = dataclasses.replace(Finetune.info, name="narrow")

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        raise NotApplicable("narrow serves nobody")


class Picky(Finetune):
    info: ClassVar[MethodInfo] = dataclasses.replace(
        Finetune.info, name="picky", needs=Finetune.info.needs | {"training", "log"}
    )

    def trainer(self, base: Trainer) -> Trainer:
        return base

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        assert case.log is not None
        return super().unlearn(model, case, rng)


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.methods()
    for kind in (Broken, Narrow, Picky):
        monkeypatch.setitem(registry._methods, kind.info.name, kind)


@pytest.fixture
def with_strange(strange: None) -> Json:
    extent = Extent(methods=("broken", "narrow", "picky"), seeds=1, references=3)
    return bench("instance", small("instance"), extent)


def test_what_goes_wrong_keeps_its_row(with_strange: Json) -> None:
    broken, narrow = row(with_strange, "broken"), row(with_strange, "narrow")
    assert (broken["status"], broken["n"]) == ("error", 0)
    assert broken["reason"] == "AssertionError: <b>broke | half-way</b>"
    assert (narrow["status"], narrow["reason"]) == ("not applicable", "narrow serves nobody")
    assert set(narrow["metrics"].values()) == {None}
    picky = row(with_strange, "picky")
    assert picky["status"] == "measured"
    assert any(note.startswith("training log of") for note in picky["notes"])
    assert picky["metrics"]["gap"]["low"] is None, "one seed has no interval"
    text = markdown(with_strange)
    assert "| narrow | not applicable: narrow serves nobody |" in text
    assert r"| broken | error: AssertionError: <b>broke \| half-way</b> |" in text
    assert "&lt;b&gt;broke" in html(with_strange)
    assert "<b>" not in html(with_strange)


def test_a_model_of_numbers_that_are_not_finite_is_an_error(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: nn.Module, case: Case, rng: np.random.Generator) -> nn.Module:
        spoilt = CONTROLS["reset to random"].make(model, case, rng)
        for parameter in spoilt.parameters():
            parameter.data.fill_(float("nan"))
        return spoilt

    control = dataclasses.replace(CONTROLS["do nothing"], make=spoil)
    monkeypatch.setitem(CONTROLS, "do nothing", control)
    assert "not finite" in attempt(Entry(name="do nothing", kind="control"), ground, 0).error


def test_the_same_in_processes_and_at_every_call(measured: Measured) -> None:
    once = measured("instance")
    extent = Extent(methods=(), seeds=2, references=6, workers=2)
    again = bench("instance", small("instance"), extent)
    for name in ("do nothing", "reset to random", "retrain, another seed"):
        for metric in ("residual_influence", "gap", "mia_auc"):
            expected = row(once, name)["metrics"][metric]["values"]
            found = row(again, name)["metrics"][metric]["values"]
            assert found == pytest.approx(expected, abs=1e-4)


# Originals and costs


def test_originals_hold_what_a_method_needs() -> None:
    case = small("instance").case()
    plain, same = original_for(Finetune(), case, 3)
    assert case.trainer is not None
    rows = case.training
    assert weights_digest(plain) == weights_digest(case.trainer(rows.x, rows.y, 3))
    assert same.log is None
    logged, with_log = original_for(Picky(), case, 3)
    assert weights_digest(logged) == weights_digest(plain)
    assert with_log.log is not None
    assert len(with_log.log.steps) == with_log.log.taken > 0
    assert (needs_its_own(Finetune.info), needs_its_own(Picky.info)) == (False, True)


def test_originals_say_what_is_missing() -> None:
    def other(x: Features, y: Labels, seed: int) -> nn.Module:
        raise RuntimeError("never called")

    case = small("instance").case()
    with pytest.raises(NotApplicable, match=r"found case\.trainer empty"):
        original_for(Finetune(), case.replace(trainer=None), 0)
    with pytest.raises(NotApplicable, match="use a RecipeTrainer"):
        original_for(Picky(), case.replace(trainer=other), 0)


def test_costs_count_work_and_memory() -> None:
    with metered() as idle:
        time.sleep(0.05)
    with metered() as busy:
        block = np.ones(8_000_000)
        started = time.process_time()
        while time.process_time() - started < 0.1:
            block[::512] += 1
    assert idle.cpu_seconds < 0.05 < 0.09 < busy.cpu_seconds < 1
    if busy.peak_mib is not None and idle.peak_mib is not None:
        assert idle.peak_mib < 30 < 60 < busy.peak_mib < 90


# Files


class Tags(HTMLParser):
    """Collects tables and checks that each is described."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag == "th":
            assert dict(attrs)["scope"] in ("row", "col")
        if tag == "img":
            assert dict(attrs)["alt"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_files_hold_the_same_numbers(measured: Measured, tmp_path: Path) -> None:
    result = measured("attribute")
    paths = write(result, tmp_path)
    assert [p.suffix for p in paths] == [".md", ".csv", ".html", ".svg", ".json"]
    assert all(p.stem == "bench-attribute" for p in paths)
    read = json.loads((tmp_path / "bench-attribute.json").read_text("utf-8"))
    assert read == result
    lines = list(csv.DictReader(io.StringIO(table_of_numbers(result))))
    assert [line["name"] for line in lines] == [r["name"] for r in read["rows"]]
    for line, one in zip(lines, read["rows"], strict=True):
        assert (line["kind"], line["status"], int(line["n"])) == (
            one["kind"], one["status"], one["n"],
        )  # fmt: skip
        assert json.loads(line["settings"]) == one["settings"]
        assert line["head_call"] == one["head"]["call"]
        for name, spread in one["metrics"].items():
            for key, end in (("mean", ""), ("low", "_low"), ("high", "_high")):
                assert float(line[f"{name}{end}"]) == spread[key]


def test_pages_say_how_much_was_measured_and_mark_controls(measured: Measured) -> None:
    result = measured("attribute")
    text = markdown(result)
    for words in (
        "mean over 2 seeds",
        "6 models retrained",
        "Data `digit_attributes`: 300 retain",
        "--request attribute --methods finetune,ssd --seeds 2 --references 6 --workers 1",
        "control: do nothing",
        "finetune (our extension)",
        "call of the output: INVERTED",
        "*retrained models* (6)",
    ):
        assert words in text
    sizes = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert min(sizes) >= 3
    tags = Tags()
    tags.feed(html(result))
    assert not tags.open
    assert tags.counts["table"] == tags.counts["caption"] == text.count("\n## ")


def test_drawing_is_the_same_each_time_and_names_every_row(measured: Measured) -> None:
    result = measured("class")
    drawing = svg(result)
    assert drawing == svg(json.loads(json.dumps(result)))
    assert ET.fromstring(drawing).tag.endswith("svg")  # noqa: S314  drawn by us
    assert all(r["name"] in drawing for r in result["rows"])


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (None, "n/a"),
        ({"mean": 0.5, "low": None, "high": None}, "0.500"),
        ({"mean": 0.5, "low": -0.25, "high": 1.25}, "0.500 (-0.250 to 1.250)"),
        ({"mean": 0.99987, "low": 0.0001, "high": 1.0}, "0.99987 (0.0001 to 1.000)"),
    ],
)
def test_numbers_hide_no_difference_from_none_and_all(spread: Json | None, text: str) -> None:
    assert shown(spread) == text


# The data


def test_digit_attributes_follow_from_the_digits() -> None:
    digits = datasets.load("digits", folder=Path()).rows
    made = datasets.load("digit_attributes", folder=Path())
    assert made.labels == ("even", "at least five", "has a loop", "prime")
    assert made.n_classes == 4
    assert np.array_equal(made.rows.ids, digits.ids)
    one = made.rows.y[np.flatnonzero(digits.y == 7)[0]]
    assert one.tolist() == [0, 1, 0, 1]
    assert made.rows.y[digits.y == 8][0].tolist() == [1, 1, 1, 0]


def test_requests_are_those_that_are_documented() -> None:
    sizes = {name: len(asked.case().forget) for name, asked in REQUESTS.items()}
    assert sizes["instance"] == 60
    assert sizes["attribute"] == 600
    assert 40 < sizes["class"] == sizes["subclass"] < 80
