"""`list`, `show` and `doctor`: what there is, and what is missing on this machine."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import typer

from forget_audit import registry
from forget_audit.architectures import BUILDERS
from forget_audit.console import complain, say, say_json
from forget_audit.datasets import LOADERS
from forget_audit.digests import plain

Kind = Literal["methods", "attacks", "datasets", "models"]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]
APT = "apt-get install --no-install-recommends"


def list_items(
    kind: Annotated[Kind, typer.Argument(help="What to list.")], as_json: AsJson = False
) -> None:
    """List methods, attacks, datasets or models.

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
    name: Annotated[str, typer.Argument(help="Of a method, attack, dataset or model.")],
    as_json: AsJson = False,
) -> None:
    """Show the card of one item: what it does, what it needs, its settings and sources.

    Example: forget-audit show scrub
    """
    kinds: tuple[Kind, ...] = ("methods", "attacks", "datasets", "models")
    found = {kind: catalogue(kind)[name] for kind in kinds if name in catalogue(kind)}
    if not found:
        everything = [item for kind in kinds for item in catalogue(kind)]
        complain(registry.unknown("item", name, everything))
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
    functions: dict[str, Any] = dict(LOADERS if kind == "datasets" else BUILDERS)
    return {
        name: {
            "title": (inspect.getdoc(function) or "").splitlines()[0],
            "description": inspect.getdoc(function),
        }
        for name, function in functions.items()
    }


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that an audit may need.

    Args:
        name: Of the thing.
        found: What was found.
        missing: Whether it is needed and not there.
        remedy: The line that installs it; empty if nothing is to be done.
    """

    name: str
    found: str
    missing: bool = False
    remedy: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing, and the line that installs it.

    Example: forget-audit doctor
    """
    findings = diagnose()
    if as_json:
        say_json(plain(findings))
    else:
        for finding in findings:
            mark = "missing" if finding.missing else "ok"
            say(f"{mark:<8}{finding.name}: {finding.found}")
            if finding.remedy:
                say(f"        {finding.remedy}")
    raise typer.Exit(1 if any(finding.missing for finding in findings) else 0)


def diagnose() -> list[Finding]:
    """Look for everything that commands use."""
    from forget_audit.reports.pdf import available
    from forget_audit.signing import home

    findings = [Finding(name="python", found=sys.version.split()[0])]
    for package in ("torch", "torchvision", "scikit-learn", "xgboost", "statsmodels", "pyhanko"):
        try:
            findings.append(Finding(name=package, found=version(package)))
        except PackageNotFoundError:
            remedy = f"python -m pip install {package}"
            findings.append(Finding(name=package, found="none", missing=True, remedy=remedy))
    lack = available()
    findings.append(
        Finding(
            name="PDF rendering",
            found="none" if lack else "ready",
            missing=bool(lack),
            remedy=lack or "",
        )
    )
    for tool, package in (("pdfsig", "poppler-utils"), ("openssl", "openssl")):
        path = shutil.which(tool)
        remedy = "" if path else f"{APT} {package}  (only to check reports by hand)"
        findings.append(Finding(name=tool, found="found" if path else "not found", remedy=remedy))
    for name, place in (("signing key", "keys/default"), ("trust file", "trust.json")):
        there = (home() / place).exists()
        findings.append(Finding(name=name, found="found" if there else "none yet"))
    return findings
