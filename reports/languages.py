"""The reader's language: English texts are the keys, catalogues hold German and French.

Catalogues are plain `.po` files that Babel reads when they are needed, so nothing is compiled and
translators work with their usual tools. A text that a catalogue lacks is shown in English. Dates
and numbers follow the Unicode locale data.
"""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import Literal

from babel.dates import format_date
from babel.messages.pofile import read_po
from babel.numbers import get_decimal_symbol

from forget_audit.errors import ForgetAuditError
from forget_audit.reports.numbers import DASH, MINUS, THIN

LOCALES: Mapping[str, str] = {"en": "en_GB", "de": "de_DE", "fr": "fr_FR"}
LANGUAGES = tuple(LOCALES)
SOURCE = "en"
RECORDS, LABELS = "deleted records", "deleted labels"
Rounding = Literal["near", "up", "exact"]
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Speaks one language.

    Args:
        language: `en`, `de` or `fr`.
        translations: English text to its translation; empty for English.
    """

    language: str
    translations: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, text: str, **values: object) -> str:
        """Return `text` in this language with `values` in the place of `{names}`."""
        return self.known(text).format(**values)

    def known(self, text: str) -> str:
        """Return the translation of `text`, or `text` as it is: braces in it mean nothing."""
        return self.translations.get(text) or text

    def deleted(self, text: str, *, labels: bool, **values: object) -> str:
        """Return a text about the deleted records; about their labels if only those go."""
        return self(text.replace(RECORDS, LABELS) if labels else text, **values)

    def date(self, text: str | None) -> str:
        """Return an ISO date as `1 November 2026`; text that is none as it is."""
        if not text:
            return self("not stated")
        with contextlib.suppress(ValueError):
            day = date.fromisoformat(text)
            return format_date(day, "long", LOCALES[self.language]).replace(" ", NO_BREAK)
        return text

    def moment(self, text: str) -> str:
        """Return an ISO 8601 time in UTC as `21 November 2026, 10:00 UTC`."""
        at = datetime.fromisoformat(text)
        return self("{date}, {time} UTC", date=self.date(at.date().isoformat()), time=f"{at:%H:%M}")

    def number(self, value: float | None, places: int = 0) -> str:
        """Return a number with a true minus sign and its thousands apart."""
        if value is None:
            return DASH
        text = f"{value:,.{places}f}"
        text = text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
        mark = get_decimal_symbol(LOCALES[self.language])
        return text.replace("-", MINUS).replace(",", THIN).replace(".", mark)

    def percent(self, share: float | None, how: Rounding = "near") -> str:
        """Return a share in percent.

        Args:
            share: 1 is all of it.
            how: `near` to the next whole number; `up` so that a bound stays true, finer when it is
                small; `exact` with all its places, for what was fixed beforehand.
        """
        if share is None:
            return DASH
        scaled, places = round(100 * share, 6), 0
        if how == "up":
            places = 1 if share < 0.1 else 0
            scaled = math.ceil(round(scaled * 10**places, 6)) / 10**places
        elif how == "exact":
            places = len(f"{scaled:g}".partition(".")[2])
        return f"{self.number(scaled, places)}{NO_BREAK}%"


def message(text: str) -> str:
    """Mark a text that stands in a table, so that translators find it."""
    return text


def about_deleted(text: str) -> str:
    """Mark one that `Catalogue.deleted` will say: it is translated for records and for labels."""
    return text


@cache
def catalogue(language: str) -> Catalogue:
    """Return the catalogue of a language.

    Raises:
        ForgetAuditError: If there is none.
    """
    if language not in LOCALES:
        raise ForgetAuditError(f"languages are {', '.join(LANGUAGES)}; found {language!r}")
    if language == SOURCE:
        return Catalogue(language=language)
    path = resources.files("forget_audit.reports") / "locale" / f"{language}.po"
    with path.open("rb") as file:
        messages = read_po(file, locale=language, abort_invalid=True)
    found = {str(m.id): str(m.string) for m in messages if m.id and m.string and not m.fuzzy}
    return Catalogue(language=language, translations=found)
