"""What commands need on this machine: what is there, what is missing, and the line that helps."""

from __future__ import annotations

import importlib
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from forget_audit import trust
from forget_audit.errors import ForgetAuditError
from forget_audit.keys.signing import home
from forget_audit.keys.sources import public_half
from forget_audit.ledger.ledger import FILE, Ledger
from forget_audit.reports import pdf
from forget_audit.reports.pdf_process import FONTS

APT = "apt-get install --no-install-recommends"
PACKAGE = "forget-audit"
SOON = timedelta(days=60)
MODULES = {
    "python-pkcs11": "pkcs11",
    "scikit-learn": "sklearn",
}
EXTRAS = {
    "hsm": ("python-pkcs11", "only for signing keys in tokens"),
    "tune": ("optuna", "only for `forget-audit tune`"),
}
TOOLS = {
    "pdfsig": "poppler-utils",
    "openssl": "openssl",
    "qpdf": "qpdf",
}
REMEDIES = {
    "signing key": "forget-audit keys new --name NAME",
    "trust file": "move the file away, then: forget-audit trust add FILE",
    "ledger": "forget-audit ledger verify",
}
TRUETYPE = b"\x00\x01\x00\x00"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that an audit may need.

    Args:
        name: Of the thing.
        found: What was found.
        missing: Whether it is needed, and not there or of no use.
        remedy: The line that helps; empty if nothing is to be done.
    """

    name: str
    found: str
    missing: bool = False
    remedy: str = ""

    @property
    def lines(self) -> list[str]:
        """The finding for people."""
        mark = "ok" if not self.missing else "missing" if self.found == "none" else "wrong"
        first = f"{mark:<8}{self.name}: {self.found}"
        return [first, f"        {self.remedy}"] if self.remedy else [first]


def diagnose() -> list[Finding]:
    """Look for everything that commands use; nothing is changed or made."""
    return [
        Finding(name="python", found=sys.version.split()[0]),
        *map(_package, _required()),
        *_rendering(),
        _fonts(),
        *map(_tool, TOOLS),
        *(_optional(name) for name in EXTRAS),
        _guarded("signing key", home() / "keys" / "default", _key),
        _guarded("trust file", home() / "trust.json", _trust),
        _guarded("ledger", home() / FILE, _ledger),
    ]


def _required() -> Iterator[str]:
    """Yield the packages that this one needs, as it was installed."""
    try:
        lines = requires(PACKAGE) or []
    except PackageNotFoundError:
        lines = ["torch", "scikit-learn", "pyhanko", "weasyprint"]
    for line in lines:
        if "extra ==" not in line:
            yield re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]


def _package(name: str) -> Finding:
    remedy = f"python -m pip install {name}"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name=name, found="none", missing=True, remedy=remedy)
    if name == "weasyprint":  # it may end the process it is imported in; see PDF rendering
        return Finding(name=name, found=found)
    try:
        importlib.import_module(MODULES.get(name, name.replace("-", "_")))
    except Exception as error:  # noqa: BLE001  a broken package raises whatever it likes
        reason = f"{found}, cannot be imported ({type(error).__name__}: {error})"
        remedy = f"python -m pip install --force-reinstall {name}"
        return Finding(name=name, found=reason.partition("\n")[0], missing=True, remedy=remedy)
    return Finding(name=name, found=found)


def _rendering() -> list[Finding]:
    """Make a small PDF, and say which library it needs is missing."""
    maker = pdf.look()
    works = not maker.trouble
    findings = [
        Finding(
            name="PDF rendering",
            found=f"WeasyPrint {maker.version}" if works else "none",
            missing=not works,
            remedy=maker.trouble,
        )
    ]
    for name, file in (("Pango", "libpango-1.0-0"), ("PangoFT2", "libpangoft2-1.0-0")):
        absent = maker.lacking == file
        unknown = not works and not absent
        found = "none" if absent else "not known" if unknown else "found"
        findings.append(
            Finding(name=name, found=found, missing=absent, remedy=pdf.APT if absent else "")
        )
    remedy = "" if maker.subset or not works else f"{APT} libharfbuzz-subset0"
    found = "found" if maker.subset else "not found" if works else "not known"
    return [*findings, Finding(name="harfbuzz-subset", found=found, remedy=remedy)]


def _fonts() -> Finding:
    """Look for the fonts that come with the package: without them a PDF may look otherwise."""
    folder = resources.files("forget_audit.reports") / "fonts"
    names = sorted({name for _, _, name in FONTS})
    bad = [name for name in names if not _is_font(folder / name)]
    return Finding(
        name="bundled fonts",
        found=f"{', '.join(bad)} missing or damaged" if bad else ", ".join(names),
        missing=bool(bad),
        remedy=f"python -m pip install --force-reinstall --no-deps {PACKAGE}" if bad else "",
    )


def _is_font(path: resources.abc.Traversable) -> bool:
    return path.is_file() and path.read_bytes().startswith(TRUETYPE)


def _tool(name: str) -> Finding:
    there = shutil.which(name) is not None
    remedy = "" if there else f"{APT} {TOOLS[name]}  (only to check reports by hand)"
    return Finding(name=name, found="found" if there else "not found", remedy=remedy)


def _optional(extra: str) -> Finding:
    package, purpose = EXTRAS[extra]
    try:
        return Finding(name=package, found=version(package))
    except PackageNotFoundError:
        remedy = f"python -m pip install '{PACKAGE}[{extra}]'  ({purpose})"
        return Finding(name=package, found="not found", remedy=remedy)


def _guarded(name: str, path: Path, look: Callable[[Path], Finding]) -> Finding:
    """Look at a file of this account that need not be there, but must be good if it is."""
    if not path.exists():
        return Finding(name=name, found="none yet")
    try:
        return look(path)
    except (ForgetAuditError, OSError) as error:
        found, _, command = str(error).partition("; run ")
        return Finding(name=name, found=found, missing=True, remedy=command or REMEDIES[name])


def _key(path: Path) -> Finding:
    key = public_half(path)
    end, now = key.not_after, datetime.now(UTC)
    found = f"{key.name}, {key.protection}, valid to {end:%Y-%m-%d}"
    renew = f'forget-audit keys new --name "{key.name}"'
    if not key.usable:
        return Finding(name="signing key", found=found, missing=True, remedy=renew)
    return Finding(name="signing key", found=found, remedy=renew if end - now < SOON else "")


def _trust(path: Path) -> Finding:
    size = len(trust.load(path).keys)
    count = f"{size} keys" if size != 1 else "1 key"
    mode = path.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        found = f"{count}, but others may change it"
        return Finding(name="trust file", found=found, missing=True, remedy=f"chmod go-w {path}")
    return Finding(name="trust file", found=count)


def _ledger(path: Path) -> Finding:
    size = Ledger.open(path, create=False).head().size
    return Finding(name="ledger", found=f"{size} entries" if size != 1 else "1 entry")
