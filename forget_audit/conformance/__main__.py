"""Check methods and attacks by name.

Usage: python -m forget_audit.conformance NAME... [--slow]

Ends with 0 if everything is kept, 1 if something is not, 2 if there is no item of that name.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from forget_audit import registry
from forget_audit.conformance import results
from forget_audit.console import complain, say
from forget_audit.errors import UnknownName


def _found(name: str) -> type[Any]:
    known: dict[str, type[Any]] = {**registry.attacks(), **registry.methods()}
    if name not in known:
        raise UnknownName(registry.unknown("method or attack", name, known))
    return known[name]


def main(words: Sequence[str]) -> int:
    """Check the items named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m forget_audit.conformance")
    parser.add_argument("names", nargs="+", metavar="NAME", help="of a method or an attack")
    parser.add_argument("--slow", action="store_true", help="also what takes minutes")
    given = parser.parse_args(words)
    try:
        items = [(name, _found(name)) for name in given.names]
    except UnknownName as error:
        complain(str(error))
        return 2
    broken = 0
    for name, item in items:
        for result in results(item, slow=given.slow):
            broken += result.outcome == "broken"
            reason = f": {result.reason}" if result.reason else ""
            say(f"{result.outcome:<11}  {name}: {result.check}{reason}")
    say(f"{broken} not kept" if broken else "everything is kept")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
