"""`python -m tests.soak`: many audits in one process, then many processes on one ledger."""

import argparse
import os
import tempfile
from pathlib import Path

from forget_audit.console import say
from tests.soak.audits import WARM_UP, many
from tests.soak.books import at_once

MOST = 50.0  # MiB


def main() -> None:
    """Carry both out in a folder and an account of their own, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audits", type=int, default=500, help="in one process")
    parser.add_argument("--processes", type=int, default=50, help="on one ledger")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forget-audit-") as name:
        folder = Path(name)
        os.environ["FORGET_AUDIT_HOME"] = str(folder / "home")
        if asked.processes:
            written = at_once(folder, asked.processes)
            say(
                f"{written.processes} processes at once: {written.entries} entries, none lost or "
                f"doubled, chain and reports verify; {written.seconds:.1f} s"
            )
        if asked.audits:
            found = many(folder / "plans", asked.audits)
            say(
                f"{found.audits} audits in one process after {WARM_UP} to warm up: "
                f"{found.warm_mib:.1f} MiB before, {found.most_mib:.1f} at most, "
                f"{found.end_mib:.1f} at the end; {found.seconds:.2f} s of processor an audit"
            )
            if found.growth > MOST:
                raise SystemExit(f"grew by {found.growth:.1f} MiB, {MOST:.0f} are allowed")


if __name__ == "__main__":
    main()
