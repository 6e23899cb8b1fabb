"""Figures: words, numbers, letters, colours; and how long the longest report takes."""

import base64
import re

import pytest

from forget_audit.reports import canvas, drawings
from forget_audit.reports.evidence import problems
from tests.fixtures.bodies import (
    BODIES,
    all_figures,
    body_of,
    document_of,
    longest_report,
    svg_of,
    text_of,
)
from tests.fixtures.evidence import complete, evidence


@pytest.mark.parametrize(("kind", "outcome"), BODIES)
def test_figures_say_what_they_show_in_words_and_numbers(kind: str, outcome: str) -> None:
    for figure in all_figures(body_of(kind, outcome)):
        assert re.search(r"\d|none", figure.alternative), figure.alternative
        assert len(figure.alternative) > 60
        assert figure.caption.endswith(".")
        assert figure.numbers.rows
        assert not re.search(r"[ \[]-\d", figure.alternative)


@pytest.mark.parametrize(("kind", "outcome"), [("longest", "FAIL"), ("complete", "INCONCLUSIVE")])
def test_no_letter_is_smaller_than_seven_points_in_print(kind: str, outcome: str) -> None:
    for figure in all_figures(body_of(kind, outcome)):
        drawing = svg_of(figure)
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])  # type: ignore[index]
        inches = {"wide": canvas.WIDE, "half": canvas.HALF}[figure.width]
        assert width == pytest.approx(72 * inches)
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", drawing)]
        assert sizes
        assert min(sizes) >= 7


def test_every_colour_has_a_counterpart_for_dark_pages() -> None:
    for figure in all_figures(body_of("longest")):
        drawing = svg_of(figure, "adaptive")
        used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg_of(figure)))
        assert used <= set(canvas.DARK), used - set(canvas.DARK)
        assert "prefers-color-scheme:dark" in drawing
        assert "prefers-color-scheme" not in svg_of(figure)


def test_groups_are_told_apart_without_colour() -> None:
    drawings = [svg_of(figure) for figure in all_figures(body_of("complete"))]
    for name in ("original", "retrained", "audited"):
        assert any(name in drawing for drawing in drawings)
    dashed = [drawing for drawing in drawings if "stroke-dasharray" in drawing]
    assert len(dashed) >= 4


def test_drawings_name_nothing_outside_themselves() -> None:
    for figure in all_figures(body_of("longest")):
        drawing = svg_of(figure)
        assert "<!DOCTYPE" not in drawing
        assert not re.search(r'href="(?!#)', drawing)


def test_coordinates_are_rounded_and_words_are_not() -> None:
    with canvas.canvas(canvas.HALF, 1.0) as (axes, finish):
        axes.plot([0, 1 / 3], [0, 2 / 3])
        axes.set_xlabel("p = 0.123456")
        drawing = base64.b64decode(finish().light.partition(",")[2]).decode()
    assert "0.123456" in drawing
    places = re.findall(r"\d+\.(\d+)", " ".join(re.findall(r' d="([^"]*)"', drawing)))
    assert places
    assert max(map(len, places)) <= 2


@pytest.mark.parametrize(
    ("interval", "where"),
    [([-0.1, 0.1], "wholly inside"), ([0.1, 0.3], "partly outside"), ([-0.6, -0.4],
                                                                     "wholly outside")],
)  # fmt: skip
def test_the_alternative_text_says_where_the_interval_lies(
    interval: list[float], where: str
) -> None:
    document = evidence()
    document["statistics"][0]["interval"] = interval
    drawn = list(all_figures(drawings.overview(document)))
    assert f"Its interval lies {where} the margin of ±0.2." in drawn[0].alternative
    assert f"The interval of residual influence lies {where}" in drawn[1].alternative


def test_the_alternative_text_of_error_rates_compares_with_retrained_models() -> None:
    found = text_of(body_of("complete", "FAIL"))
    assert "are found in the audited model, above what retrained models show" in found
    assert "inside what retrained models show" in text_of(body_of("complete", "PASS"))


def test_score_distributions_are_drawn_with_their_overlap_and_all_their_numbers() -> None:
    document = document_of("complete", "FAIL")
    figure = next(f for f in all_figures(body_of("complete")) if "deleted" in f.alternative)
    audited, retrained = (document["distributions"]["forget"][k] for k in ("audited", "retrained"))
    overlap = sum(min(a, b) for a, b in zip(audited, retrained, strict=True))
    assert f"that of retrained models by {100 * overlap:.0f} %" in figure.alternative
    shown = [float(row.cells[2].text) for row in figure.numbers.rows]
    assert sum(shown) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("broken", ["edges", "audited", "originals"])
def test_distributions_that_do_not_fit_their_bins_are_not_drawn(broken: str) -> None:
    document = complete("PASS")
    found = document["distributions"]
    (found if broken == "edges" else found["forget"])[broken] = [0.0, 1.0]
    drawn = list(all_figures(drawings.overview(document)))
    assert len(drawn) == (4 if broken == "originals" else 2)


def test_what_lies_far_outside_is_pointed_at_and_does_not_squeeze_the_rest() -> None:
    document = evidence("FAIL")
    document["statistics"][0]["reference_sd"] = 1e-6
    figure = list(all_figures(drawings.overview(document)))[1]
    drawing = svg_of(figure)
    plain = svg_of(list(all_figures(drawings.overview(evidence("FAIL"))))[1])
    assert "60" not in re.findall(r">([^<>]+)</text>", drawing)
    assert drawing.count("<use") == plain.count("<use")  # an arrow in the place of the diamond
    assert figure.numbers.rows[0].cells[1].text == "412000.000"


def test_the_twin_is_drawn_beside_the_layers_and_not_again() -> None:
    captions = [figure.caption for figure in all_figures(body_of("longest"))]
    assert sum("The twin was trained on like" in caption for caption in captions) == 1
    assert sum(caption.startswith("Distance of the weights") for caption in captions) == 2


def test_the_longest_report_is_quick_and_light() -> None:
    assert not problems(document_of("longest", "FAIL"))
    _, page, seconds = longest_report()
    assert page.count(b"<img") >= 20
    assert len(page) < 2_000_000
    assert seconds < 10
