"""How often does a bound on epsilon claim something where there is nothing?

Draws scores of unlearned and retrained models from one law, and candidates whose coins the
scores do not know, and counts claims `epsilon > 0` at confidence 95 %. A valid bound claims in at
most 5 % of the draws; the two rules that choose their threshold on the models they count do not
keep to it.

    python benchmarks/epsilon_null.py --draws 1000
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

from forget_audit.seeds import generator
from forget_audit.types import Floats
from forget_audit.verdict import epsilon

SIZES = (50, 200, 1000)
LEVEL = 0.95
DELTA = 1e-5
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "heavy tails": lambda rng, size: rng.standard_t(2, size),
    "five values": lambda rng, size: rng.binomial(4, 0.5, size).astype(np.float64),
}
BOUNDS = {
    "two samples (E1)": "confidence",
    "two samples, Gaussian (E2)": "confidence",
    "coins, one record (E3)": "confidence",
    "coins, whole request (E3)": "confidence",
    "coins, Gaussian (E4)": "confidence",
    "two samples, Bayesian (E5)": "credible",
    "NAIVE: exact limits, threshold from the same models": "none",
    "NAIVE: plain rates, threshold from the same models": "none",
    "NAIVE: the same, claims above 0.5": "none",
}
HEADING = """\
# Claims of epsilon above zero where there is nothing

One law for both groups, confidence 95 %. `n` models a side, half of them to choose the rule; for
coins `n` candidates and two fifths as many guesses. The exact upper limit is that of a two-sided
95 % interval; the exact chance of a claim is known for coins if no scores tie. The naive rules
choose their threshold on the models they count and are shown as a warning; no verdict uses them.

"""


def two_sample_claims(unlearned: Floats, retrained: Floats, rng: np.random.Generator) -> set[str]:
    """Return the bounds that claim something of two groups of models."""
    half = len(unlearned) // 2
    rule = epsilon.choose_rule(unlearned[:half], retrained[:half], level=LEVEL)
    counts = rule.counts(unlearned[half:], retrained[half:])
    mu = epsilon.gaussian_mu(counts, level=LEVEL)
    plain = epsilon.oracle_epsilon(unlearned, retrained, delta=DELTA)
    values = (
        epsilon.counts_epsilon(counts, misses=rule.misses, level=LEVEL),
        epsilon.gaussian_epsilon(mu, DELTA),
        epsilon.bayesian_interval(counts, rng, level=LEVEL, draws=4000)[0],
        epsilon.two_sample_bound(unlearned, retrained, unlearned, retrained, level=LEVEL),
        plain,
        plain - 0.5,
    )
    names = [name for name in BOUNDS if not name.startswith("coins")]
    return {name for name, value in zip(names, values, strict=True) if value > 0}


@cache
def coin_claims(r: int, v: int, m: int) -> frozenset[str]:
    """Return the bounds that claim something of `v` right guesses of `r`."""
    mu = epsilon.one_run_gaussian(r, v, m=m, level=LEVEL)
    values = (
        epsilon.one_run_per_example(r, v, m=m, level=LEVEL),
        epsilon.one_run_set_level(r, v, level=LEVEL),
        epsilon.gaussian_epsilon(mu, DELTA),
    )
    names = [name for name in BOUNDS if name.startswith("coins")]
    return frozenset(name for name, value in zip(names, values, strict=True) if value > 0)


def count_claims(shape: str, n: int, draws: int, seed: int) -> Counter[str]:
    """Count the claims of all bounds over draws without any difference."""
    rng = generator(seed, "epsilon", shape, n)
    unlearned, retrained = SHAPES[shape](rng, (2, draws, n))
    claims: Counter[str] = Counter()
    for u, r in zip(unlearned, retrained, strict=True):
        claims.update(two_sample_claims(u, r, rng))
    scores, coins = SHAPES[shape](rng, (draws, n)), rng.random((draws, n)) < 0.5
    r = guesses_among(n)
    for v in epsilon.guesses(scores, coins, r).sum(axis=1):
        claims.update(coin_claims(r, int(v), n))
    return claims


def guesses_among(n: int) -> int:
    """Return how many guesses are made among `n` candidates."""
    return 2 * (n // 5)


def exact_chance(bound: str, shape: str, n: int) -> float | None:
    """Return the exact probability of a claim where it is known: coins without ties."""
    if not bound.startswith("coins") or shape == "five values":
        return None
    r = guesses_among(n)
    found = [v for v in range(r + 1) if bound in coin_claims(r, v, n)]
    return float(np.sum(stats.binom.pmf(found, r, 0.5)))


def measured(draws: int, seed: int) -> list[dict[str, object]]:
    """Return one row a bound, shape and size."""
    rows: list[dict[str, object]] = []
    for n in SIZES:
        for shape in SHAPES:
            claims = count_claims(shape, n, draws, seed)
            rows += [
                {
                    "bound": bound,
                    "kind": kind,
                    "scores": shape,
                    "n": n,
                    "claims": claims[bound],
                    "draws": draws,
                    "upper_limit": float(epsilon.upper_limit(claims[bound], draws, 0.975)),
                    "exact_chance": exact_chance(bound, shape, n),
                }
                for bound, kind in BOUNDS.items()
            ]
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| bound | promise | scores | n | claims | of | share | exact upper limit | exact chance |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for bound in BOUNDS:
        for row in (row for row in rows if row["bound"] == bound):
            claims, draws, limit = (float(str(row[k])) for k in ("claims", "draws", "upper_limit"))
            chance = row["exact_chance"]
            lines.append(
                f"| {bound} | {row['kind']} | {row['scores']} | {row['n']} | {claims:.0f} "
                f"| {draws:.0f} | {claims / draws:.1%} | {limit:.1%} "
                f"| {'' if chance is None else format(chance, '.1%')} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the table and write it with its numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    start = time.perf_counter()
    rows = measured(options.draws, options.seed)
    text = table(rows)
    print(text)
    print(f"{time.perf_counter() - start:.0f} s")
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"level": LEVEL, "delta": DELTA, "seed": options.seed, "rows": rows}
    name = Path(__file__).stem
    (options.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (options.out / f"{name}.md").write_text(HEADING + text + "\n", "utf-8")


if __name__ == "__main__":
    main()
