"""Make pictures of a released report, to look at: on a phone, on a desk, printed, and the PDFs.

Usage: python -m scripts.look FOLDER --out pictures

Needs Chromium for the pages and pdftoppm (poppler-utils) for paper. A page is cut into pieces from
top to bottom; a picture is named after its file, its look and its place.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.browser import Browser, Scheme, browser

WIDTHS = {"phone": 360, "desk": 1280}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
RESOLUTION = 80


def screens(page: Browser, path: Path, out: Path) -> list[Path]:
    """Make pictures of a page as it is read on screens, and as the browser prints it."""
    page.open(path)
    made = []
    for (name, width), scheme in itertools.product(WIDTHS.items(), SCHEMES):
        page.look(width, scheme)
        for number, picture in enumerate(page.pictures(), 1):
            made.append(out / f"{path.stem}-{name}-{scheme}-{number:02}.png")
            made[-1].write_bytes(picture)
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / f"{path.stem}-printed.pdf"
        printed.write_bytes(page.paper())
        return made + sheets(printed, out, printed.stem)


def sheets(path: Path, out: Path, name: str) -> list[Path]:
    """Make a picture of each page of a PDF."""
    call = ["pdftoppm", "-r", str(RESOLUTION), "-png", str(path), str(out / name)]
    subprocess.run(call, check=True)
    return sorted(out.glob(f"{name}-*.png"))


def main(words: Sequence[str]) -> int:
    """Make the pictures of the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.look")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(words)
    given.out.mkdir(parents=True, exist_ok=True)
    made = []
    with browser() as page:
        for path in sorted(given.folder.glob("*.html")):
            made += screens(page, path, given.out)
    for path in sorted(given.folder.glob("*.pdf")):
        made += sheets(path, given.out, f"{path.stem}-pdf")
    sys.stdout.write("".join(f"{path}\n" for path in made))
    return 0 if made else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
