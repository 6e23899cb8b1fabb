"""The PDF on paper: nothing blank, clipped, overprinted or outside the margins; size and time."""

import html as html_module
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.look.pages import document, folder, page, paper
from tests.look.structure import tree

ROOT = Path(__file__).resolve().parents[2]
RESOLUTION = 40  # dots an inch
POINT, MILLIMETRE = RESOLUTION / 72, RESOLUTION / 25.4
SIDE, TOP, BOTTOM = 18.0, 13.0, 19.0  # margins in mm, those of the style sheets; top: page one
FOOT = 4.0  # mm that even the running foot leaves free
A4 = (210.0, 297.0)
TINY = 2.0  # points; lower words are for the running foot, and not to be seen
NAME = "longest"
WORD = re.compile(
    r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*?)</word>'
)

pytestmark = pytest.mark.skipif(
    not shutil.which("pdftoppm") or not shutil.which("pdftotext"),
    reason="poppler-utils is not installed",
)


@cache
def pictures(name: str) -> tuple[NDArray[np.bool_], ...]:
    """Where there is ink on each page, coarsely."""
    target = folder() / f"{name}-paper"
    call = ["pdftoppm", "-r", str(RESOLUTION), "-gray", str(paper(name)), str(target)]
    subprocess.run(call, check=True)
    return tuple(map(ink, sorted(folder().glob(f"{name}-paper-*.pgm"))))


def ink(path: Path) -> NDArray[np.bool_]:
    kind, size, _, rest = path.read_bytes().split(b"\n", 3)
    assert kind == b"P5"
    width, height = map(int, size.split())
    return np.frombuffer(rest, np.uint8).reshape(height, width) < 245


@cache
def words(name: str) -> tuple[tuple[NDArray[np.float64], list[str]], ...]:
    """The box of each word of each page, in points from the upper left, and the words."""
    call = ["pdftotext", "-bbox", str(paper(name)), "-"]
    said = subprocess.run(call, capture_output=True, check=True).stdout.decode()
    found = []
    for part in said.split("<page ")[1:]:
        matches = [item for item in WORD.findall(part) if float(item[3]) - float(item[1]) > TINY]
        boxes = np.array([item[:4] for item in matches], dtype=float).reshape(-1, 4)
        found.append((boxes, [html_module.unescape(item[4]) for item in matches]))
    return tuple(found)


def test_no_page_is_blank_or_more_than_half_empty() -> None:
    top, bottom = (round(edge * MILLIMETRE) for edge in (TOP, A4[1] - BOTTOM))
    lowest = []
    for number, picture in enumerate(pictures(NAME), 1):
        inside = picture[top:bottom]
        assert inside.mean() > 0.01, f"page {number} is blank"
        lowest.append(np.flatnonzero(inside.any(axis=1)).max() / len(inside))
    assert all(share > 0.6 for share in lowest[:-1]), str(np.round(lowest, 2))


@pytest.mark.parametrize("name", [NAME, "hostile-3"])
def test_there_is_no_ink_in_the_margins(name: str) -> None:
    side, top, foot = (round(mm * MILLIMETRE) for mm in (SIDE - 1, TOP - 1, FOOT))
    for number, picture in enumerate(pictures(name), 1):
        if name.startswith("hostile"):
            picture = picture & ~watermark(picture.shape)
        strips = (picture[:, :side], picture[:, -side:], picture[:top], picture[-foot:])
        assert not any(strip.any() for strip in strips), f"{name}: page {number}"


def watermark(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the word for drafts may lie."""
    found = np.zeros(shape, dtype=bool)
    found[shape[0] // 5 : -shape[0] // 5] = True
    return found


def test_every_word_is_inside_the_page() -> None:
    for number, (boxes, texts) in enumerate(words(NAME), 1):
        low = np.array([SIDE, TOP - 1]) / 25.4 * 72 - 0.5
        high = np.array([A4[0] - SIDE, A4[1] - BOTTOM / 4]) / 25.4 * 72 + 0.5
        outside = ((boxes[:, :2] < low) | (boxes[:, 2:] > high)).any(axis=1)
        wrong = [texts[i] for i in np.flatnonzero(outside)]
        assert not wrong, f"page {number}"


def test_no_word_is_printed_over_another() -> None:
    for number, (boxes, texts) in enumerate(words(NAME), 1):
        low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=2)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        share = np.triu(shared / np.minimum.outer(area, area), 1)
        pairs = [(texts[i], texts[j]) for i, j in np.argwhere(share > 0.25)]
        assert not pairs, f"page {number}"


def test_no_heading_stands_alone_at_the_foot() -> None:
    titles = [item.text.strip() for item in tree(page(NAME)).all("h2")]
    foot = (A4[1] - BOTTOM) / 25.4 * 72
    for boxes, texts in words(NAME):
        line = " ".join(texts)
        last = boxes[boxes[:, 3] < foot][:, 3].max()
        for title in titles:
            parts = title.split()
            for start in range(len(texts) - len(parts)):
                heading = texts[start : start + len(parts)] == parts
                tall = boxes[start, 3] - boxes[start, 1] > 11
                assert not (heading and tall and boxes[start, 3] >= last - 1), line[-200:]


def test_page_one_is_one_page() -> None:
    root = tree(page(NAME))
    numbered = [item for item in root.all("h2") if item.children]
    front = [item.words().strip() for item in root.all("h2") if item not in numbered]
    first, second = (" ".join(texts) for _, texts in words(NAME)[:2])
    assert len(front) >= 4
    assert all(title in first for title in front)
    assert second.startswith(f"1 {numbered[0].text.strip()}")


def test_every_page_carries_identity_and_number() -> None:
    report = document(NAME)["report"]
    pages = words(NAME)
    for number, (_, texts) in enumerate(pages, 1):
        line = " ".join(texts)
        assert report["id"] in line
        assert "evidence" in line
        assert line.endswith(f"{number} / {len(pages)}")


def test_every_page_of_a_draft_says_so() -> None:
    name = "hostile-3"
    assert document(name)["report"]["status"] == "draft"
    for _, texts in words(name):
        assert "DRAFT" in " ".join(texts)
    for picture in pictures(name)[:3]:
        assert picture[watermark(picture.shape)].mean() > 0.02


def test_the_longest_report_is_small_and_quick() -> None:
    assert len(tree(page(NAME)).all("img")) >= 20
    assert page(NAME).stat().st_size < 2_000_000
    assert paper(NAME).stat().st_size < 2_000_000
    measure = f"from tests.look.pages import taken; print(taken({NAME!r}))"
    call = [sys.executable, "-c", measure]  # a process of its own: coverage slows this one down
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 1 < float(done.stdout) < 10
