"""The receipt for the person: plain, honest, on one page, and silent about everything else."""

import copy
import html as html_module
import io
import re
from dataclasses import replace
from typing import Any

import pytest

from forget_audit.errors import MissingDependency
from forget_audit.reports import html, html_signature, pdf, receipt, receipt_words
from forget_audit.reports.languages import LANGUAGES, catalogue
from forget_audit.reports.view import Section, Text
from forget_audit.types import Json
from tests.fixtures.evidence import complete, evidence
from tests.fixtures.released import key
from tests.reports.test_front import crowded
from tests.reports.test_page import HOSTILE, change, read, texts, undrawn, words_of

TOLD = {
    ("report", "id"), ("report", "controller"), ("report", "contact"), ("report", "authority"),
    ("report", "issued"), ("report", "retain_until"), ("report", "status"), ("report", "language"),
    ("request", "reference"), ("request", "received"), ("request", "due"), ("request", "erased"),
    ("parties", "auditor", "name"), ("parties", "auditor", "role"), ("verdict", "outcome"),
    ("method", "guarantee"), ("request", "scope"),
}  # fmt: skip


def text_of(document: Json, language: str = "en") -> str:
    """What a reader sees, in one line."""
    return words_of(receipt.page(document, language).decode())


def said(text: str, language: str) -> str:
    """A text in a language, in one line."""
    return words_of(catalogue(language)(text))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("outcome", "reasons", "answer"),
    [
        ("PASS", [], receipt_words.PASSED),
        ("PASS", ["TRIVIAL"], receipt_words.PASSED),
        ("FAIL", ["RESIDUAL", "UTILITY"], receipt_words.TRACES),
        ("FAIL", ["MASK"], receipt_words.TRACES),
        ("FAIL", ["EPSILON"], receipt_words.TRACES),
        ("FAIL", ["OVERFORGET"], receipt_words.CONSPICUOUS),
        ("FAIL", ["STREISAND", "RESIDUAL"], receipt_words.CONSPICUOUS),
        ("FAIL", ["UTILITY"], receipt_words.FAILED["UTILITY"]),
        ("FAIL", ["FIDELITY"], receipt_words.DIFFERS),
        ("FAIL", [], receipt_words.DIFFERS),
        ("INCONCLUSIVE", ["NO_SIGNAL", "RESIDUAL"], receipt_words.UNDECIDED),
    ],
)
def test_every_outcome_is_said_plainly_and_honestly(
    language: str, outcome: str, reasons: list[str], answer: str
) -> None:
    document = complete(outcome)
    document["verdict"]["reasons"] = reasons
    text = text_of(document, language)
    assert said(answer, language) in text
    others = {receipt_words.PASSED, receipt_words.UNDECIDED, receipt_words.DIFFERS,
              *receipt_words.FAILED.values()} - {answer}  # fmt: skip
    assert not [other for other in others if said(other, language) in text]
    symbol = {"PASS": "✓", "FAIL": "✕", "INCONCLUSIVE": "?"}[outcome]
    assert f"{symbol} {said(receipt_words.HEADINGS[outcome], language)}" in text
    asks = said("Please ask the controller what will be done next.", language) in text
    assert asks == (outcome != "PASS")


def test_it_says_who_when_what_and_what_remains() -> None:
    text = text_of(complete("FAIL"))
    for words in (
        "Controller Example Controller Ltd", "Contact privacy desk of Example Controller Ltd",
        "Reference REQ-7731", "Received 1 November 2026", "Answer due 1 December 2026",
        "Deleted 5 November 2026", "Checked 21 November 2026",
        "Checked by A. Auditor, privacy engineer, Example Controller Ltd",
        "the data named in your request were deleted on 5 November 2026.",
        "The model was changed by a procedure meant to remove what it had learnt from these data.",
        "Deleted as well: earlier versions of the model, add-on parts of the model, temporary "
        "copies of the data, search indexes made from the data and further ones (1).",
        "Kept: models developed further from it (due for retraining in December), backup copies "
        "(overwritten by March 2027; not restored).",
        "Not known what became of: smaller models that learnt from it (in the field; no way to "
        "call back), copies of the model.",
        "were told: Example Cloud GmbH (on 4 November 2026).", "were not told: Partner Clinic.",
        "kept until 21 November 2036",
        "for instance this one: Example Data Protection Authority, complaints desk.",
        "belongs to the audit report FA-20261121-3F9A1C of 21 November 2026.",
        "not a certification by an authority",
    ):  # fmt: skip
        assert words in text, words


def test_older_evidence_leaves_no_gap_unsaid() -> None:
    text = text_of(evidence("INCONCLUSIVE"))
    for words in (
        "Contact not stated", "Answer due not stated", "Deleted not stated",
        "Checked by the controller itself", "has not stated when",
        "how it did so was not part of the check",
        "Nothing is stated about copies, backups or other models",
        "Nothing is stated about others who had received the data.",
        "How long the full report is kept is not stated.",
        "for instance where you live, where you work",
    ):  # fmt: skip
        assert words in text, words
    document = complete()
    document["lineage"] = [item for item in document["lineage"] if item["kind"] != "backup"]
    assert "Nothing is stated about backup copies." in text_of(document)
    assert "Nothing is stated about backup copies." not in text_of(complete())


@pytest.mark.parametrize(
    ("guarantee", "words"),
    [("exact", "trained again, in full or in part"), ("none", "changed by a procedure meant to"),
     ("certified", "changed by a procedure meant to")],
)  # fmt: skip
def test_what_was_done_depends_on_the_kind_of_method(guarantee: str, words: str) -> None:
    document = complete()
    document["method"]["guarantee"] = guarantee
    assert words in text_of(document)
    assert "certified" not in text_of(document)


def test_what_the_audit_keeps_has_a_day_only_if_all_of_it_has() -> None:
    document = complete()
    assert "They are kept until 21 November 2036 at the latest." in text_of(document)
    document["retention"][0]["until"] = "until `forget-audit purge`"
    assert "They are kept until the controller destroys them" in text_of(document)
    document["retention"] = []
    assert "They are kept until the controller destroys them" in text_of(document)


def test_nothing_of_the_rest_of_the_evidence_reaches_it() -> None:
    document = complete("FAIL")
    left = ("kept", "unknown")
    explained = [i for i, item in enumerate(document["lineage"]) if item["fate"] in left]
    planted = 0
    for path in list(texts(document)):
        if path in TOLD or path[-1] in ("kind", "fate", "informed") or path[0] == "retention":
            continue
        if path[0] == "recipients" and path[-1] == "name":
            continue
        if path[0] == "lineage" and path[-1] == "detail" and path[1] in explained:
            continue
        change(document, path, f"CANARY-{planted}-DEADBEEF")
        planted += 1
    assert planted > 250
    for language in LANGUAGES:
        assert b"CANARY" not in receipt.page(document, language)


def test_no_number_of_the_audit_reaches_it() -> None:
    def shaken(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shaken(item) for name, item in value.items()}
        if isinstance(value, list):
            return [shaken(item) for item in value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return value + 17

    for outcome in ("PASS", "FAIL", "INCONCLUSIVE"):
        document = complete(outcome)
        assert shaken(document) != document
        assert receipt.page(shaken(document), "en") == receipt.page(document, "en")


@pytest.mark.parametrize("turn", range(len(HOSTILE)))
def test_hostile_text_stays_text(turn: int) -> None:
    document = complete("FAIL")
    for count, path in enumerate(texts(complete("FAIL"))):
        if path in TOLD and path[-1] not in ("outcome", "guarantee", "scope", "status", "issued"):
            change(document, path, HOSTILE[(turn + count) % len(HOSTILE)])
        if path[0] in ("lineage", "recipients") and path[-1] in ("name", "detail"):
            change(document, path, HOSTILE[(turn + count) % len(HOSTILE)])
    language = LANGUAGES[turn % 3]
    page = receipt.page(document, language).decode()
    plain, hostile = read(receipt.page(complete("FAIL"), language).decode()), read(page)
    assert set(hostile.tags) == set(plain.tags)
    assert hostile.tags.count("section") == plain.tags.count("section")
    assert not hostile.links
    assert not hostile.handlers
    if HOSTILE[2] == document["report"]["controller"]:
        assert HOSTILE[2] in html_module.unescape(page)
    assert page.count("</body>") == 1
    assert not re.search("[\u202a-\u202e\u2066-\u2069\r]", page)
    style = re.compile(r"<style>.*?</style>", re.S)
    assert style.findall(page) == style.findall(receipt.page(complete(), "en").decode())


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_runs_and_fetches_nothing_and_names_its_language(language: str) -> None:
    page = receipt.page(complete(), language).decode()
    assert f'<html lang="{language}">' in page
    assert "default-src 'none'" in page
    found = read(page)
    assert not {"script", "img", "link", "iframe", "object", "form", "a"} & set(found.tags)
    assert not re.search(r"url\(|@import", page)
    assert page.count('id="signature-field"') == 1
    assert receipt.page(complete(), language).decode() == page


def test_it_can_carry_its_own_signature() -> None:
    page = receipt.page(complete(), "fr")
    assert html_signature.split(html_signature.sign(page, key(), "FA-1"))[0] == page


def test_a_draft_says_so() -> None:
    document = complete()
    document["report"]["status"] = "draft"
    for language, word in (("en", "DRAFT"), ("de", "ENTWURF"), ("fr", "PROJET")):
        page = receipt.page(document, language).decode()
        assert f'data-word="{word}"' in page
        assert f"<strong>{word}</strong>" in page
        assert word not in receipt.page(complete(), language).decode()


def roomiest(language: str) -> Json:
    """Evidence of which the next word would call for the small print on page one."""
    document = undrawn(evidence("PASS"))
    document["report"]["controller"] = "Controller"
    while html.build(document, html.signer_of(key()), language).roomy:
        before = copy.deepcopy(document)
        document["report"]["controller"] += " and more"
    return before


@pytest.mark.parametrize(
    ("language", "outcome", "large"),
    [("de", "PASS", True), ("de", "FAIL", False), ("fr", "INCONCLUSIVE", False)],
)
def test_page_one_and_receipt_fit_one_page_each_at_their_longest(
    language: str, outcome: str, large: bool
) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    document = roomiest(language) if large else undrawn(crowded(outcome))
    view = html.build(document, html.signer_of(key()), language)
    assert view.roomy == large
    rest = Section(title="Rest", anchor="rest", blocks=[Text(paragraphs=("The rest.",))])
    note = receipt.page(document, language)
    try:
        made = pdf.render_papers(replace(view, sections=(rest,)), document, b"{}", note)
    except MissingDependency as error:
        pytest.skip(str(error))
    pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(made.report)).pages]
    assert len(pages) == 2
    assert "sha256sum" in pages[0]
    assert (
        catalogue(language)("Ledger") if large else f"{document['ledger']['root'][:16]}…"
    ) in pages[0]
    assert "The rest." in pages[1]
    assert made.places.tool.page == made.place.page == 0
    assert len(pypdf.PdfReader(io.BytesIO(made.receipt)).pages) == 1
