"""Check pages with axe-core in a browser without a window, as narrow and wide, light and dark.

Usage: python -m scripts.accessibility report.html receipt.html
       python -m scripts.accessibility --axe axe.min.js report.html

Without --axe the file named by AXE_CORE is used, else the one fetched earlier, else it is fetched
with npm, one fixed version with a fixed digest. Ends with 1 if a page has a serious problem.
"""

import argparse
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.browser import Browser, Scheme, browser

VERSION = "4.14.1"
DIGEST = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
SERIOUS = ("serious", "critical")
WIDTHS = (360, 1280)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
LOOKS = tuple(itertools.product(WIDTHS, SCHEMES))
OPEN = "document.querySelectorAll('details').forEach(item => { item.open = true; })"
RUN = (
    "axe.run(document, {runOnly: {type: 'tag', values: RULES}, resultTypes: ['violations']})"
    ".then(found => ({rules: found.passes.length, problems: found.violations.map(item => ({"
    "rule: item.id, impact: item.impact, help: item.help, "
    "places: item.nodes.map(node => node.target.join(' ') + ': ' + node.failureSummary)}))}))"
).replace("RULES", json.dumps(RULES))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a rule found.

    Args:
        look: At which width and preference.
        rule: Name of the rule.
        impact: `minor`, `moderate`, `serious` or `critical`.
        text: What should be.
        places: Where it is not so, and why.
    """

    look: str
    rule: str
    impact: str
    text: str
    places: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found on a page.

    Args:
        rules: How many rules found something to look at and nothing to say, over all looks.
        problems: All that were found.
    """

    rules: int
    problems: tuple[Problem, ...]

    @property
    def serious(self) -> tuple[Problem, ...]:
        """Those that keep somebody from reading the page."""
        return tuple(item for item in self.problems if item.impact in SERIOUS)


def check(
    page: Browser, path: Path, axe: str, looks: Sequence[tuple[int, Scheme]] = LOOKS
) -> Check:
    """Look at a page with everything unfolded.

    Args:
        page: A running browser.
        path: The page.
        axe: Text of axe.min.js. It runs beside the page's own policy, which stays as it is.
        looks: Widths and what the reader prefers.
    """
    page.open(path)
    page.ask(f"{axe}; {OPEN}")
    rules, problems = 0, []
    for width, scheme in looks:
        page.look(width, scheme)
        answer = page.ask(RUN)
        rules += answer["rules"]
        problems += [
            Problem(look=f"{width} px, {scheme}", rule=item["rule"], impact=item["impact"],
                    text=item["help"], places=tuple(item["places"]))
            for item in answer["problems"]
        ]  # fmt: skip
    return Check(rules=rules, problems=tuple(problems))


def kept() -> Path:
    """Return where the fetched file is kept."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "forget-audit" / f"axe-{VERSION}.min.js"


def at_hand() -> Path | None:
    """Return axe-core if it is here, without fetching it."""
    named = os.environ.get("AXE_CORE")
    path = Path(named) if named else kept()
    return path if path.is_file() else None


def fetch() -> Path:
    """Fetch axe-core with npm and keep it.

    Raises:
        RuntimeError: If npm fails, or gives another file than the one we know.
    """
    with tempfile.TemporaryDirectory() as folder:
        call = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund",
                "--prefix", folder, f"axe-core@{VERSION}"]  # fmt: skip
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        path = Path(folder) / "node_modules" / "axe-core" / "axe.min.js"
        if done.returncode or not path.is_file():
            raise RuntimeError(f"npm could not fetch axe-core {VERSION}: {done.stderr.strip()}")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != DIGEST:
            raise RuntimeError(f"axe.min.js: expected SHA-256 {DIGEST}, found {found}")
        kept().parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept())
    return kept()


def told(path: Path, result: Check) -> Iterator[str]:
    """Yield what to print of a page."""
    yield f"{path}: {len(result.problems)} problems, {len(result.serious)} serious"
    for item in result.problems:
        yield f"  {item.impact}, {item.look}: {item.text} ({item.rule})"
        yield from (f"    {' '.join(place.split())}" for place in item.places[:5])


def main(words: Sequence[str]) -> int:
    """Check the pages named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.accessibility")
    parser.add_argument("--axe", type=Path)
    parser.add_argument("pages", type=Path, nargs="+")
    given = parser.parse_args(words)
    axe = (given.axe or at_hand() or fetch()).read_text("utf-8")
    with browser() as page:
        results = [(path, check(page, path, axe)) for path in given.pages]
    sys.stdout.write("".join(f"{line}\n" for item in results for line in told(*item)))
    return int(any(result.serious for _, result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
