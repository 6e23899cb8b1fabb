"""The HTML page: what it says, what it must never do, and its own signature."""

import base64
import copy
import html as html_module
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest

from forget_audit.errors import VerificationError
from forget_audit.reports import html, html_signature, numbers
from forget_audit.reports.evidence import problems
from forget_audit.types import Json
from tests.fixtures.evidence import complete, evidence, without_figures
from tests.fixtures.released import folder, key


def undrawn(document: Json) -> Json:
    """The same evidence with nothing to draw."""
    return {**without_figures(document), "distributions": None}


def page_of(document: Json, language: str | None = None) -> str:
    view = html.build(document, html.signer_of(key()), language)
    return html.page(view, medium="html", attestation=b'{"payload":""}').decode()


def text_of(document: Json) -> str:
    """What a reader sees, in one line."""
    return words_of(page_of(undrawn(copy.deepcopy(document))))


def words_of(page: str) -> str:
    body = re.sub(r"<style>.*?</style>|<script.*?</script>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html_module.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_small_requests_are_given_as_a_band_without_curves() -> None:
    text = text_of(evidence("INCONCLUSIVE"))
    assert "fewer than 10 records" in text
    assert "7 records" not in text
    document = evidence("INCONCLUSIVE")
    document["attacks"][1]["series"] = evidence("PASS")["attacks"][1]["series"]
    assert "at the lower left" not in page_of(document).lower()
    assert "at the lower left" in page_of(evidence("PASS")).lower()


def test_every_attack_has_a_row_with_its_reason() -> None:
    text = text_of(evidence())
    for attack in evidence()["attacks"]:
        assert attack["title"] in text
    assert "asks for images, and these rows are a table – not applicable" in text
    assert "left out by the plan – not run" in text


def test_numbers_carry_a_true_minus_sign() -> None:
    assert numbers.signed(-0.25) == "−0.250"
    assert numbers.signed(0.25) == "+0.250"
    assert numbers.number(-0.0) == "0.000"
    assert numbers.number(None) == "—"
    assert numbers.percent_at_most(0.1201) == "13 %"
    assert numbers.percent_at_most(0.0501) == "5.1 %"
    assert numbers.percent_at_most(0.12) == "12 %"
    assert not re.search(r"[ \[>]-\d", re.sub(r'src="[^"]*"', "", text_of(evidence("FAIL"))))


@pytest.mark.parametrize("outcome", ["PASS"])
def test_equal_evidence_gives_equal_bytes(outcome: str) -> None:
    assert page_of(evidence(outcome)) == page_of(evidence(outcome))


class Reader(HTMLParser):
    """Collects tags and whatever could fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.kinds: list[str | None] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "background", "poster"):
                self.links.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)
            if tag == "script" and name == "type":
                self.kinds.append(value)


PICTURE = re.compile("data:image/svg[+]xml;base64,")


def inside(link: str) -> bool:
    """Whether a link leads nowhere but into the page itself."""
    return bool(PICTURE.match(link) or re.fullmatch("#[a-z-]+", link))


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_nothing_is_fetched_and_nothing_runs() -> None:
    reader = read((folder() / "report.html").read_text())
    assert all(map(inside, reader.links))
    assert reader.kinds == ["application/vnd.dsse+json"] * 2
    assert not reader.handlers
    assert not {"iframe", "object", "embed", "link", "base", "form"} & set(reader.tags)
    assert "default-src 'none'" in (folder() / "report.html").read_text()
    for link in filter(PICTURE.match, reader.links):
        drawing = base64.b64decode(link.partition(",")[2]).decode()
        assert "<script" not in drawing
        assert not re.search(r'href="(?!#)', drawing)


HOSTILE = (
    "<script>alert(1)</script>",
    "</style><h1>owned</h1>",
    "{{ 7*7 }}{% include 'x' %}",
    '<link rel="attachment" href="file:///etc/passwd">',
    "\"' onload=alert(1) x='",
    "<!-- forget-audit signature begin -->\n</body>\n",
    "\u202eRTL \u2066mixed\u2069 مرحبا",
    "$\\frac{x}{$ & <b>",
    "\r\nline\rbreaks\n",
    "W" * 1000,
)


def texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every text."""
    for name, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(item, str):
            yield (*path, name)
        elif isinstance(item, (dict, list)):
            yield from texts(item, (*path, name))


def change(document: Json, path: tuple[Any, ...], text: str) -> None:
    for name in path[:-1]:
        document = document[name]
    document[path[-1]] = text


@cache
def free_texts() -> tuple[tuple[Any, ...], ...]:
    """The paths of all texts that the schema leaves free."""
    found, document = [], complete("FAIL")
    for path in texts(complete("FAIL")):
        place = document
        for name in path[:-1]:
            place = place[name]
        before, place[path[-1]] = place[path[-1]], "free"
        if path[-1] not in ("name", "headline") and not problems(document):
            found.append(path)
        place[path[-1]] = before
    assert len(found) > 100
    return tuple(found)


def injected(turn: int) -> Json:
    """Evidence in which every text that the schema leaves free is hostile, each in its turn."""
    document = complete("FAIL")
    for count, path in enumerate(free_texts()):
        change(document, path, HOSTILE[(turn + count) % len(HOSTILE)])
    return document


@pytest.mark.parametrize("turn", range(len(HOSTILE)))
def test_hostile_text_stays_text(turn: int) -> None:
    document = injected(turn)
    assert document["report"]["controller"] in HOSTILE
    document["attacks"] = document["attacks"][turn % 4 :]
    plain = complete("FAIL")
    plain["attacks"] = plain["attacks"][turn % 4 :]
    language = ("en", "de", "fr")[turn % 3]
    page = page_of(undrawn(document), language)
    expected, hostile = read(page_of(undrawn(plain))), read(page)
    assert set(hostile.tags) <= {
        *expected.tags,
        "figure",
        "figcaption",
        "details",
        "summary",
        "img",
    }
    assert hostile.tags.count("h1") == 1
    assert hostile.kinds == expected.kinds
    assert not hostile.handlers
    assert all(map(inside, hostile.links))
    signed = html_signature.sign(page.encode(), key(), "FA-1")
    assert html_signature.split(signed)[0] == page.encode()
    assert "{{ 7*7 }}" in page
    assert not re.search("[\u202a-\u202e\u2066-\u2069\r]", page)
    style = re.compile(r"<style>.*?</style>", re.S)
    assert style.findall(page) == style.findall(page_of(undrawn(plain)))


def test_hostile_names_of_series_and_metrics_stay_text() -> None:
    document = evidence("FAIL")
    for attack in document["attacks"]:
        attack["title"] = HOSTILE[0]
        for curves in attack["series"].values():
            for line in curves.values():
                line["x_label"] = line["y_label"] = HOSTILE[7] + HOSTILE[0] + HOSTILE[9]
    reader = read(page_of(document))
    for link in filter(PICTURE.match, reader.links):
        assert "<script" not in base64.b64decode(link.partition(",")[2]).decode()


def test_the_page_verifies_itself() -> None:
    page = (folder() / "report.html").read_bytes()
    signed, _ = html_signature.split(page)
    assert len(signed) < len(page)
    audit = (folder() / "audit.dsse.json").read_bytes()
    assert html_signature.attestation_of(page) == audit


def stuffed(page: bytes) -> Iterator[bytes]:
    """Pages that hide something between or around the markers."""
    begin, end = html_signature.BEGIN, html_signature.END
    block = page[page.index(begin) : page.index(end) + len(end)]
    yield page.replace(begin, begin + b"\n<h1>PASS</h1>")
    yield page.replace(end, b"<h1>PASS</h1>\n" + end)
    yield page.replace(begin, b"<h1>PASS</h1>" + begin)
    yield page.replace(block, block + b"\n" + block)
    yield page.replace(b"<body>", b"<body>\n" + block)
    yield page.replace(block + b"\n", b"")
    yield page.replace(end + b"\n", b"")
    yield page.replace(begin, begin.upper())
    yield page.replace(begin, b"<!--forget-audit signature begin-->\nx\n" + begin)
    yield page + b"<h1>PASS</h1>"
    yield page.replace(b'id="signature">', b'id="signature" onload="x">')
    yield page.replace(b'"}]}</script>\n' + end, b'"}]}<b>x</b></script>\n' + end)
    yield page.replace(b"\n", b"\r\n")
    yield b""
    yield page[: len(page) // 2]


def test_stuffed_markers_are_refused() -> None:
    page = (folder() / "report.html").read_bytes()
    forgeries = list(stuffed(page))
    for number, forgery in enumerate(forgeries):
        assert forgery != page
        with pytest.raises(VerificationError, match="signature block"):
            pytest.fail(f"accepted {number}: {len(html_signature.split(forgery))}")
