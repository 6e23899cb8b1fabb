"""The result on disk, and its table in docs/security.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.providers.worlds import Finding
from forget_audit import stats
from scripts.tables import as_table, current, replaced

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "providers.json"
DOCS = ROOT / "docs" / "security.md"
MARK = "providers"
HEAD = ("Handed in", "The audit has", "Detected", "95 %", "PASS", "Reasons", "The docs say")
WORDS = {"file": "answers in a file", "questions": "a model to ask", "weights": "the weights"}
SAYING = {
    "honest": "honest",
    "accused": "honest, but not comparable",
    "caught": "detectable",
    "missed": "**not** detectable",
}
MOST_REASONS = 4

Json = dict[str, Any]
Entry = dict[str, Any]


def entry(group: str, name: str, access: str, expected: str, findings: Sequence[Finding]) -> Entry:
    """Return one row of the result.

    Args:
        group: Heading.
        name: What is handed in.
        access: What the audit has.
        expected: What the docs say.
        findings: One a seed.
    """
    outcomes = Counter(outcome for outcome, _ in findings)
    reasons = Counter(reason for outcome, own in findings if outcome != "PASS" for reason in own)
    detected = outcomes["FAIL"] + outcomes["REFUSED"]
    return {
        "group": group,
        "name": name,
        "access": access,
        "expected": expected,
        "n": len(findings),
        "outcomes": dict(sorted(outcomes.items())),
        "detected": detected / len(findings),
        "interval": list(stats.binomial_interval(detected, len(findings))),
        "reasons": dict(reasons.most_common()),
    }


def table(result: Json) -> str:
    """Return the tables, one a group."""
    groups = dict.fromkeys(row["group"] for row in result["rows"])
    parts = []
    for group in groups:
        rows = [_cells(row) for row in result["rows"] if row["group"] == group]
        parts.append(f"**{group}**\n\n{as_table(HEAD, rows)}")
    return "\n\n".join([*parts, _about(result)])


def _cells(row: Entry) -> tuple[str, ...]:
    n, outcomes = row["n"], row["outcomes"]
    detected = outcomes.get("FAIL", 0) + outcomes.get("REFUSED", 0)
    undecided = outcomes.get("INCONCLUSIVE", 0)
    let_in = outcomes.get("PASS", 0) + outcomes.get("ACCEPTED", 0)
    low, high = row["interval"]
    reasons = [f"`{name}` {count}" for name, count in row["reasons"].items()]
    shown = f"{detected} of {n}" + (f", {undecided} undecided" if undecided else "")
    return (
        row["name"],
        WORDS[row["access"]],
        shown,
        f"{low:.2f} to {high:.2f}",
        str(let_in),
        ", ".join(reasons[:MOST_REASONS]) or "none",
        SAYING[row["expected"]],
    )


def _about(result: Json) -> str:
    machine = result["machine"]
    return (
        f"*Measured in {result['cpu_seconds'] / 60:.0f} CPU minutes on one thread of "
        f"{machine['processor']}, {machine['system']}, Python {machine['python']}, torch "
        f"{machine['torch']}, forget-audit {machine['forget-audit']}, {machine['date']}.*"
    )


def read(file: Path = RESULT) -> Json:
    """Return the result."""
    found: Json = json.loads(file.read_text("utf-8"))
    return found


def write(result: Json, file: Path = RESULT) -> None:
    """Write the result."""
    file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def write_docs(result: Json, docs: Path = DOCS) -> None:
    """Write the table into the documentation, between its marks."""
    docs.write_text(replaced(docs.read_text("utf-8"), MARK, table(result)), "utf-8")


def published(docs: Path = DOCS) -> str:
    """Return the table that stands in the documentation."""
    return current(docs.read_text("utf-8"), MARK)
