"""`list`, `show` and `doctor`: what there is, and what is missing on this machine."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated, Any, Literal

import typer

from forget_audit.console import complain, say, say_json

Kind = Literal["methods", "attacks", "datasets", "models", "presets"]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]


def list_items(
    kind: Annotated[Kind, typer.Argument(help="What to list.")], as_json: AsJson = False
) -> None:
    """List methods, attacks, datasets, models or presets.

    Example: forget-audit list methods
    """
    items = catalogue(kind)
    if as_json:
        say_json(items)
        return
    width = max(len(name) for name in items)
    for name, card in items.items():
        say(f"{name:<{width}}  {card['title']}")


def show(
    name: Annotated[str, typer.Argument(help="Of a method, attack, dataset, model or preset.")],
    as_json: AsJson = False,
) -> None:
    """Show the card of one item: what it does, what it needs, its settings and sources.

    Example: forget-audit show scrub
    """
    from forget_audit import registry

    kinds: tuple[Kind, ...] = ("methods", "attacks", "datasets", "models", "presets")
    items = {kind: catalogue(kind) for kind in kinds}
    found = {kind: cards[name] for kind, cards in items.items() if name in cards}
    if not found:
        complain(
            registry.unknown("item", name, [item for cards in items.values() for item in cards])
        )
        raise typer.Exit(2)
    for kind, card in found.items():
        if as_json:
            say_json({"kind": kind, **card})
            continue
        say(f"{name} ({kind.removesuffix('s')})\n\n{card['description']}")
        for key, value in card.items():
            if key not in ("description", "settings", "presets") and value not in ("", []):
                say(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
        for preset, changes in card.get("presets", {}).items():
            said = ", ".join(f"{setting} = {value!r}" for setting, value in changes.items())
            say(f"preset {preset}: {said}")
        for setting, default in card.get("settings", {}).items():
            say(f"setting {setting} = {default!r}")


def catalogue(kind: Kind) -> dict[str, dict[str, Any]]:
    """Return the cards of a kind by name, read from the items themselves."""
    if kind in ("methods", "attacks"):
        from forget_audit import registry
        from forget_audit.digests import plain

        classes: dict[str, Any] = dict(
            registry.methods()
            if kind == "methods"
            else {**registry.attacks(), **registry.experiments()}
        )
        return {
            name: {
                **plain(dataclasses.asdict(cls.info)),
                "description": inspect.getdoc(cls),
                "settings": {
                    f.name: plain(getattr(cls(), f.name)) for f in dataclasses.fields(cls)
                },
            }
            for name, cls in classes.items()
        }
    if kind == "presets":
        from forget_audit.presets.catalogue import cards

        return cards()
    from forget_audit.architectures import BUILDERS, find_builder, options_of
    from forget_audit.sources.loading import SOURCES

    models = {**BUILDERS, "xgboost": find_builder("xgboost")}
    functions: dict[str, Any] = dict(SOURCES if kind == "datasets" else models)
    return {
        name: {
            "title": (inspect.getdoc(function) or "").splitlines()[0],
            "description": inspect.getdoc(function),
            **({"settings": options_of(name)} if kind == "models" else {}),
        }
        for name, function in functions.items()
    }


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing, and the line that installs it.

    Example: forget-audit doctor
    """
    from forget_audit.diagnosis import diagnose
    from forget_audit.digests import plain

    findings = diagnose()
    if as_json:
        say_json(plain(findings))
    else:
        say("\n".join(line for finding in findings for line in finding.lines))
    raise typer.Exit(1 if any(finding.missing for finding in findings) else 0)
