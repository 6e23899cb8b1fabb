"""How often is the verdict right? True retrains, bad unlearners and residues on real data.

Writes `calibration.json`, a page of tables and a plot. Everything together trains some 7,000
models: about an hour on two cores. `--only` measures one part, `--quick` a tenth of each.

    python benchmarks/calibrate.py --workers 2 --out benchmarks/results
"""

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from forget_audit import __version__
from forget_audit.audits import tally
from forget_audit.audits.calibration import Size, Trial

matplotlib.use("Agg")
plt.rcParams.update({"svg.hashsalt": "calibration", "svg.fonttype": "none", "font.size": 9})
COLOURS = {"PASS": "#2b7a4b", "FAIL": "#b3372e", "INCONCLUSIVE": "#9a9a9a"}
RETRAIN = {"name": "retrain"}
Tables = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """One data set, architecture and kind of request.

    Args:
        title: For people.
        tables: Of the plan.
        seeds: Requests.
        size: How much is measured for each.
        group: Set-ups of a group are pooled.
    """

    title: str
    tables: Tables
    seeds: Sequence[int]
    size: Size
    group: str


def plan(
    source: str, random: int = 0, classes: Sequence[int] = (), attribute: str = "",
    scope: str = "instance", architecture: str = "mlp", **data: object,
) -> Tables:  # fmt: skip
    """Return the tables of a plan."""
    request: dict[str, object] = {"reference": "CALIBRATION", "scope": scope}
    if attribute:
        request["attribute"] = attribute
    else:
        request |= {"random": random} if random else {"classes": list(classes)}
    return {
        "request": request,
        "data": {"source": source, **data},
        "model": {"architecture": architecture},
        "method": RETRAIN,
    }


HUNDRED = Size(pool=80, originals=16, retrained=40, bad=4, left_in=8)
SMALL = Size(pool=62, originals=16, retrained=40, bad=2, left_in=0)
LARGE = Size(pool=62, originals=16, retrained=20, bad=2, left_in=16, shares=(0.2, 0.4))
CLASS = Size(pool=100, originals=24, retrained=100, bad=24, left_in=0)
LABEL = Size(pool=90, originals=20, retrained=50, bad=8, left_in=8)
LABELS = ("even", "at least five", "has a loop", "prime")
SETUPS: Mapping[str, SetUp] = {
    "digits": SetUp(
        title="Digits, 15 % random labels, MLP", group="100 rows", seeds=range(5), size=HUNDRED,
        tables=plan("digits", random=100, label_noise=0.15),
    ),
    "randhie": SetUp(
        title="RAND health insurance, MLP", group="100 rows", seeds=range(5), size=HUNDRED,
        tables=plan("randhie", random=100),
    ),
    "fair": SetUp(
        title="Redbook survey, MLP", group="100 rows", seeds=range(5), size=HUNDRED,
        tables=plan("fair", random=100),
    ),
    "anes96": SetUp(
        title="Election study 1996, MLP", group="100 rows", seeds=range(5), size=HUNDRED,
        tables=plan("anes96", random=100),
    ),
    "cnn": SetUp(
        title="Digits, 15 % random labels, small CNN", group="100 rows", seeds=range(5),
        size=HUNDRED, tables=plan("digits", random=100, architecture="cnn", label_noise=0.15),
    ),
    "digits-300": SetUp(
        title="Digits, 15 % random labels, MLP", group="300 rows", seeds=range(3), size=LARGE,
        tables=plan("digits", random=300, label_noise=0.15, train=900, test=600),
    ),
    "randhie-300": SetUp(
        title="RAND health insurance, MLP", group="300 rows", seeds=range(3), size=LARGE,
        tables=plan("randhie", random=300, train=900, test=600),
    ),
    "digits-10": SetUp(
        title="Digits, 15 % random labels, MLP", group="10 rows", seeds=range(3), size=SMALL,
        tables=plan("digits", random=10, label_noise=0.15),
    ),
    "randhie-10": SetUp(
        title="RAND health insurance, MLP", group="10 rows", seeds=range(2), size=SMALL,
        tables=plan("randhie", random=10),
    ),
    "class-3": SetUp(
        title="Digits, class 3, MLP", group="class 3", seeds=range(2), size=CLASS,
        tables=plan("digits", classes=(3,), scope="class", train=700, test=1000),
    ),
    "class-8": SetUp(
        title="Digits, class 8, MLP", group="class 8", seeds=range(2), size=CLASS,
        tables=plan("digits", classes=(8,), scope="class", train=700, test=1000),
    ),
    **{
        f"label-{label.split()[-1]}": SetUp(
            title=f"Digits, the label “{label}” of four, MLP", group="one label of four",
            seeds=range(1), size=LABEL,
            tables=plan("digit_attributes", attribute=label, scope="attribute"),
        )
        for label in LABELS
    },
}  # fmt: skip


def smaller(size: Size) -> Size:
    """Return a tenth of what is judged, from the smallest pool."""
    return dataclasses.replace(
        size, pool=62, retrained=max(size.retrained // 10, 2), bad=1, left_in=min(size.left_in, 1)
    )


def page(parts: Mapping[str, dict[str, Any]]) -> str:
    """Return the tables of all parts, pooled by group first."""
    text = [
        "# Calibration",
        "",
        "Written by `benchmarks/calibrate.py`. Every row is a model whose true state is known, "
        "judged by the default rule with references and originals drawn anew; trials of one "
        "request share a pool of trained models, so the intervals are a little too narrow.",
    ]
    for group in dict.fromkeys(part["group"] for part in parts.values()):
        chosen = [part for part in parts.values() if part["group"] == group]
        if len(chosen) > 1:
            trials = [Trial(**trial) for part in chosen for trial in part["trials"]]
            text += ["", f"## {group}, all set-ups", "", tally.markdown(tally.tally(trials))]
            text.append(pooled(trials))
        for part in chosen:
            trials = [Trial(**trial) for trial in part["trials"]]
            text += ["", f"## {group}: {part['title']}", ""]
            text += [tally.markdown(tally.tally(trials)), pooled(trials)]
    return "\n".join(text).rstrip() + "\n"


def pooled(trials: Sequence[Trial]) -> str:
    """Return one line on all bad unlearners."""
    bad = tally.pooled_bad(tally.tally(trials))
    if not bad["n"]:
        return ""
    counts, (low, high) = bad["counts"], bad["intervals"]["FAIL"]
    return (
        f"All bad unlearners: PASS {counts['PASS']}, FAIL {counts['FAIL']}, INCONCLUSIVE "
        f"{counts['INCONCLUSIVE']} of {bad['n']} (FAIL {low:.3f} to {high:.3f}, PASS at most "
        f"{bad['intervals']['PASS'][1]:.3f})."
    )


def plot(parts: Mapping[str, dict[str, Any]], group: str, file: Path) -> None:
    """Draw the shares of the three verdicts for each kind of model of a group."""
    chosen = [part for part in parts.values() if part["group"] == group]
    trials = [Trial(**trial) for part in chosen for trial in part["trials"]]
    rows = tally.tally(trials)[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(rows) + 1.2), layout="constrained")
    left = np.zeros(len(rows))
    for outcome, colour in COLOURS.items():
        shares = np.array([100 * row["counts"][outcome] / row["n"] for row in rows])
        axes.barh(range(len(rows)), shares, left=left, color=colour, label=outcome, height=0.7)
        left += shares
    axes.set_yticks(range(len(rows)), [f"{row['kind']} ({row['n']})" for row in rows])
    axes.set_xlabel("share of verdicts in per cent")
    axes.set_xlim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=SETUPS, default=list(SETUPS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--plot", type=Path, help="draw the requests of 100 rows here")
    chosen = parser.parse_args()
    file = chosen.out / "calibration.json"
    parts: dict[str, dict[str, Any]] = {}
    if file.is_file() and not chosen.quick:
        parts = json.loads(file.read_text("utf-8"))["parts"]
    for name in chosen.only:
        setup, start = SETUPS[name], time.perf_counter()
        size = smaller(setup.size) if chosen.quick else setup.size
        seeds = setup.seeds[:1] if chosen.quick else setup.seeds
        trials = tally.measure(setup.tables, Path(), seeds, size, workers=chosen.workers)
        parts[name] = {
            "title": setup.title,
            "group": setup.group,
            "seconds": round(time.perf_counter() - start, 1),
            "size": dataclasses.asdict(size),
            "seeds": list(seeds),
            "trials": [dataclasses.asdict(trial) for trial in trials],
        }
        print(
            f"\n{name} ({parts[name]['seconds']} s)\n{tally.markdown(tally.tally(trials))}",
            flush=True,
        )
        print(pooled(trials), flush=True)
        chosen.out.mkdir(parents=True, exist_ok=True)
        about = {"version": __version__, "python": platform.python_version()}
        file.write_text(json.dumps({**about, "parts": parts}) + "\n", encoding="utf-8")
        (chosen.out / "calibration.md").write_text(page(parts), encoding="utf-8")
    if chosen.plot:
        plot(parts, "100 rows", chosen.plot)


if __name__ == "__main__":
    main()
