"""What makes reports quick changes nothing in them."""

import copy
import io
import re
from xml.etree import ElementTree

import pytest
from weasyprint.pdf import pydyf

from forget_audit.reports import linter, tables
from forget_audit.reports.html import environment
from forget_audit.reports.pdf_process import pack_once
from tests.fixtures.bodies import all_figures, body_of, svg_of
from tests.fixtures.evidence import evidence


def written(*, packed: bool) -> bytes:
    pdf = pydyf.PDF()
    text = pydyf.Stream([b"q", 0.5, b"Q"], {"Type": "/Anything"}, compress=True)
    pdf.add_object(text)
    pdf.add_page(pydyf.Dictionary({"Type": "/Page", "Contents": text.reference}))
    pdf.info["Title"] = pydyf.String("two (2)")
    if packed:
        pack_once(None, pdf)
        assert {type(item).__name__ for item in pdf.objects[1:]} == {"Packed", "PackedStream"}
    out = io.BytesIO()
    pdf.write(out, b"1.7", b"0123456789abcdef", compress=True)
    return out.getvalue()


def test_objects_packed_once_make_the_same_file() -> None:
    assert written(packed=True) == written(packed=False)


def test_drawings_hold_no_group_that_is_a_name_alone_and_stay_whole() -> None:
    for figure in all_figures(body_of("longest")):
        for medium in ("light", "adaptive"):
            drawing = svg_of(figure, medium)
            ElementTree.fromstring(drawing)  # noqa: S314  drawn by us
            assert not re.search(r'<g id="[^"]*"/?>', drawing)
            assert 'stroke-linejoin="round"' in drawing
            assert "rotate(-0 " not in drawing


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "home/ann/rows.csv", "in (/srv/x)", "/workspace/a", "/Volumes/disk/a",
        r"C:\Users\ann\rows.csv", r"d:\\Users\\ann", r"C:\Documents and Settings\ann",
        "file:///etc/passwd", "FILE:/rows", "File://rows",
    ],
)  # fmt: skip
def test_every_kind_of_path_is_still_found(text: str) -> None:
    found = linter.scan({"a.txt": text.encode()}, {})
    assert {leak.what for leak in found} == {"path of a machine"}


@pytest.mark.parametrize("text", ["/homely/thing", "x/" + "home/ann", "profile: /a", "Users"])
def test_what_is_no_path_is_still_not_found(text: str) -> None:
    assert not linter.scan({"a.txt": text.encode()}, {})


def test_names_that_are_not_ours_may_break_anywhere_in_the_table_of_results() -> None:
    document = evidence()
    assert tables.results(document).name == "results usual"
    strange = copy.deepcopy(document)
    strange["statistics"][0]["name"] = "W" * 600
    assert tables.results(strange).name == "results"


def test_templates_are_compiled_once() -> None:
    assert environment() is environment()
    first = environment().get_template("report.html.j2")
    assert environment().get_template("report.html.j2") is first
