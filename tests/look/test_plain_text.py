"""Text that cannot be seen is made visible; text that can be seen stays as it is."""

import unicodedata

import pytest
from markupsafe import Markup

from forget_audit.reports.plain_text import finalized, shown


@pytest.mark.parametrize(
    "text",
    [
        "Müller & Söhne GmbH, Straße 5 – “quoted”", "Société Générale : l’été", "株式会社 例",
        "שלום עולם", "مرحبا بالعالم", "می\u200cخواهم", "क्\u200dष", "e\u0301", "❤\ufe0f",
        "a\tb\nc\r\nd", "", "a\u00a0b\u202fc", "⟨U+202E⟩",
    ],
)  # fmt: skip
def test_what_can_be_seen_stays(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("invoice\u202efdp.exe", "invoice⟨U+202E⟩fdp.exe"),
        ("\x00", "⟨U+0000⟩"),
        ("a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"),
        ("PA\u200bSS", "PA⟨U+200B⟩SS"),
        ("\ufefftext", "⟨U+FEFF⟩text"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\ud800", "⟨U+D800⟩"),
    ],
)
def test_what_cannot_be_seen_is_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_nothing_that_steers_is_left() -> None:
    kept = {"\t", "\n", "\r"}
    for code in range(0x110000):
        letter = chr(code)
        steers = unicodedata.category(letter) in ("Cc", "Cs") or unicodedata.bidirectional(
            letter
        ) in ("LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        if steers and letter not in kept:
            assert shown(letter) == f"⟨U+{code:04X}⟩"


def test_markup_of_our_own_and_numbers_are_left_alone() -> None:
    assert finalized(Markup("<b>\u202e</b>")) == "<b>\u202e</b>"
    assert finalized(7) == 7
    assert finalized("\u202e") == "⟨U+202E⟩"
