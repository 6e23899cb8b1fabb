"""The pages on methods are what the code says of them: none out of date, none too many."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from forget_audit.contracts import MethodInfo
from scripts import card_text, cards, method_cards
from scripts.tables import ROOT

INFO = MethodInfo(
    name="stub",
    title="A stub",
    card="M99",
    paper="arXiv:1234.56789",
    needs=frozenset({"forget", "log"}),
    scopes=frozenset({"instance", "attribute"}),
    adapted=frozenset({"attribute"}),
    guarantee="none",
    summary="Does nothing.",
    presets={"paper": {"size": [1, 2]}},
    errata=("E2",),
)


@dataclass(frozen=True, kw_only=True)
class Stub:
    """Do nothing.

    Args:
        size: How much of nothing, in two
            numbers.

    Raises:
        ValueError: Never.

    References:
        Nobody (2026), On Nothing. One page, https://example.org/a_b.
        Somebody et al.
        (2026), More, arXiv:1234.56789.

    Departures:
        None. Verification: against nothing.
    """

    info: ClassVar[MethodInfo] = INFO
    size: tuple[int, int] | None = None


def test_pages_are_up_to_date_and_there_is_none_too_many() -> None:
    assert cards.stale() == [], "run `make tables`"


def test_stale_missing_and_left_over_pages_are_found_and_mended(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    cards.stale(tmp_path, write=True)
    (tmp_path / cards.METHODS / "gone.md").write_text("left over", encoding="utf-8")
    (tmp_path / cards.METHODS / "scrub.md").unlink()
    (tmp_path / f"{cards.METHODS}.md").write_text("old", encoding="utf-8")
    wrong = [f"{cards.METHODS}/gone.md", f"{cards.METHODS}.md", f"{cards.METHODS}/scrub.md"]
    assert cards.stale(tmp_path) == cards.stale(tmp_path, write=True) == wrong
    assert cards.stale(tmp_path) == []


def test_a_page_shows_card_settings_presets_and_sources() -> None:
    text = method_cards.page(Stub, {"E2": "Statement, & proof"})
    assert "| Reads | forget rows |" in text
    assert "| Needs besides | a log of the training |" in text
    assert "| Requests | single rows, attributes (○ our adaptation) |" in text
    assert "[E2 Statement, & proof](../errata.md#e2-statement--proof)" in text
    assert (
        "| `size` | list of 2 whole numbers or none | none | How much of nothing, in two numbers. |"
        in text
    )
    assert "| `paper` | `size = [1, 2]` |" in text
    assert "- `ValueError`: Never." in text
    assert "## How it was checked\n\nAgainst nothing." in text
    assert "- Nobody (2026), On Nothing. One page, <https://example.org/a_b>.\n- Some" in text
    assert "et al.\n  (2026), More, [arXiv:1234.56789](https://arxiv.org/abs/1234.56789)." in text


def test_the_index_tells_our_adaptations_from_published_scopes() -> None:
    row = next(
        line for line in method_cards.index([INFO], {"E2": "X"}).splitlines() if "M99" in line
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:5] == ["●", "–", "–"]
    assert cells[6:11] == ["●", "–", "–", "○", "–"]
    assert cells[-1] == "[E2](errata.md#e2-x)"


def test_unknown_errata_settings_without_meaning_and_odd_types_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found no entry E2 in docs/errata\.md"):
        method_cards.page(Stub, {})
    with pytest.raises(ValueError, match="Stub: the docstring does not say what size means"):
        card_text.settings(Stub, "epochs: Passes.")
    with pytest.raises(ValueError, match="found no words for settings of type"):
        card_text.words(bytes)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (bool, "true or false"),
        (float | None, "number or none"),
        (Literal["a", "b", "c"], "`a`, `b` or `c`"),
        (Literal["a"], "`a`"),
        (tuple[int, ...], "list of whole numbers"),
        (tuple[Literal["a", "b"], ...], "list of `a` or `b`"),
    ],
)
def test_types_in_words(kind: object, expected: str) -> None:
    assert card_text.words(kind) == expected


def test_errata_are_numbered_without_a_gap_and_say_what_is_done_here() -> None:
    text = (ROOT / method_cards.ERRATA).read_text("utf-8")
    assert list(cards.headings(text)) == [f"E{k}" for k in range(1, 49)]
    assert len(re.findall(r"^### E", text, re.MULTILINE)) == 48
    for entry in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        marks = re.findall(r"^- \*(\w+):\*", entry, re.MULTILINE)
        assert marks in (["Stated", "Wrong", "Here"], ["Stated", "Open", "Here"]), entry[:40]


def test_errata_are_checked_under_numbers_that_exist() -> None:
    known = cards.headings((ROOT / method_cards.ERRATA).read_text("utf-8"))
    tests = (ROOT / "tests/exact/test_errata.py").read_text("utf-8")
    cited = {f"E{n}" for line in re.findall(r"def test_(\w+)", tests) for n in _numbers(line)}
    assert cited <= set(known)


def _numbers(name: str) -> list[str]:
    return re.findall(r"(?:^|_)e(\d+)", name)
