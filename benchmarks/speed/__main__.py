"""Measure, keep, and write the page.

    python -m benchmarks.speed --part shadows --part bootstraps

Without `--part` all parts are measured, in about 20 minutes. A broken run goes on where it was:
what the same code has measured is kept under `build/speed`. Parts that are not measured keep
their last result.
"""

import argparse
from pathlib import Path

from benchmarks.speed import page, peers, written
from benchmarks.speed.clock import ROOT
from benchmarks.speed.machine import description
from benchmarks.speed.parts import PARTS
from benchmarks.speed.store import Store

WORK = ROOT / "build" / "speed"


def main(arguments: list[str] | None = None) -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=[*PARTS], help="may be repeated")
    parser.add_argument("--no-peers", action="store_true", help="do not install other tools")
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept")
    parser.add_argument("--tiny", action="store_true", help="at a size that shows that it works")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--out", type=Path, default=written.RESULTS)
    given = parser.parse_args(arguments)
    folder = given.work / "peers"
    if not given.no_peers:
        peers.install(folder)
    there = None if peers.missing(folder) else folder
    store = Store(folder=given.work / "runs", peers=there, fresh=given.fresh, tiny=given.tiny)
    result = written.read(given.out) or {"parts": {}}
    for name in given.part or PARTS:
        measured = PARTS[name](store)
        about = {"machine": description(), "peers": peers.versions(there), "code": store.code}
        result = {"parts": {**result["parts"], name: {**measured, **about}}}
        written.write(result, given.out)
        if given.out == written.RESULTS:
            written.write_docs()
        print(f"\n{page.TITLES[name]}\n\n{page.block(result, name)}\n", flush=True)


if __name__ == "__main__":
    main()
