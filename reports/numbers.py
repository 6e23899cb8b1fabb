"""Numbers, dates and digests as people read them; the only place that formats them."""

import math
import re
from datetime import date, datetime

from forget_audit.types import SMALL_REQUEST, Json

MINUS, DASH, THIN = "\N{MINUS SIGN}", "\N{EM DASH}", "\N{NARROW NO-BREAK SPACE}"
NOISE = 1e-9  # below it a number is rounding error of the machine
BAND = f"fewer than {SMALL_REQUEST}"


def error_level(evidence: Json, default: float = 0.05) -> float:
    """Return the error of the whole verdict; its looks, if there are several, share it."""
    settings = evidence["battery"]["settings"]
    return float(settings.get("total", settings.get("alpha", default)))


def number(value: float | None, places: int = 3) -> str:
    """Return `value` with a true minus sign; a dash if there is none."""
    if value is None:
        return DASH
    value = 0.0 if abs(value) < NOISE else value
    if value and (abs(value) >= 1e6 or abs(value) < 0.5 * 10**-places):
        return f"{value:.2g}".replace("-", MINUS)
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def rough(value: float | None) -> str:
    """Return `value` to one place, so that a share does not tell of how many it is one."""
    return DASH if value is None else number(round(value, 1), 1)


def signed(value: float | None, places: int = 3) -> str:
    """Return `value` with its sign, also if positive."""
    text = number(value, places)
    return f"+{text}" if value is not None and value > 0 else text


def with_minus(text: str) -> str:
    """Return `text` with true minus signs before its numbers."""
    return re.sub(r"(?<![\w.-])-(?=[\d.])", MINUS, text)


def interval(ends: list[float | None] | None, places: int = 3) -> str:
    """Return an interval with signed ends."""
    if ends is None or None in ends:
        return DASH
    low, high = (signed(end, places) for end in ends)
    return f"[{low}, {high}]"


def probability(value: float | None) -> str:
    """Return a p-value; tiny ones as a bound."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def chance(value: float | None) -> str:
    """Return a probability to two places; none is certain."""
    if value is not None and not 0.005 <= value <= 0.995:
        return "above 0.99" if value > 0.5 else "below 0.01"
    return number(value, 2)


def percent(value: float | None) -> str:
    """Return a share in percent."""
    if value is None:
        return DASH
    return f"{number(100 * value, 0)} %"


def confidence(value: float) -> str:
    """Return a confidence in percent, with as many places as it has: never rounded up."""
    return f"{100 * value:.6g} %"


def percent_at_most(value: float) -> str:
    """Return a share in percent, rounded up so that the bound stays true."""
    places = 1 if value < 0.1 else 0
    scaled = math.ceil(round(100 * value * 10**places, 6)) / 10**places
    return f"{scaled:.{places}f} %"


def count(value: int | float | None) -> str:
    """Return a count with its thousands apart."""
    return DASH if value is None else f"{value:,}".replace(",", THIN)


def people(value: int | None) -> str:
    """Return the size of a group of people; a band if it is small enough to point at somebody."""
    return count(value) if value is not None and value >= SMALL_REQUEST else BAND


def is_small(counts: Json) -> bool:
    """Say whether so few records are deleted that sizes and single scores must not be shown."""
    size = counts["forget"]
    return size is None or size < SMALL_REQUEST


def beside(value: int, *, small: bool) -> str:
    """Return the size of another group; roughly, if it could tell the size of a small request."""
    return f"about {count(SMALL_REQUEST * (value // SMALL_REQUEST))}" if small else count(value)


def seconds(value: float | None) -> str:
    """Return a duration."""
    if value is None:
        return DASH
    if value < 90:
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"


def moment(text: str) -> str:
    """Return an ISO 8601 time as `21 November 2026, 10:00 UTC`."""
    at = datetime.fromisoformat(text)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def day(text: str | None) -> str:
    """Return an ISO 8601 day as `21 November 2026`; other text as it is."""
    if text is None:
        return DASH
    try:
        at = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{at.day} {at:%B %Y}"


def value(item: object) -> str:
    """Return a setting of any plain type."""
    if item is None:
        return DASH
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, float):
        return f"{item:g}".replace("-", MINUS)
    if isinstance(item, list):
        return ", ".join(map(value, item)) or DASH
    return str(item)
