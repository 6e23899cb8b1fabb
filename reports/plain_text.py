"""Text as a reader may trust it: what cannot be seen, or turns a line around, is made visible.

A name may hold characters that have no shape and yet change how the line around them looks:
direction overrides (Boucher and Anderson, "Trojan Source", arXiv:2111.00169), characters of no
width, controls. Each is shown as its code in angle brackets. Spaces and line ends stay, and so do
the two joiners that Persian and Indic words need.
"""

import re
from typing import TypeVar

from markupsafe import Markup

T = TypeVar("T")

_UNSEEN = re.compile(
    "["
    "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f"  # controls, but for tab and line ends
    "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069"  # direction
    "\\u200b\\u2060-\\u2065\\u206a-\\u206f\\ufeff\\u180e\\u115f\\u1160\\u3164\\uffa0"  # no width
    "\\u2028\\u2029\\ufff9-\\ufffb"  # line and paragraph ends of their own, annotations
    "\\ud800-\\udfff\\ufdd0-\\ufdef\\ufffe\\uffff"  # no characters at all
    "\\U000e0000-\\U000e0fff"  # tags
    "]"
)


def shown(text: str) -> str:
    """Return `text` with every unseen character as its code, such as ⟨U+202E⟩."""
    return _UNSEEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def finalized(value: T) -> T | str:
    """Return what a template prints: `shown` for text, and markup of our own as it is."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
