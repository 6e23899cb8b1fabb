"""German and French: complete, with the same values in them, and nothing that is not used."""

import ast
import re
from functools import cache
from importlib import resources
from string import Formatter
from types import ModuleType

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from forget_audit.errors import ForgetAuditError
from forget_audit.reports import (
    glossary,
    headlines,
    html,
    languages,
    page_one,
    plain_words,
    receipt,
    receipt_words,
    sections,
    words,
)
from forget_audit.reports.languages import LABELS, RECORDS, Catalogue, catalogue
from forget_audit.types import Json
from tests.fixtures.evidence import complete, evidence, without_figures

SPEAKERS = (languages, page_one, headlines, plain_words, glossary, receipt, receipt_words, html,
            sections)  # fmt: skip
PLAIN, BOTH = ("t", "self", "message"), ("deleted", "about_deleted")
OTHERS = ("de", "fr")
ROOM = resources.files("forget_audit.reports")


def texts_in(module: ModuleType) -> list[str]:
    """Every text that a module says in the reader's language."""
    found = []
    source = (ROOM / f"{module.__name__.rpartition('.')[2]}.py").read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function, text = node.func, str(node.args[0].value)
            name = getattr(function, "attr", None) or getattr(function, "id", "")
            found += [text] * (name in PLAIN + BOTH)
            found += [text.replace(RECORDS, LABELS)] * (name in BOTH)
    return found


@cache
def messages() -> tuple[str, ...]:
    """Every text that page one, glossary and receipt can say."""
    return tuple(dict.fromkeys(text for module in SPEAKERS for text in texts_in(module)))


@cache
def file(language: str) -> Catalog:
    with (ROOM / "locale" / f"{language}.po").open("rb") as opened:
        return read_po(opened, locale=language, abort_invalid=True)


def names_in(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name)


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated_and_no_translation_is_left_over(language: str) -> None:
    known = catalogue(language).translations
    assert len(messages()) > 250
    assert not set(messages()) - set(known)
    assert not set(known) - set(messages())


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_fuzzy_empty_or_said_twice(language: str) -> None:
    entries = [entry for entry in file(language) if entry.id]
    assert not [entry.id for entry in entries if entry.fuzzy or not entry.string]
    source = (ROOM / "locale" / f"{language}.po").read_text("utf-8")
    assert source.count('\nmsgid "') == len(entries) + 1
    assert "#~" not in source


@pytest.mark.parametrize("language", OTHERS)
def test_translations_hold_the_same_values(language: str) -> None:
    for text, translation in catalogue(language).translations.items():
        assert names_in(translation) == names_in(text), text
        assert translation.strip() == translation
        assert text.endswith(".") == translation.endswith("."), text


@pytest.mark.parametrize("language", OTHERS)
def test_translations_are_no_english(language: str) -> None:
    alike = {text for text, said in catalogue(language).translations.items() if text == said}
    assert all(len(text) < 16 for text in alike), alike
    for said in catalogue(language).translations.values():
        assert not re.search(r"\b(the|records|which|with|about|models?)\b", said), said


def test_french_sets_its_marks_apart_and_quotes_as_it_should() -> None:
    for said in catalogue("fr").translations.values():
        assert not re.search(r"(?<![\u202f\u00a0])[;!?»]|[^\u00a0]:|«(?!\u00a0)|[“”'\"]", said), (
            said
        )


def test_german_quotes_as_it_should() -> None:
    for said in catalogue("de").translations.values():
        assert not re.search(r"[”\"«»]|“(?=\w)", said), said


def test_legal_terms_are_those_of_the_law() -> None:
    german, french = (" ".join(catalogue(name).translations.values()) for name in OTHERS)
    for term in ("Verantwortliche", "Auftragsverarbeiter", "Aufsichtsbehörde", "Löschung", "DSGVO"):
        assert term in german
    for term in ("responsable du traitement", "Sous-traitant", "autorité de contrôle", "effacement",
                 "RGPD"):  # fmt: skip
        assert term in french


class Strict(Catalogue):
    """Refuses to say what it has no translation for."""

    def __call__(self, text: str, **values: object) -> str:
        assert text in self.translations, text
        return super().__call__(text, **values)


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_said_that_was_not_collected(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Strict(language=language, translations=catalogue(language).translations)
    for module in (html, receipt):
        monkeypatch.setattr(module, "catalogue", lambda _: strict)
    for outcome in ("PASS", "FAIL", "INCONCLUSIVE"):
        for make in (evidence, complete):
            document = without_figures(make(outcome))
            document["verdict"]["reasons"] = list(plain_words.REASONS)
            for scope in ("instance", "class", "subclass", "attribute"):
                document["request"] |= {"scope": scope, "classes": [3]}
                for status in ("issued", "draft"):
                    document["report"]["status"] = status
                    page_one_alone(document)
                    receipt.page(document, language)


def page_one_alone(document: Json) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "body", lambda *_: ())
        html.build(document, None)


def test_a_missing_translation_is_shown_in_english() -> None:
    t = Catalogue(language="de", translations={"Key": "Schlüssel"})
    assert t("Key") == "Schlüssel"
    assert t("At most {share}", share="5 %") == "At most 5 %"


def test_values_are_never_read_as_patterns() -> None:
    t = catalogue("de")
    hostile = "{name.__class__} {0} {"
    assert t("{name}, {role}", name=hostile, role="x") == f"{hostile}, x"
    assert t.known(hostile) == hostile


def test_an_unknown_language_is_refused_by_name() -> None:
    with pytest.raises(ForgetAuditError, match="languages are en, de, fr; found 'it'"):
        catalogue("it")


@pytest.mark.parametrize(
    ("language", "day", "moment", "number", "share"),
    [
        ("en", "1 November 2026", "21 November 2026, 10:00 UTC", "−1 234.5", "5.1 %"),
        ("de", "1. November 2026", "21. November 2026, 10:00 Uhr UTC", "−1 234,5", "5,1 %"),
        ("fr", "1 novembre 2026", "21 novembre 2026 à 10:00 UTC", "−1 234,5", "5,1 %"),
    ],
)
def test_dates_and_numbers_follow_the_language(
    language: str, day: str, moment: str, number: str, share: str
) -> None:
    t = catalogue(language)
    said = [
        t.date("2026-11-01"), t.moment("2026-11-21T10:00:00Z"), t.number(-1234.5, 1),
        t.percent(0.0501, "up"),
    ]  # fmt: skip
    assert [re.sub(r"\s", " ", text) for text in said] == [day, moment, number, share]
    assert t.date("sometime {soon}") == "sometime {soon}"
    assert t.date(None) == t("not stated")


def test_shares_are_rounded_as_their_meaning_asks() -> None:
    t = catalogue("en")
    assert t.number(-0.0) == t.number(-0.4) == "0"
    assert t.number(None) == t.percent(None) == "—"
    assert t.percent(0.1201, "up") == "13\u00a0%"
    assert t.percent(0.12, "up") == "12\u00a0%"
    assert t.percent(0.999, "exact") == "99.9\u00a0%"
    assert t.percent(0.95, "exact") == "95\u00a0%"
    assert t.percent(0.125, "exact") == "12.5\u00a0%"
    assert t.percent(-0.3) == "−30\u00a0%"


def test_what_the_tool_itself_writes_into_free_texts_is_translated() -> None:
    for text in plain_words.KNOWN:
        assert catalogue("de").known(text) != text


def test_page_one_knows_the_measures_conditions_and_reasons_of_the_body() -> None:
    assert set(plain_words.MEASURES) == set(words.MEASURES)
    for name, measure in words.MEASURES.items():
        assert plain_words.MEASURES[name].lower() == measure.title.lower()


def test_the_glossary_has_short_entries_in_every_language() -> None:
    for language in ("en", *OTHERS):
        terms = glossary.terms(catalogue(language))
        assert 20 <= len(terms) <= 30
        assert len({term.label for term in terms}) == len(terms)
        assert all(20 < len(term.text) < 200 for term in terms)
        assert all(term.text.count(". ") <= 2 for term in terms)
