"""The section of the report: what it says it is not, and the numbers of the document."""

import dataclasses
import json
import re

from forget_audit.reports import html, section_stress
from forget_audit.reports.view import Facts, Figure, Section, Table, Text
from forget_audit.types import Json
from tests.fixtures.bodies import all_tables, text_of
from tests.fixtures.evidence import evidence
from tests.fixtures.released import key
from tests.stress.test_running import made


def blocks(method: str | None = "ssd", found: Json | None = None) -> list[object]:
    own = None if method is None else {"name": method}
    return list(section_stress.stress({"stress": found or made(), "method": own}))


def changed(**changes: object) -> Json:
    found: Json = json.loads(json.dumps({**made(), **changes}))
    return found


def test_without_a_stress_test_there_is_no_section() -> None:
    assert section_stress.stress({"method": None}) == []


def test_the_section_says_that_these_are_other_sets_and_no_verdict() -> None:
    made_of = blocks()
    assert isinstance(made_of[0], Text)
    assert "not the records of this request" in made_of[0].paragraphs[0]
    assert "none is a verdict" in made_of[0].paragraphs[0]
    assert isinstance(made_of[1], Facts)
    assert not re.search(r"\bPASS\b|\bFAIL\b", text_of(made_of))
    assert made()["plan"]["digest"] in text_of(made_of)


def test_the_tables_hold_the_numbers_of_the_document() -> None:
    shares, harder = all_tables([part for part in blocks() if isinstance(part, Table)])
    sets = [item for item in made()["sets"] if item["n"] and not item["part"]]
    assert [row.cells[0].text for row in shares.rows] == [item["title"] for item in sets]
    ssd = next(one for one in sets[0]["results"] if one["method"] == "ssd")
    column = [cell.text for cell in shares.columns].index("ssd")
    shown = shares.rows[0].cells[column].text.replace("−", "-")
    assert float(shown) == round(ssd["measures"]["influence"]["mean"], 2)
    assert [row.cells[0].text for row in harder.rows] == ["canaries", "worst case"]
    assert all(cell.note for cell in harder.rows[0].cells[1:])
    for table in (shares, harder):
        for row in table.rows:
            assert len(row.cells) == len(table.columns)
            assert not [cell.text for cell in row.cells if re.search(r"(?:^|[ \[])-\d", cell.text)]


def test_differences_finer_than_two_places_are_not_shown() -> None:
    found = changed()
    for item in found["sets"]:
        for one in item["results"]:
            spread = one["measures"]["influence"]
            if spread is not None:
                spread |= {"mean": 2.4e-4, "low": -4e-4, "high": 1e-6}
    shares = next(all_tables([part for part in blocks(found=found) if isinstance(part, Table)]))
    column = [cell.text for cell in shares.columns].index("ssd")
    assert {row.cells[column].text for row in shares.rows} == {"0.00"}
    assert {row.cells[column].note for row in shares.rows} == {"[0.00, 0.00]"}
    assert not any("`" in row.cells[0].note for row in shares.rows)


def test_a_broken_method_is_not_measured() -> None:
    shares = next(all_tables([part for part in blocks() if isinstance(part, Table)]))
    column = [cell.text for cell in shares.columns].index("broken")
    assert {row.cells[column].text for row in shares.rows} == {"not measured"}


def test_all_methods_are_compared_if_the_audited_one_is_not_among_them() -> None:
    text = text_of(blocks(None))
    assert section_stress.ABSENT in text
    captions = [part.caption for part in blocks(None) if isinstance(part, Table)]
    assert [caption.split(":")[0].split()[-1] for caption in captions[1:]] == ["ssd"]
    assert section_stress.ABSENT not in text_of(blocks("ssd"))


def test_the_curve_has_its_numbers_and_words() -> None:
    figure = next(part for part in blocks() if isinstance(part, Figure))
    assert [row.cells[0].text for row in figure.numbers.rows] == ["part 1", "part 2"]
    assert "most memorised part" in figure.alternative
    assert not [part for part in blocks(found=changed(sets=made()["sets"][:4]))
                if isinstance(part, Figure)]  # fmt: skip


def test_one_repetition_and_random_sets_alone_can_be_shown() -> None:
    found = changed(sets=made()["sets"][:1])
    for one in found["sets"][0]["results"]:
        for spread in one["measures"].values():
            if spread is not None:
                spread |= {"low": None, "high": None}
    shown = blocks(found=found)
    assert len([part for part in shown if isinstance(part, Table)]) == 1


def test_the_page_takes_the_section_and_escapes_names() -> None:
    name = "<script>alert(1)</script>"
    found: Json = json.loads(json.dumps(made()).replace('"ssd"', json.dumps(name)))
    parts = section_stress.stress({"stress": found, "method": {"name": name}})
    section = Section(title="Stress test", anchor="stress", blocks=parts)
    view = html.build(evidence("FAIL"), html.signer_of(key()))
    view = dataclasses.replace(view, sections=(section,))
    page = html.page(view, medium="html", attestation=b"{}").decode()
    assert name not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<table") == 3
