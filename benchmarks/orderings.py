"""What is expected of the methods beside each other, held against the results of the benchmark.

Reads `bench-class.json`, `bench-instance.json` and `bench-attribute.json`, as `make bench` writes
them, trains once more where a training log is needed, and says of each expectation whether the
mean over seeds meets it, with the value of every seed. What does not hold is printed like what
does.

    python benchmarks/orderings.py --results benchmarks/results
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forget_audit.bench.requests import REQUESTS as REQUESTS_BY_NAME
from forget_audit.methods.amnesiac import Amnesiac
from forget_audit.methods.partial_amnesiac import PartialAmnesiac
from forget_audit.targets import Target
from forget_audit.training.log import Grouped, record
from forget_audit.training.trainers import RecipeTrainer

REQUESTS = ("class", "instance", "attribute")
FORGOTTEN, LEFT_INSIDE, SILENT = 0.05, 0.35, 0.05
ASCENT = "neggrad, stop_at_chance=false"  # as published; ours stops at chance by default
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One statement and what was found.

    Args:
        text: The statement.
        holds: Whether the means meet it.
        values: By name, one value a seed.
    """

    text: str
    holds: bool
    values: Mapping[str, Sequence[float]]


class Results:
    """The rows of one request by name.

    Args:
        file: As the benchmark wrote it.
    """

    def __init__(self, file: Path) -> None:
        found = json.loads(file.read_text("utf-8"))
        self.rows: dict[str, Row] = {row["name"]: row for row in found["rows"]}
        self.normal: Row = found["retrained"]["metrics"]

    def values(self, name: str, metric: str) -> list[float]:
        """Return the value of each seed; none if the row was not measured."""
        spread = self.rows[name]["metrics"].get(metric)
        return list(spread["values"]) if spread else []

    def expect(
        self, text: str, metric: str, names: Sequence[str], holds: Callable[..., bool]
    ) -> Expectation:
        """Hold `holds`, a function of the means of `names`, against what was found."""
        values = {name: self.values(name, metric) for name in names}
        means = [float(np.mean(found)) if found else np.nan for found in values.values()]
        return Expectation(text=text, holds=bool(holds(*means)), values=values)


def expectations(results: dict[str, Results]) -> Iterator[Expectation]:
    """Return every expectation."""
    by_class, single, label = (results[name] for name in REQUESTS)
    for name in ("self_unlearning", "suli", "random_label", "boundary_shrink", ASCENT, "neggrad"):
        yield by_class.expect(
            f"class: {name} leaves a forget accuracy of at most {FORGOTTEN:g}",
            "forget_accuracy", [name], lambda found: found <= FORGOTTEN,
        )  # fmt: skip
    yield by_class.expect(
        f"class: suli keeps at least the retain accuracy of {ASCENT}",
        "retain_accuracy", ["suli", ASCENT], lambda suli, ascent: suli >= ascent,
    )  # fmt: skip
    yield by_class.expect(
        "class: suli keeps at least that of self_unlearning, and this that of random_label",
        "retain_accuracy", ["suli", "self_unlearning", "random_label"],
        lambda first, second, third: first >= second >= third,
    )  # fmt: skip
    for name in ("eu_k, k=1", "eu_k", "linear_filtration"):
        yield by_class.expect(
            f"class: the probe finds the class inside {name} (share above {LEFT_INSIDE:g})",
            "probe", [name], lambda found: found > LEFT_INSIDE,
        )  # fmt: skip
    low = single.normal["mia_auc"]["low"]
    for name in ("bad_teacher", "amnesiac_relabel"):
        yield single.expect(
            f"instance: {name} over-forgets: membership AUC below that of retrained ({low:.3f})",
            "mia_auc", [name], lambda found: found < low,
        )  # fmt: skip
    for name in ("weight_filtering", "weight_pruning"):
        high, paper = f"{name}, select=high", f"{name}, select=paper_low"
        yield label.expect(
            f"attribute: {name} silences the output with select=high, not with paper_low",
            "head_auc", [high, paper],
            lambda found, other: abs(found - 0.5) <= SILENT < abs(other - 0.5),
        )  # fmt: skip
    flipped = label.rows["head flipped"]
    yield Expectation(
        text=f"attribute: the detector calls a flipped head {flipped['head']['call']}",
        holds=flipped["head"]["call"] == "INVERTED",
        values={"head flipped": label.values("head flipped", "head_auc")},
    )


def subtracted(seeds: int = 5) -> Iterator[Expectation]:
    """Subtract updates whole and in part where the threes were dealt together, in training.

    Yields what is expected of the retained rows, and then of the forgotten ones.
    """
    case = REQUESTS_BY_NAME["class"].case()
    trainer, rows = case.trainer, case.training
    assert isinstance(trainer, RecipeTrainer)
    forgotten = np.flatnonzero(np.isin(rows.ids, case.forget.ids))
    dealer = Grouped(positions=tuple(forgotten.tolist()), share=0.2)
    part = PartialAmnesiac()
    kept: dict[str, list[float]] = {"partial_amnesiac": [], "amnesiac": []}
    left: dict[str, list[float]] = {"partial_amnesiac": [], "amnesiac": []}
    for seed in range(seeds):
        for name, method, storage in (
            ("partial_amnesiac", part, part.storage()),
            ("amnesiac", Amnesiac(), None),
        ):
            model, log = record(trainer, rows, seed, dealer=dealer, storage=storage)
            done = method.unlearn(model, case.replace(log=log), np.random.default_rng(seed))
            target = Target(done.model)
            kept[name].append(target.accuracy(case.retain))
            left[name].append(target.accuracy(case.forget))
    partial, whole = (float(np.mean(values)) for values in kept.values())
    yield Expectation(
        text="class, dealt together: partial_amnesiac keeps at least the retain accuracy of "
        "amnesiac",
        holds=partial >= whole,
        values=kept,
    )
    partial, whole = (float(np.mean(values)) for values in left.values())
    yield Expectation(
        text="class, dealt together: and leaves no more forget accuracy",
        holds=partial <= whole,
        values=left,
    )


def main() -> None:
    """Print every expectation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    folder = parser.parse_args().results
    results = {name: Results(folder / f"bench-{name}.json") for name in REQUESTS}
    for found in (*expectations(results), *subtracted()):
        print(f"{'holds' if found.holds else 'FAILS'}  {found.text}")
        for name, values in found.values.items():
            print(f"         {name}: {' '.join(f'{value:.3f}' for value in values) or 'nothing'}")


if __name__ == "__main__":
    main()
