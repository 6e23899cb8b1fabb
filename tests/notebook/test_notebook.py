"""Tables, figures and progress for notebooks."""

import io
import json
import subprocess
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from forget_audit.errors import NotApplicable, UnknownName
from forget_audit.reports import figures
from forget_audit.reports.canvas import Plot
from forget_audit.types import Json
from forget_audit.views import notebook, plots
from forget_audit.views.shown import evidence_of
from tests.fixtures.evidence import complete as evidence

ROOT = Path(__file__).resolve().parents[2]
VOID = {"br", "hr", "img"}


class Strict(HTMLParser):
    """Collects text by tag; elements must be closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)


def parsed(text: str) -> Strict:
    found = Strict()
    found.feed(text)
    assert not found.open
    return found


class Finished:
    """An audit as far as tables and figures look at it."""

    def __init__(self, outcome: str) -> None:
        self.evidence: Json = evidence(outcome)


@pytest.mark.parametrize("outcome", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_a_table_says_verdict_reasons_measures_and_failed_conditions(outcome: str) -> None:
    found = evidence(outcome)
    text, page = notebook.table(found), parsed(notebook.html(found))
    shown = " ".join(page.texts)
    main = next(item for item in found["statistics"] if item["role"] == "primary")
    for place in (text, shown):
        assert outcome in place
        assert all(f"({code})" in place for code in found["verdict"]["reasons"])
        assert f"{main['estimate']:.3f}".replace("-", "\N{MINUS SIGN}") in place
        assert f"{main['margin']:g}" in place
        failed = [gate for gate in found["gates"] if gate["outcome"] == "fail"]
        assert ("Conditions that are not met" in place) == bool(failed)
    assert {attack["title"] for attack in found["attacks"] if attack["metrics"]} <= set(page.texts)
    assert page.tags <= {
        "style", "div", "p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td",
        "small", "em", "details", "summary",
    }  # fmt: skip
    assert max(map(len, text.splitlines())) <= 120


def test_measures_that_fail_the_audit_are_shown_and_others_are_not() -> None:
    found = evidence("FAIL")
    secondary = [item for item in found["statistics"] if item["role"] == "secondary"]
    for item in secondary:
        item["outcome"] = "informative"
    secondary[0]["outcome"] = "fail"
    page = parsed(notebook.html(found))
    told = [text for text in page.texts if any(text.startswith(f"{i['name']}:") for i in secondary)]
    assert [text.partition(":")[0] for text in told] == [secondary[0]["name"]]


def test_hostile_texts_are_escaped() -> None:
    found = evidence("FAIL")
    found["attacks"][0] |= {"title": "<script>alert(1)</script>", "perfect": "<b>"}
    found["gates"][0] |= {"outcome": "fail", "detail": "<img src=x onerror=y>"}
    page = parsed(notebook.html(found))
    assert not page.tags & {"script", "img", "b"}
    assert "<img src=x onerror=y>" in page.texts


def test_long_texts_of_a_cell_go_on_below() -> None:
    found = evidence("FAIL")
    found["gates"] = [{"code": "NO_SIGNAL", "outcome": "fail", "detail": "word " * 30}]
    table = notebook.table(found).split("Conditions that are not met\n")[1].split("\n\n")[0]
    rule, head, other, *rows = table.splitlines()
    assert rule == other
    assert head.split() == ["Condition", "Found", "Outcome"]
    assert max(map(len, rows)) <= len(rule)
    assert sum(row.count("word") for row in rows) == 30


# Figures

DRAWN = [
    (plots.influence, ()),
    (plots.statistics, ()),
    (plots.log_odds, ("forget",)),
    (plots.log_odds, ("test",)),
    (plots.by_class, ()),
    (plots.roc, ("lira",)),
]


@pytest.mark.parametrize(
    ("draw", "arguments"), DRAWN, ids=[f"{d.__name__}-{'-'.join(a)}" for d, a in DRAWN]
)
def test_figures_are_those_of_the_report_and_show_by_themselves(
    draw: Any, arguments: tuple[str, ...]
) -> None:
    figure = draw(Finished("FAIL"), *arguments)
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_title(loc="left")
    assert figure.axes[0].get_xlabel()
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    assert isinstance(figure, Plot)
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5000


def test_figures_hold_the_numbers_of_the_evidence() -> None:
    found = evidence("FAIL")
    axes = plots.influence(found).axes[0]
    clouds = [np.asarray(dots.get_offsets())[:, 0].tolist() for dots in axes.collections]
    for group in ("originals", "retrained", "audited"):
        assert found["cloud"]["rho_p"][group] in clouds
    main = next(item for item in found["statistics"] if item["name"] == "rho_p")
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert band.width == pytest.approx(2 * main["margin"])


def test_what_the_report_draws_does_not_change() -> None:
    before = figures.influence(evidence("FAIL"))
    plots.influence(evidence("FAIL"))
    assert figures.influence(evidence("FAIL")) == before


def test_small_requests_keep_their_secrets() -> None:
    small = evidence("INCONCLUSIVE")
    with pytest.raises(NotApplicable, match="fewer than 10 records"):
        plots.log_odds(small)
    with pytest.raises(NotApplicable, match="fewer than 10 records"):
        plots.roc(small, "lira")
    assert plots.influence(small).axes


def test_what_cannot_be_drawn_is_said() -> None:
    found = evidence("PASS")
    with pytest.raises(UnknownName, match="did you mean 'lira'"):
        plots.roc(found, "lyra")
    with pytest.raises(UnknownName, match="part"):
        plots.log_odds(found, "retain")  # type: ignore[arg-type]
    bare = {**found, "cloud": {}, "statistics": [], "side_effects": {"groups": []}}
    del bare["distributions"]
    nothing: tuple[Any, ...] = (plots.influence, plots.statistics, plots.by_class, plots.log_odds)
    for draw in nothing:
        with pytest.raises(NotApplicable):
            draw(bare)
    empty = next(item for item in found["attacks"] if not item["series"])
    with pytest.raises(NotApplicable, match="has no error rates"):
        plots.roc(found, empty["name"])
    with pytest.raises(UnknownName, match="curve of"):
        plots.curve(found, empty["name"], "relearn")


def test_curves_of_attacks_are_drawn() -> None:
    found = evidence("FAIL")
    named = [(a["name"], n) for a in found["attacks"] for n in a["series"] if n != "roc"]
    assert named
    for attack, name in named:
        assert plots.curve(found, attack, name).axes[0].lines


def test_nothing_heavy_is_imported() -> None:
    heavy = ("matplotlib.pyplot", "IPython", "torch", "mlflow")
    code = (
        "import sys, json\n"
        "from forget_audit.views import mlflow_log, notebook, plots\n"
        "found = json.load(sys.stdin)\n"
        "plots.influence(found)._repr_png_(); notebook.html(found); notebook.watch(1)\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=json.dumps(evidence("PASS")),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


def test_evidence_and_audits_are_taken_alike() -> None:
    audit = Finished("PASS")
    assert evidence_of(audit) is audit.evidence
    assert evidence_of(audit.evidence) is audit.evidence
    assert notebook.table(audit) == notebook.table(audit.evidence)


# Progress


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_say_how_far_and_how_long() -> None:
    stream, clock = io.StringIO(), Clock()
    with notebook.Lines(stream, clock).stage("training", 4) as step:
        for _ in range(4):
            clock.now += 20
            step(1)
    assert stream.getvalue().splitlines() == [
        "training: 1 of 4, about 60 s left",
        "training: 2 of 4, about 40 s left",
        "training: 3 of 4, about 20 s left",
        "training: done in 80 s",
    ]


def test_quick_stages_take_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with notebook.Lines(clock=clock).stage("unlearning", 2) as step:
        step(1)
        step(1)
    assert capsys.readouterr().out == "unlearning: done in 0.00 s\n"


def test_a_stage_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), notebook.Lines().stage("training", 3):
        _ = 1 / 0
    assert capsys.readouterr().out == ""


class Pages:
    """Stands in for `IPython.display`, and keeps what it was told to show."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def HTML(self, text: str) -> str:
        return text

    def display(self, item: str, *, display_id: bool) -> "Pages":
        assert display_id
        self.shown.append(item)
        return self

    def update(self, item: str) -> None:
        self.shown.append(item)


def test_a_bar_is_drawn_in_one_place_and_ends_as_a_line() -> None:
    pages, clock = Pages(), Clock()
    with notebook.Bar(pages, clock).stage("a < b", 2) as step:
        step(1)
        clock.now += 1
        step(1)
    first, drawn, last = pages.shown
    assert 'value="0" max="2"' in first
    assert "a &lt; b" in first
    assert 'value="2" max="2"' in drawn
    assert last == "a &lt; b: done in 1.00 s"


def test_who_shows_progress_depends_on_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(notebook.watch(0)).__name__ == "Silent"
    assert isinstance(notebook.watch(), notebook.Lines)
    shell: Any = types.ModuleType("IPython")
    shell.get_ipython = lambda: None
    pages: Any = types.ModuleType("IPython.display")
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", pages)
    assert isinstance(notebook.watch(), notebook.Lines)
    shell.get_ipython = lambda: types.SimpleNamespace()
    assert isinstance(notebook.watch(), notebook.Lines)
    shell.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    assert isinstance(notebook.watch(), notebook.Bar)
