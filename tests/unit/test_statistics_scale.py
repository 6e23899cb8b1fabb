"""Statistics of a few models at a time: the same numbers, in little memory, however many rows."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from forget_audit import stats
from forget_audit.nulls import Sums
from forget_audit.outputs import Derived, Outputs, unit_means
from forget_audit.seeds import generator
from forget_audit.types import UNKNOWN, Floats, Scope
from forget_audit.verdict import row_statistics, yardstick

ROOT = Path(__file__).resolve().parents[2]


def outputs(models: int, n_f: int, n_t: int, *, people: bool = False, labels: int = 0) -> Outputs:
    rng = generator(100, models, n_f)
    classes = labels or 4
    y_f, y_t = rng.integers(0, classes, n_f), rng.integers(0, classes, n_t)
    if labels:
        y_f, y_t = rng.integers(0, 2, (n_f, labels)), rng.integers(0, 2, (n_t, labels))
        y_f[::5, 0] = y_t[::7, 1] = UNKNOWN
    return Outputs(
        logits_f=rng.normal(size=(models, n_f, classes)).astype(np.float32),
        logits_t=rng.normal(size=(models, n_t, classes)).astype(np.float32),
        y_f=y_f,
        y_t=y_t,
        retain_accuracy=rng.random(models),
        test_accuracy=rng.random(models),
        units_f=np.arange(n_f) // 2 if people else None,
        units_t=np.arange(n_t) // 3 if people else None,
    )


@pytest.mark.parametrize("scope", ["instance", "class"])
@pytest.mark.parametrize("people", [False, True], ids=["rows", "people"])
@pytest.mark.parametrize("labels", [0, 3], ids=["classes", "labels"])
@pytest.mark.parametrize("at_once", [1, 300])
def test_a_few_models_at_a_time_give_the_very_same_numbers(
    monkeypatch: pytest.MonkeyPatch, scope: Scope, people: bool, labels: int, at_once: int
) -> None:
    derived = Derived.of(outputs(9, 40, 120, people=people, labels=labels))
    originals, pool = derived.take(np.arange(2)), np.arange(2, 9)
    whole = yardstick.leave_one_out(derived, pool, originals, scope)
    monkeypatch.setattr(row_statistics, "AT_ONCE", at_once)
    parts = yardstick.leave_one_out(derived, pool, originals, scope)
    assert parts[0].values.keys() == whole[0].values.keys()
    for one, other in zip(parts, whole, strict=True):
        assert [one.row_error, *one.values.values()] == [other.row_error, *other.values.values()]


def test_the_primary_alone_is_the_same() -> None:
    derived = Derived.of(outputs(9, 40, 120))
    originals, pool = derived.take(np.arange(2)), np.arange(2, 9)
    whole = yardstick.leave_one_out(derived, pool, originals, "instance")
    alone = yardstick.leave_one_out(derived, pool, originals, "instance", primary_only=True)
    assert [dict(m.values) for m in alone] == [{"rho_p": m.values["rho_p"]} for m in whole]
    assert [m.row_error for m in alone] == [m.row_error for m in whole]
    with pytest.raises(ValueError, match="at least three models, found 2"):
        yardstick.leave_one_out(derived, pool[:2], originals, "instance")


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_sums_say_what_numpy_says_of_the_whole_pool(offset: float) -> None:
    pool = generator(101).normal(size=(8, 50)) + offset
    sums = Sums.of(lambda: pool)
    np.testing.assert_array_equal(sums.mean, pool.mean(axis=0))
    np.testing.assert_array_equal(sums.squares, ((pool - pool.mean(axis=0)) ** 2).sum(axis=0))
    variance = pool.var(axis=0, ddof=1)
    expected = np.sqrt((7 * variance + 4 * variance.mean()) / 11)
    np.testing.assert_allclose(sums.null().sd, expected, rtol=1e-12)


def test_scores_of_all_models_are_those_of_each() -> None:
    seen = outputs(5, 12, 30, people=True)
    derived = Derived.of(seen.take(np.arange(2)), seen.take(np.arange(2, 5)))
    logits = np.concatenate([seen.logits_f, seen.logits_t], axis=1).astype(np.float64)
    labels = np.concatenate([seen.y_f, seen.y_t])
    unit = np.concatenate([np.arange(12) // 2, 6 + np.arange(30) // 3])
    phi = stats.log_odds(logits, labels)

    def check(found: Floats, expected: Floats) -> None:
        np.testing.assert_array_equal(found, unit_means(expected, unit))

    check(derived.phi, phi)
    check(derived.p, stats.label_probability(phi))
    check(derived.loss, stats.cross_entropy(logits, labels))
    np.testing.assert_array_equal(derived.predictions, stats.probabilities(logits))
    np.testing.assert_array_equal(np.stack(list(derived.each_p())), derived.p)
    np.testing.assert_array_equal(derived.take(np.array([3])).phi, derived.phi[3:4])


def test_memory_does_not_grow_with_models_times_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside the log-odds, what is in work belongs to one model at a time."""
    monkeypatch.setattr(row_statistics, "AT_ONCE", 1)
    derived = Derived.of(outputs(32, 1000, 9000))
    originals, pool = derived.take(np.arange(2)), np.arange(2, 32)
    tracemalloc.start()
    yardstick.leave_one_out(derived, pool, originals, "instance")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    of_a_model = 10_000 * 8
    assert peak < 60 * of_a_model, "a table of one score of all models takes 30"


def test_the_benchmark_prints_rows_seconds_memory_and_exponent(tmp_path: Path) -> None:
    file = tmp_path / "scaling.json"
    script = ROOT / "benchmarks" / "statistics_scaling.py"
    call = [sys.executable, str(script), "--rows", "1000", "2000", "--models", "14"]
    done = subprocess.run(
        [*call, "--out", str(file)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text("utf-8"))
    assert [one["rows"] for one in found["sizes"]] == [1000, 2000]
    assert all(one["cpu_s"] > 0 and one["peak_gb"]["weigh"] < 1 for one in found["sizes"])
    assert "exponents of time in rows: cpu" in done.stdout
