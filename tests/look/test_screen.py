"""The page in a browser: for eyes, keyboards, screen readers; narrow, wide, light, dark."""

import itertools
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import accessibility
from scripts.browser import Browser, Scheme, browser, program
from tests.look.pages import folder, page, slip
from tests.look.structure import Element, tree

SCHEMES: tuple[Scheme, ...] = ("light", "dark")
LANGUAGES = ("en", "de", "fr")
WIDE = (
    "[...document.querySelectorAll('main *, header *, footer *, nav *')]"
    ".filter(item => !item.closest('.scroll, .watermark') "
    "&& item.getBoundingClientRect().right > innerWidth + 1).map(item => item.outerHTML)"
)
CLIPPED = (
    "[...document.querySelectorAll('section > .scroll, figure > .scroll')]"
    ".filter(item => item.scrollWidth > item.clientWidth)"
    ".map(item => item.getAttribute('aria-label'))"
)
SHOWN = "getComputedStyle(document.querySelector('{}')).display"
INK = "getComputedStyle(document.body).color"
FOCUS = (
    "(() => { const one = document.activeElement, box = one.getBoundingClientRect(); return {"
    "tag: one.tagName, name: one.className, left: box.left, outline: "
    "getComputedStyle(one).outlineStyle}; })()"
)


def pages() -> tuple[Path, ...]:
    return (page("longest"), page("draft"), *(slip("longest", name) for name in LANGUAGES))


# Structure, which needs no browser


def test_headings_are_in_order_and_there_is_one_of_the_first_level() -> None:
    for path in pages():
        levels = [int(item.tag[1]) for item in tree(path).all("h1", "h2", "h3", "h4")]
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_landmarks_language_and_title() -> None:
    for path in pages():
        root = tree(path)
        assert len(root.all("main")) == 1
        assert root.all("html")[0].attributes["lang"] in LANGUAGES
        assert root.all("title")[0].text.strip()
    assert len(tree(page("longest")).all("nav")) == 1


def test_tables_have_captions_and_headers() -> None:
    tables = tree(page("longest")).all("table")
    assert len(tables) > 20
    for table in tables:
        assert table.all("caption")[0].words().strip()
        assert {item.attributes.get("scope") for item in table.all("th")} <= {
            "col", "row", "colgroup",
        }  # fmt: skip
        assert all(row.all("th") for row in table.all("tr"))


def test_every_picture_has_words_and_its_numbers_in_a_table() -> None:
    figures = tree(page("longest")).all("figure")
    assert len(figures) >= 20
    for figure in figures:
        [picture] = figure.all("img")
        assert len(picture.attributes["alt"]) > 30
        assert figure.all("figcaption")[0].words().strip()
        assert len(figure.all("details")[0].all("tr")) > 1


def test_contents_name_every_section_and_lead_there() -> None:
    root = tree(page("longest"))
    names = Counter(item.attributes["id"] for item in root.all() if "id" in item.attributes)
    assert set(names.values()) == {1}
    links = [item.attributes["href"] for item in root.all("a")]
    assert {link[1:] for link in links} <= set(names)
    listed = [item.text for item in root.all("nav")[0].all("a")]
    assert listed == [item.text.strip() for item in body(root).all("h2")]
    assert len(listed) >= 13


def body(root: Element) -> Element:
    return next(item for item in root.all("div") if item.attributes.get("id") == "details")


def test_what_scrolls_can_be_reached_by_keyboard_and_has_a_name() -> None:
    for item in tree(page("longest")).all("div"):
        if item.attributes.get("class") == "scroll":
            assert item.attributes["tabindex"] == "0"
            assert item.attributes["role"] in ("region", "group")
            assert item.attributes["aria-label"].strip()


def test_a_draft_says_so_and_a_report_does_not() -> None:
    assert "DRAFT" in tree(page("draft")).words()
    assert 'class="watermark"' in page("draft").read_text()
    assert 'class="watermark"' not in page("longest").read_text()
    assert 'class="draft"' not in page("longest").read_text()


# In a browser


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    if not program():
        pytest.skip("chromium is not installed")
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def axe() -> str:
    path = accessibility.at_hand()
    if path is None:
        pytest.skip("axe-core is not at hand: name it in AXE_CORE, or fetch it with "
                    "`python -m scripts.accessibility`")  # fmt: skip
    return path.read_text("utf-8")


def test_axe_finds_nothing_serious(window: Browser, axe: str) -> None:
    looks: dict[Path, tuple[tuple[int, Scheme], ...]] = {
        page("longest"): ((360, "light"),),
        page("draft"): ((360, "dark"), (1280, "light")),
        slip("longest", "de"): ((360, "light"), (360, "dark")),
    }
    for path, ways in looks.items():
        found = accessibility.check(window, path, axe, ways)
        assert found.rules > 20 * len(ways)
        assert not found.serious, "\n".join(accessibility.told(path, found))


def test_axe_would_find_something(window: Browser, axe: str) -> None:
    broken = folder() / "broken.html"
    text = page("draft").read_text("utf-8").replace(' alt="', ' data-alt="')
    broken.write_text(text.replace("--ink: #1f2937", "--ink: #cccccc"))
    found = accessibility.check(window, broken, axe, ((1280, "light"),))
    assert {"image-alt", "color-contrast"} <= {item.rule for item in found.serious}


def test_no_page_is_wider_than_its_window(window: Browser) -> None:
    for path in pages():
        window.open(path)
        for width, scheme in itertools.product((320, 360, 1280), SCHEMES):
            window.look(width, scheme)
            assert window.ask("document.documentElement.scrollWidth") <= width
            assert not window.ask(WIDE), (path.name, width)


def test_tables_fit_on_a_desk(window: Browser) -> None:
    for name in ("longest", "draft"):
        window.open(page(name))
        window.look(1280)
        assert not window.ask(CLIPPED)


def test_dark_is_dark(window: Browser) -> None:
    window.open(page("longest"))
    inks = []
    for scheme in SCHEMES:
        window.look(1280, scheme)
        inks.append(window.ask(INK))
    assert len(set(inks)) == 2
    window.look(1280, "dark", "print")
    assert window.ask(INK) == inks[0]


def test_printing_leaves_out_what_only_a_screen_needs(window: Browser) -> None:
    window.open(page("draft"))
    for medium, shown in (("screen", "block"), ("print", "none")):
        window.look(1280, "light", medium)  # type: ignore[arg-type]
        assert window.ask(SHOWN.format("nav")) == shown
        assert window.ask(SHOWN.format("details")) == shown
        assert window.ask(SHOWN.format(".watermark")) == "block"


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_page_one_is_one_page_when_the_browser_prints(window: Browser) -> None:
    window.open(page("longest"))
    window.look(1280, "dark")
    path = folder() / "printed.pdf"
    path.write_bytes(window.paper())
    call = ["pdftotext", "-layout", str(path), "-"]
    pages = subprocess.run(call, capture_output=True, check=True).stdout.decode().split("\f")
    titles = [item.words().strip() for item in tree(page("longest")).all("h2")]
    first = body(tree(page("longest"))).all("h2")[0].text.strip()
    assert all(title in pages[0] for title in titles[:4])
    assert first not in pages[0]
    assert pages[1].split()[0] == "1"
    assert first in pages[1]


def test_the_first_stop_of_the_keyboard_leads_past_page_one(window: Browser) -> None:
    window.open(page("longest"))
    window.look(1280)
    assert press(window, "Tab", 9)["name"] == "skip"
    found = window.ask(FOCUS)
    assert found["left"] >= 0
    assert found["outline"] != "none"
    press(window, "Enter", 13)
    assert window.ask("location.hash") == "#details"
    assert press(window, "Tab", 9)["name"] == "scroll"


def press(window: Browser, name: str, code: int) -> Any:
    text = {"text": "\r"} if name == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        window.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                    windowsVirtualKeyCode=code, **(text if kind == "keyDown" else {}))  # fmt: skip
    return window.ask(FOCUS)
