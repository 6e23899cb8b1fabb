"""Fill an empty environment with what this package needs, as installed here, and with no more.

Usage: python -m scripts.only_needed VENV/lib/python3.11/site-packages

Nothing is asked of an index, and no program is put on the path. Files are hard links where the two
folders share a file system, copies otherwise.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution
from importlib.util import cache_from_source
from pathlib import Path

from scripts.closure import closure, direct


def fill(site: Path) -> list[str]:
    """Put the distributions into a folder and return their names.

    Args:
        site: Folder `site-packages` of an environment of the same interpreter.

    Raises:
        NotInstalled: If one of them is missing here.
    """
    found = closure(direct())
    for one in found.values():
        for source, target in _files(one, site):
            if target.exists():  # two distributions hold this file
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:  # another file system, or one without links
                shutil.copy2(source, target)
    return list(found)


def _files(one: Distribution, site: Path) -> Iterator[tuple[Path, Path]]:
    """Return what a distribution holds, what is compiled of it, and the places where they go."""
    for file in one.files or ():
        source = Path(str(one.locate_file(file)))
        if ".." in file.parts or file.suffix == ".pyc" or not source.is_file():
            continue
        yield source, site / file
        if file.suffix == ".py":
            compiled = Path(cache_from_source(str(source)))
            if compiled.is_file():
                yield compiled, Path(cache_from_source(str(site / file)))


if __name__ == "__main__":
    names = fill(Path(sys.argv[1]))
    sys.stdout.write(f"{len(names)} distributions\n")
