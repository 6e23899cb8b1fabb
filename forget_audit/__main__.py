"""`python -m forget_audit` is the command `forget-audit`, and like it imports nothing from here.

Python puts the current folder before all others. Whoever checks a folder stands in it, and a file
there called `json.py` would be run. A file called `forget_audit.py` still is, before this one is
read: `python -P -m forget_audit` looks for nothing here at all.
"""

import os
import sys

import forget_audit


def leave_current_folder() -> None:
    """Take the current folder from where modules are looked for, unless we ourselves lie there."""
    ours = os.path.abspath(f"{forget_audit.__file__}/../..")  # noqa: PTH100  pathlib may lie here
    try:
        here = os.getcwd()  # noqa: PTH109
    except OSError:  # it was removed
        here = ""
    if not sys.flags.safe_path and sys.path[0] in (here, "") and here != ours:
        del sys.path[0]


if __name__ == "__main__":
    leave_current_folder()
    from forget_audit.program import main

    main()
