"""Check that everything this package needs may be used commercially, by its own metadata.

Usage: python -m scripts.licences [--write]

Read are the run-time dependencies and those of every extra that users install, with all that they
need, as installed here. `--write` brings the table in docs/supply-chain.md up to date.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution

from license_expression import ExpressionError, Licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.closure import ROOT, closure, direct, extras, project

PAGE = ROOT / "docs" / "supply-chain.md"
START, END = "<!-- licences: make licences -->\n", "<!-- end of licences -->\n"
# Permissive ones. BSD, PSF and the like without a number are what older metadata say.
ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
        "CNRI-Python", "ISC", "LLVM-exception", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0",
        "Python-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
# Not permissive, and good for us all the same.
CONDITIONAL: Mapping[str, str] = {
    "MPL-2.0": "asks for the source of its own changed files alone; we change none and ship none",
    "LicenseRef-NVIDIA-Proprietary": "CUDA run-time libraries that PyTorch and XGBoost ask for; "
    "NVIDIA's terms allow commercial use, and we pass none of them on",
}
# What older metadata call them.
SPELLED: Mapping[str, str] = {
    "2-clause BSD": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
# Distributions whose metadata say nothing of use: what was found by reading the files they bring.
READ: Mapping[str, tuple[str, str]] = {
    "cuda-toolkit": ("LicenseRef-NVIDIA-Proprietary", "holds no code, names NVIDIA's packages"),
    "pyphen": ("MPL-1.1", "GPL, LGPL or MPL at one's choice; we choose MPL, change and ship none"),
    "skops": ("MIT", "its metadata say 'OSI Approved' alone; its licence file is MIT"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The licence of one distribution.

    Args:
        name: Of the distribution.
        version: Installed.
        licence: As an SPDX expression where that is known.
        reason: Why it is good although it is not permissive.
        trouble: Why it may not be used; empty if it may.
    """

    name: str
    version: str
    licence: str
    reason: str = ""
    trouble: str = ""


def stated(found: Distribution) -> str:
    """Return what the metadata say: an expression, else classifiers, else the licence field.

    Several classifiers may mean one of them or all of them; taken is the harder, all.
    """
    metadata = found.metadata
    if expression := metadata.get_all("License-Expression"):
        return str(expression[0])
    classifiers = metadata.get_all("Classifier") or []
    names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    if not names:
        said = metadata.get_all("License") or [""]
        names = [said[0].strip().partition("\n")[0]]
    return " AND ".join(SPELLED.get(name, name) for name in names)


def judge(found: Distribution) -> Finding:
    """Say whether a distribution may be used."""
    name = canonicalize_name(found.metadata["Name"])
    licence, reason = READ[name] if name in READ else (stated(found), "")
    finding = Finding(name=name, version=found.version, licence=licence, reason=reason)
    if name in READ:
        return finding
    try:
        parsed = Licensing().parse(licence)
    except ExpressionError:
        parsed = None
    if parsed is None:
        return _refused(finding, "no licence that can be read")
    bad = sorted(_bad(parsed))
    if bad:
        return _refused(finding, f"not known to allow commercial use: {', '.join(bad)}")
    reasons = [CONDITIONAL[key] for key in sorted(map(str, parsed.objects)) if key in CONDITIONAL]
    return Finding(
        name=name, version=found.version, licence=licence, reason="; ".join(dict.fromkeys(reasons))
    )


def _refused(finding: Finding, why: str) -> Finding:
    trouble = f"{finding.name} {finding.version}: {why} (found {finding.licence!r})"
    return Finding(
        name=finding.name, version=finding.version, licence=finding.licence, trouble=trouble
    )


def _bad(parsed: object) -> set[str]:
    """Return what forbids an expression: of `OR` one side is enough, of `AND` both are needed."""
    operator, sides = getattr(parsed, "operator", ""), getattr(parsed, "args", ())
    if not operator:
        words = re.split(r" WITH ", str(parsed))
        return {word for word in words if word not in ALLOWED and word not in CONDITIONAL}
    found = [_bad(side) for side in sides]
    if operator.strip() == "OR" and not all(found):
        return set()
    return set().union(*found)


def table() -> str:
    """Return the table of what pyproject.toml asks for: without versions, which differ."""
    wanted = {canonicalize_name(one.name): one for one in direct(extras())}
    always = {canonicalize_name(one.name) for one in direct()}
    lines = project()["optional-dependencies"]
    groups = {
        extra: {canonicalize_name(Requirement(line).name) for line in lines[extra]}
        for extra in extras()
    }
    rows = ["| Package | Allowed | For | Licence |", "| --- | --- | --- | --- |"]
    found = closure(wanted.values())
    for name, one in wanted.items():
        purpose = (
            "all" if name in always else ", ".join(f"`[{e}]`" for e in groups if name in groups[e])
        )
        bounds = ", ".join(sorted(map(str, one.specifier), reverse=True))
        rows.append(f"| {name} | `{bounds}` | {purpose} | {judge(found[name]).licence} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """Return the text of the page with a table of today."""
    head, rest = text.split(START)
    return f"{head}{START}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Print what is wrong, or how many were looked at."""
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    findings = [judge(one) for one in closure(direct(extras())).values()]
    troubles = [finding.trouble for finding in findings if finding.trouble]
    reasons = sum(bool(finding.reason) for finding in findings)
    good = (
        f"{len(findings)} distributions, all of use; {reasons} of them for a reason that is named"
    )
    sys.stdout.write("\n".join(troubles or [good]) + "\n")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
