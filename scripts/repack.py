"""Write an sdist again so that the same sources always give the same bytes.

setuptools keeps the time, owner and mode of every file, and gzip the time of the build. Here all
times are `SOURCE_DATE_EPOCH`, nobody owns anything, and members stand in order.

Usage: SOURCE_DATE_EPOCH=1700000000 python -m scripts.repack dist/forget_audit-0.1.0.tar.gz
"""

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path


def repack(path: Path, moment: int) -> None:
    """Replace a tar.gz by one of the same content whose bytes depend on that and `moment` alone."""
    written = io.BytesIO()
    with (
        tarfile.open(path) as old,
        tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.linkname = member.type, member.linkname
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            clean.mtime, clean.size = moment, member.size
            new.addfile(clean, old.extractfile(member) if member.isreg() else None)
    path.write_bytes(gzip.compress(written.getvalue(), compresslevel=9, mtime=moment))


def main() -> None:
    """Repack every sdist named on the command line."""
    for name in sys.argv[1:]:
        repack(Path(name), int(os.environ["SOURCE_DATE_EPOCH"]))


if __name__ == "__main__":
    main()
