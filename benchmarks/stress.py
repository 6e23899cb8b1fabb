"""A stress test of four methods on the digits, as `forget-audit stress` makes it.

Writes the files of the command to a folder and prints its short table. Two cores take about five
minutes.

    python benchmarks/stress.py --out benchmarks/results --workers 2
"""

import argparse
from pathlib import Path

from forget_audit.plans.plan import check_plan
from forget_audit.registry import make_method
from forget_audit.stress.files import lines, write
from forget_audit.stress.ground import Extent
from forget_audit.stress.running import Order, stress
from forget_audit.stress.strategies import chosen

METHODS = ("scrub", "ssd", "finetune", "retrain")
PLAN = {
    "request": {"reference": "stress-on-digits", "random": 70},
    "data": {"source": "digits", "label_noise": 0.15},
    "method": {"name": METHODS[0]},
}


def main() -> None:
    """Run the stress test with the command's default settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--memory", type=Path, help="folder in which a broken run is remembered")
    given = parser.parse_args()
    order = Order(
        plan=check_plan(PLAN, Path()),
        methods={name: make_method(name) for name in METHODS},
        strategies=chosen(None),
        extent=Extent(workers=given.workers),
        memory=given.memory,
    )
    done = 0

    def progress(sets: int) -> None:
        nonlocal done
        done += sets
        print(f"{done} of {order.total} sets", flush=True)

    result = stress(order, progress)
    paths = write(result, given.out)
    print("\n".join([*lines(result), *map(str, paths)]))


if __name__ == "__main__":
    main()
