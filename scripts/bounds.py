"""The ends of what pyproject.toml allows, as constraints for pip.

Usage: python scripts/bounds.py lowest > constraints.txt

The lowest end pins every direct requirement, extras included, to its lower bound. The highest end
needs no constraint: pip takes the newest that the upper bounds allow.
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
# A name, extras, a lower bound, an upper one, and perhaps a marker: no other form is used.
LINE = re.compile(r"([A-Za-z0-9._-]+)(\[[a-z,]+\])?>=([0-9.]+),<([0-9.]+)(?:;.*)?")


def bounds() -> dict[str, tuple[str, str]]:
    """Return lower and upper bound of every direct requirement by its name.

    Raises:
        ValueError: If one has no bound, or two places ask for different ones.
    """
    table = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    groups = table["optional-dependencies"].values()
    found: dict[str, tuple[str, str]] = {}
    for line in [*table["dependencies"], *(line for group in groups for line in group)]:
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"pyproject.toml: expected name>=lower,<upper, found {line!r}")
        both = (match[3], match[4])
        if found.setdefault(match[1], both) != both:
            raise ValueError(f"pyproject.toml: {match[1]} has two different bounds")
    return dict(sorted(found.items()))


def main() -> None:
    """Print the constraints of the end named on the command line."""
    if sys.argv[1:] not in (["lowest"], ["highest"]):
        sys.exit(f"expected lowest or highest, found {' '.join(sys.argv[1:]) or 'nothing'}")
    pins = [f"{name}=={lower}\n" for name, (lower, _) in bounds().items()]
    sys.stdout.write("".join(pins) if sys.argv[1:] == ["lowest"] else "")


if __name__ == "__main__":
    main()
