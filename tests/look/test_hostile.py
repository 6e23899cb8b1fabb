"""Attacks in every free text of the evidence reach nothing but the eye."""

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from forget_audit.reports import html_signature
from forget_audit.reports.evidence import problems
from scripts.browser import asked_of_network, browser, program
from tests.look.hostile import HOST, SECRET, VARIANTS, allowed, free, fullest, hostile
from tests.look.pages import document, folder, key, page, paper, slip
from tests.look.structure import parse, tree

NAMES = tuple(f"hostile-{number}" for number in range(VARIANTS))
PRINTED = "hostile-3"
RAW = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]")
ADDED = "\f\u202a\u202b\u202c"  # by pdftotext, which marks pages and text from right to left
ACTIVE = (
    "[...document.querySelectorAll('*')].flatMap(item => [item.tagName, "
    "...[...item.attributes].map(one => item.tagName + ' ' + one.name)])"
)
# Where texts may stand in attributes; nothing there is an address or runs.
TEXTUAL = {"alt", "aria-label", "data-word"}


def usual() -> tuple[Path, ...]:
    return page("draft"), slip("draft")


def pages() -> tuple[Path, ...]:
    return (*map(page, NAMES), *(slip(name) for name in NAMES))


def test_every_text_that_the_schema_leaves_free_is_attacked() -> None:
    attacked = set(free(fullest(0)))
    assert not sorted(set(allowed()) - attacked)
    assert len(attacked) > 100


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_attacked_evidence_fits_its_schema(variant: int) -> None:
    made = hostile(variant, folder() / "secret")
    assert not problems(made)
    assert json.dumps(made).count(HOST) > 50


@pytest.mark.parametrize("name", NAMES)
def test_no_markup_comes_of_it(name: str) -> None:
    for kind in (page, slip):
        usual, attacked = tree(kind("draft")), tree(kind(name))
        assert {item.tag for item in attacked.all()} <= {item.tag for item in usual.all()}
        for item in attacked.all():
            for attribute, value in item.attributes.items():
                if attribute not in TEXTUAL:
                    assert HOST not in value
                    assert SECRET not in value
                if attribute in ("src", "href"):
                    assert value.startswith(("data:image/svg+xml;base64,", "#"))
                assert not attribute.startswith("on")
                assert attribute != "style"
        scripts = [item.attributes.get("type") for item in attacked.all("script")]
        assert scripts == [item.attributes.get("type") for item in usual.all("script")]


@pytest.mark.parametrize("name", NAMES)
def test_templates_in_texts_are_not_filled_in(name: str) -> None:
    text = tree(page(name)).words()
    assert "{{ 7*7 }}" in text or "${7*7}" in text
    assert "<class" not in text
    assert SECRET not in page(name).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_seen_is_shown_as_its_code(name: str) -> None:
    for path in (page(name), slip(name)):
        assert not RAW.search(path.read_text("utf-8"))
    text = tree(page(name)).words()
    assert "⟨U+202E⟩" in text
    assert "⟨U+0000⟩" in text


def test_the_page_still_signs_and_splits() -> None:
    for name in NAMES:
        data = page(name).read_bytes()
        assert html_signature.split(html_signature.sign(data, key(), "FA-1"))[0] == data


def test_a_page_that_did_contain_markup_would_be_noticed() -> None:
    text = page("draft").read_text("utf-8")
    for attack in ("<b>", "<script>x</script>", "<p onclick='x'>x</p>", "<!-- x -->"):
        root, trouble = parse(text.replace("<main>", f"<main>{attack}"))
        found = {(item.tag, *sorted(item.attributes)) for item in root.all()}
        usual = {(item.tag, *sorted(item.attributes)) for item in tree(page("draft")).all()}
        assert trouble or found - usual


@cache
def visited() -> tuple[dict[Path, dict[str, Any]], set[str]]:
    """What a browser makes of each page, and what it asked of the network."""
    log, found = folder() / "network.json", {}
    control = folder() / "control.html"
    control.write_text(
        "<title>x</title><link rel=dns-prefetch href='//ahead.invalid'>"
        "<img src='http://control.invalid/picture'><script>document.title = 'owned'</script>"
    )
    with browser(log) as window:
        for path in (control, *usual(), *pages()):
            window.open(path)
            found[path] = {
                "active": set(window.ask(ACTIVE)),
                "title": window.ask("document.title"),
                "events": [event["method"] for event in window.events],
                "asked": {
                    event["params"]["request"]["url"].partition(",")[0]
                    for event in window.events
                    if event["method"] == "Network.requestWillBeSent"
                },
            }
    return found, asked_of_network(log)


needs_browser = pytest.mark.skipif(not program(), reason="chromium is not installed")


@needs_browser
def test_a_browser_asks_the_network_for_nothing() -> None:
    found, asked = visited()
    assert {url for url in asked if "control.invalid" not in url} <= {
        "http://ahead.invalid", "https://ahead.invalid",
    }  # fmt: skip
    assert "http://control.invalid/picture" in asked
    for path in (*usual(), *pages()):
        assert found[path]["asked"] <= {path.as_uri(), "data:image/svg+xml;base64"}


@needs_browser
def test_a_browser_runs_nothing() -> None:
    found, _ = visited()
    expected = set().union(*(found[path]["active"] for path in usual()))
    assert found[folder() / "control.html"]["title"] == "owned"
    for path in pages():
        assert "owned" not in found[path]["title"]
        assert "Page.javascriptDialogOpening" not in found[path]["events"]
        assert "Page.frameAttached" not in found[path]["events"]
        assert found[path]["active"] <= expected


@cache
def reader() -> Any:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    return pypdf.PdfReader(io.BytesIO(paper(PRINTED).read_bytes()))


def things(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield every object of a PDF."""
    from pypdf.generic import IndirectObject

    if isinstance(value, IndirectObject):
        if value.idnum in seen:
            return
        seen.add(value.idnum)
        value = value.get_object()
    yield value
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from things(inner, seen)


def test_the_pdf_holds_no_action_address_or_file_of_theirs() -> None:
    objects = list(things(reader().trailer, set()))
    dictionaries = [item for item in objects if isinstance(item, dict)]
    assert len(dictionaries) > 500
    names = {str(name) for item in dictionaries for name in item}
    assert not names & {"/URI", "/JS", "/JavaScript", "/Launch", "/SubmitForm", "/RichMedia", "/AA"}
    actions = {str(item["/S"]) for item in dictionaries if item.get("/Type") == "/Action"}
    assert actions <= {"/GoTo"}
    files = [item for item in dictionaries if item.get("/Type") == "/Filespec"]
    assert sorted(item["/UF"] for item in files) == ["audit.dsse.json", "evidence.json"]


def test_the_pdf_holds_nothing_of_a_file_it_was_told_to_read() -> None:
    assert (folder() / "secret").read_text() == SECRET
    for item in things(reader().trailer, set()):
        if hasattr(item, "get_data"):
            assert SECRET.encode() not in item.get_data()


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_the_pdf_shows_what_cannot_be_seen() -> None:
    call = ["pdftotext", "-raw", str(paper(PRINTED)), "-"]
    text = subprocess.run(call, capture_output=True, check=True).stdout.decode()
    assert not RAW.search(text.translate(dict.fromkeys(map(ord, ADDED))))
    assert "U+202E" in text
    assert "U+0000" in text


def test_evidence_in_the_pdf_is_unchanged() -> None:
    attached = reader().attachments["evidence.json"][0]
    assert json.loads(attached) == document(PRINTED)
