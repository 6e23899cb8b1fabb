"""Write the pages on methods and attacks, below docs/, from what the code says itself.

Usage: python -m scripts.cards            says which pages are out of date
       python -m scripts.cards --write    writes them, and removes pages of nothing
"""

import re
import sys
from pathlib import Path

from forget_audit import registry
from scripts import attack_cards, method_cards
from scripts.method_cards import ERRATA
from scripts.tables import ROOT, ours

METHODS, ATTACKS = "docs/methods", "docs/attacks"


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return the text of every page by its path from the root.

    Args:
        root: Of the repository; its errata are linked to.
    """
    errata = headings((root / ERRATA).read_text("utf-8"))
    methods = [kind for kind in registry.methods().values() if ours(kind)]
    known: dict[str, type] = {**registry.attacks(), **registry.experiments()}
    cards = registry.cards()
    attacks = {name: kind for name, kind in known.items() if ours(kind)}
    return {
        f"{METHODS}.md": method_cards.index([kind.info for kind in methods], errata),
        **{f"{METHODS}/{kind.info.name}.md": method_cards.page(kind, errata) for kind in methods},
        f"{ATTACKS}.md": attack_cards.index([cards[name] for name in attacks]),
        **{f"{ATTACKS}/{name}.md": attack_cards.page(kind) for name, kind in attacks.items()},
    }


def stale(root: Path = ROOT, *, write: bool = False) -> list[str]:
    """Return what is missing, out of date or too much; afterwards nothing is, if `write`."""
    made = pages(root)
    there = {
        path.relative_to(root).as_posix()
        for folder in (METHODS, ATTACKS)
        for path in (root / folder).glob("*")
    }
    found = sorted(there - set(made))
    for name in found if write else ():
        (root / name).unlink()
    for name, text in made.items():
        path = root / name
        if not path.exists() or path.read_text("utf-8") != text:
            found.append(name)
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return found


def headings(text: str) -> dict[str, str]:
    """Return the titles of the entries of the page of errata, by number."""
    return dict(re.findall(r"^### (E\d+) (.+)$", text, re.MULTILINE))


def main() -> int:
    """Write or compare all pages."""
    write = "--write" in sys.argv[1:]
    found = stale(write=write)
    verb = "written or removed" if write else "out of date, run `make tables`"
    sys.stdout.write("".join(f"{name} {verb}\n" for name in found))
    return 1 if found and not write else 0


if __name__ == "__main__":
    sys.exit(main())
