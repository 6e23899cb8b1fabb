"""What `forget-audit` and `python -m forget_audit` run: the command line, under supervision."""

from __future__ import annotations

import os
import sys

from forget_audit import supervision

TYPE_CHECKING = False  # the module typing takes longer than all that is needed before Ctrl-C counts
if TYPE_CHECKING:
    from typing import NoReturn

FAILED = 4
SUPERVISED = frozenset(
    {
        "bench", "calibrate", "certify", "demo", "doctor", "init", "list", "power", "reproduce",
        "show", "stress", "tune", "unlearn",
    }
)  # fmt: skip


def main() -> None:
    """Run the command line; a command that runs code of others does so in a process of its own.

    Plans name functions, and packages of others bring attacks and methods by entry points. Without
    `os.fork`, as on Windows, all is one process.
    """
    supervision.heed_early()
    try:
        from forget_audit.faults import prepare_streams, storage_error

        if sys.argv[1:2] and sys.argv[1] in SUPERVISED and hasattr(os, "fork"):
            prepare_streams()  # or a pipe would take the number of one that is missing
            try:
                supervision.divide(_vanished)
            except OSError as error:
                _fail(str(storage_error(error)))
        from forget_audit.cli import main as run
    except Exception:  # noqa: BLE001  Python would end with the code of a FAIL
        import traceback

        _fail(f"{traceback.format_exc()}forget-audit cannot start; install it again")
    run()


def _vanished(code: int, asked: int | None) -> int:
    from forget_audit.commands import ending

    return ending.vanished(code, asked)


def _fail(words: str) -> NoReturn:
    sys.stderr.write(f"{words}\n")
    supervision.tell(FAILED)
    sys.exit(FAILED)
