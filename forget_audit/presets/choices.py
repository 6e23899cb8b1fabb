"""Methods as the presets write them: `name:preset {setting = value}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from forget_audit import registry
from forget_audit.contracts import Method
from forget_audit.errors import UnknownName
from forget_audit.finite import read_toml

FORM = re.compile(r"(?P<name>\w+)(?::(?P<preset>[\w.-]+))?\s*(?P<settings>\{.*\})?")
ORIGINAL, RETRAIN = "original", "retrain"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One row of a reproduced table.

    Args:
        label: What the paper calls it; the text itself if the paper does not have it.
        text: As written.
        kind: The original, a retrained model, or a method.
        method: Registered name; empty for the original.
        settings: Other than the default ones.
    """

    label: str
    text: str
    kind: Literal["original", "retrain", "method"]
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Method:
        """Return the method with its settings."""
        return registry.make_method(self.method, None, self.settings)


def choice(text: str, label: str | None = None) -> Choice:
    """Read a method as presets write it.

    Args:
        text: Such as `ssd:full-class` or `ssd {alpha = 5.0}`; also `original` and `retrain`.
        label: What the paper calls it.

    Raises:
        UnknownName: If it is not of this form, or there is no such method, preset or setting.
    """
    shown = text if label is None else label
    if text == ORIGINAL:
        return Choice(label=shown, text=text, kind="original")
    found = FORM.fullmatch(text)
    if found is None:
        raise UnknownName(f"expected name:preset {{setting = value}}, found {text!r}")
    settings = _settings(found["settings"], text)
    kind = registry.get_method(found["name"])
    if found["preset"] is not None:
        if found["preset"] not in kind.info.presets:
            raise UnknownName(registry.unknown("preset", found["preset"], kind.info.presets))
        settings = {**kind.info.presets[found["preset"]], **settings}
    try:
        kind(**settings)
    except (TypeError, ValueError) as error:
        raise UnknownName(f"{text}: {error}") from error
    return Choice(
        label=shown,
        text=text,
        kind="retrain" if found["name"] == RETRAIN else "method",
        method=found["name"],
        settings=settings,
    )


def chosen(names: Mapping[str, str], wanted: Sequence[str] | None) -> list[Choice]:
    """Return the rows of a table that are wanted, with the original and retraining first.

    Args:
        names: What the paper calls a method, and what the preset does.
        wanted: Names of methods, each standing for all rows of the table with that method; or
            methods as presets write them, which need not be in the table; all if left out.

    Raises:
        UnknownName: If there is no such method.
    """
    every = [choice(text, label) for label, text in names.items()]
    standard = [one for one in every if one.kind != "method"]
    for kind in (RETRAIN, ORIGINAL):
        if kind not in [one.kind for one in standard]:
            standard.insert(0, choice(kind))
    methods = [one for one in every if one.kind == "method"]
    if wanted is not None:
        added = [choice(text) for text in wanted]
        methods = [
            match
            for one in added
            if one.kind == "method"
            for match in ([m for m in methods if one.text in (m.text, m.method)] or [one])
        ]
    return [*standard, *methods]


def _settings(written: str | None, text: str) -> dict[str, Any]:
    if written is None:
        return {}
    try:
        settings: dict[str, Any] = read_toml(f"settings = {written}")["settings"]
    except (ValueError, RecursionError) as error:
        raise UnknownName(f"{text}: settings are no TOML: {error}") from error
    return settings
