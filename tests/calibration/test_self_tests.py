"""The audit audited: models whose true state is known, fakes, residues, and limits in advance.

Letters in the names follow the list of self-tests: (a) true retrains, (b) what was never or
badly unlearned, (c) fakes, (d) residues, (e) few rows, (f) another recipe, (g) leakage, (h) and
(i) changes of the scores that must not matter, (j) epsilon, (k) figures known beforehand.
Counts are held against binomial limits that a sound audit breaks once in a thousand runs.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, chisquare, rankdata
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from forget_audit import registry, stats
from forget_audit.attacks.loss_cross_validation import LossCrossValidation
from forget_audit.audits import impostors
from forget_audit.audits.calibration import RETRAINED, answers_of
from forget_audit.audits.impostors import UNLEARNERS
from forget_audit.audits.scoring import score_groups
from forget_audit.contracts import Scores
from forget_audit.errors import LeakageError
from forget_audit.experiments.backdoor import decision_rule
from forget_audit.experiments.challenge_quality import row_epsilons, weights
from forget_audit.outputs import Derived, Outputs
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Index
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Floats
from forget_audit.verdict import epsilon, exact_tests, weighing, yardstick
from forget_audit.verdict.policy import weigh
from forget_audit.verdict.weighing import Family, Models
from tests.calibration.conftest import (
    SIZE,
    Lookup,
    Restless,
    Trained,
    differing,
    lookup,
    residues,
    small_request,
)

ALPHA = 0.05
REFERENCES, OTHERS = 39, 12
NEVER_FORGOT = tuple(UNLEARNERS)[:5]
FAKES = ("random labels", *impostors.ANSWERS)

DRAWS = 10  # one draw of the first ten has a pair of identity models that stand out by chance


def most_false_alarms(n: int) -> int:
    return int(binom.ppf(0.999, n, ALPHA))


def family_of(derived: Derived, pool: Index, originals: Derived) -> Family:
    """Compare the last model of `pool` with the others."""
    measured = yardstick.leave_one_out(derived, pool, originals, "instance")
    return weighing.compare(measured, 1, weighing.family_names(measured[0], "instance"))


def models_of(trained: Trained, audited: Outputs, *, skip: int) -> Models:
    """Return an audit against the first references and originals but those numbered `skip`."""
    counts, bench = trained.commission.counts, trained.bench
    chosen = np.delete(np.arange(len(bench.retrained)), skip)
    parents = np.delete(np.arange(len(bench.originals)), skip)
    return Models(
        retrained=bench.retrained.take(chosen[: counts.retrained]),
        identity=bench.retrained.take(chosen[counts.retrained :][: counts.identity]),
        originals=bench.originals.take(parents[: counts.originals]),
        audited=audited,
    )


def assert_uniform(p_values: Floats, levels: int) -> None:
    """Hold p-values against the uniform law on `1 / levels, ..., 1`, at a level of .001."""
    ranks = np.rint(p_values * levels).astype(np.int64)
    assert np.allclose(ranks / levels, p_values)
    counts = np.bincount(ranks, minlength=levels + 1)[1:]
    assert chisquare(counts).pvalue > 1e-3
    gap = np.abs(np.cumsum(counts) / len(ranks) - np.arange(1, levels + 1) / levels)
    assert gap.max() < 1.95 / math.sqrt(len(ranks)), "the limit of Kolmogorov and Smirnov"


# (a)


def test_a_true_retrains_rarely_fail_and_pass_as_predicted(trained: Trained) -> None:
    trials = trained.of(RETRAINED)
    outcomes = [trial.outcome for trial in trials]
    expected = float(np.mean([trial.expected for trial in trials]))
    assert len(trials) == SIZE.retrained
    assert expected > 0.8
    assert outcomes.count("FAIL") <= most_false_alarms(len(trials))
    assert outcomes.count("PASS") >= binom.ppf(0.001, len(trials), expected * (1 - ALPHA))
    assert sum(trial.p_value <= ALPHA for trial in trials) <= most_false_alarms(len(trials))


def test_a_each_of_forty_retrained_models_gets_a_p_value_of_its_own(trained: Trained) -> None:
    """Exchangeability of real models, exactly: called audited in turn, they fill all ranks.

    Models of equal distance share the larger p-value; few do, where a rate is most extreme.
    """
    derived = Derived.of(trained.bench.retrained)
    originals = Derived.of(trained.bench.originals)
    everyone = np.arange(REFERENCES + 1)
    p_values = [
        family_of(derived, np.append(everyone[everyone != k], k), originals).p_value
        for k in everyone
    ]
    assert p_values == pytest.approx(rankdata(p_values, method="max") / len(everyone))
    assert len(set(p_values)) > 30
    assert sum(p <= ALPHA for p in p_values) == 2


def test_a_p_values_of_exchangeable_models_are_uniform() -> None:
    """From answers to p-value, on answers drawn anew each time: 400 audits of 40 models."""
    y_f, y_t = np.arange(12) % 3, np.arange(24) % 3

    def draw(k: int, models: int, lean: int) -> Outputs:
        world, rng = generator(1, "rows", k), generator(1, "models", k, lean)
        rows = world.standard_normal((36, 3)) * world.chisquare(3, (36, 1))
        logits = rows + rng.standard_normal((models, 36, 3)) + rng.standard_normal((models, 1, 3))
        return Outputs(
            logits_f=logits[:, :12] + lean * np.eye(3)[y_f],
            logits_t=logits[:, 12:],
            y_f=y_f,
            y_t=y_t,
            retain_accuracy=np.ones(models),
            test_accuracy=np.ones(models),
        )

    def p_value(k: int) -> float:
        derived = Derived.of(draw(k, REFERENCES + 1, 0))
        originals = Derived.of(draw(k, 2, 2))
        return family_of(derived, np.arange(REFERENCES + 1), originals).p_value

    assert_uniform(np.array([p_value(k) for k in range(400)]), REFERENCES + 1)


def test_a_max_t_is_uniform_for_correlated_heavy_tailed_statistics() -> None:
    rng = generator(2, "tables")
    mixing = rng.standard_normal((9, 9))
    tables = rng.standard_t(3, (4000, REFERENCES + 1, 9)) @ mixing
    p_values = [exact_tests.max_t_p_value(table[:-1], table[-1:], rng) for table in tables]
    assert_uniform(np.array(p_values), REFERENCES + 1)
    tables[:400, -1] *= 1.5
    spread = [exact_tests.max_t_p_value(table[:-1], table[-1:], rng) for table in tables[:400]]
    with pytest.raises(AssertionError):
        assert_uniform(np.array(spread), REFERENCES + 1)


# (b)


@pytest.mark.parametrize("kind", NEVER_FORGOT)
def test_b_what_was_not_unlearned_fails_with_residual(trained: Trained, kind: str) -> None:
    trials = trained.of(kind)
    assert len(trials) == SIZE.bad
    assert all(trial.outcome == "FAIL" and "RESIDUAL" in trial.reasons for trial in trials)


# (c)


@pytest.mark.parametrize("kind", FAKES)
def test_c_fakes_2_to_6_fail(trained: Trained, kind: str) -> None:
    trials = trained.of(kind)
    assert len(trials) == SIZE.bad
    assert all(trial.outcome == "FAIL" for trial in trials)
    if kind == "temperature suppression":
        assert all("OVERFORGET" in trial.reasons for trial in trials)


def test_c_fake_5_is_invisible_to_attacks_on_the_population(trained: Trained) -> None:
    """Loss AUC and cross-validated losses see chance where the originals stand out.

    The fake draws the log-odds of a control row for each forget row, so its AUC has mean .5 and
    variance `1 / (12 n_f)`. Out-of-fold scores lie below .5 by chance, so retrained models tell
    what is usual.
    """
    case, bench = trained.commission.case, trained.bench
    attack = LossCrossValidation(samplings=4, svm_samplings=1)
    fit = attack.fit(Pool(), case, generator(3, "fit"))

    def values(target: Target) -> Floats:
        scores = [-stats.cross_entropy(target.logits(r), r.y) for r in (case.forget, case.test)]
        found = fit.score(target, generator(3, "score")).scalars["out_of_fold_auc"]
        return np.array([stats.auc(scores[0], scores[1]), found])

    retrained = np.array([values(target) for target in trained.models[:12]])
    usual = np.array([0.5, retrained[:, 1].mean()])
    limit = 3.3 / math.sqrt(12 * len(case.forget))
    for k in range(3):
        adapted = impostors.adapted(bench.originals.take(np.array([k])), generator(3, k))
        parent = bench.parents[k]
        fake = Target(Lookup(parent.model_copy(), case.forget.x, adapted.logits_f[0]).eval())
        assert np.all(np.abs(values(fake) - usual) < limit)
        original = values(parent)
        assert np.all(original > retrained.max(axis=0))
        assert np.all(original - usual > limit)
        (trial,) = trained.judge("fake 5", answers_of([fake], trained.commission), DRAWS + k)
        assert trial.outcome == "FAIL"


def test_c_fake_7_an_original_that_answers_with_dropout_fails(trained: Trained) -> None:
    case = trained.commission.case
    for k in range(3):
        parent = trained.bench.parents[k].model_copy()
        assert isinstance(parent, torch.nn.Sequential)
        model = Restless(parent, 0.1, seed=k).eval()
        first, second = (Target(model).logits(case.forget) for _ in range(2))
        assert not np.array_equal(first, second)
        audited = answers_of([Target(model)], trained.commission)
        (trial,) = trained.judge("dropout", audited, DRAWS + k, not_original=k)
        assert trial.outcome == "FAIL"
        assert "RESIDUAL" in trial.reasons


def test_c_fake_8_copied_answers_are_outside_what_answers_can_show(trained: Trained) -> None:
    """An original that looks up a retrained model's answers: the claim excludes it in words.

    What decides about PASS cannot see it; the difference tests may or may not.
    """
    margin = trained.commission.profile.margins("instance", 1)["rho_p"]
    for k in range(4):
        copied, own = trained.bench.retrained.logits_f[k], trained.bench.originals.logits_t[k]
        audited = lookup(trained, k, copied)
        assert np.allclose(audited.logits_f[0], copied, atol=1e-4)
        assert np.allclose(audited.logits_t[0], own, atol=1e-4)
        weighed = weigh(
            models_of(trained, audited, skip=k),
            profile=trained.commission.profile,
            scope="instance",
        )
        assert abs(weighed.privacy.of("rho_p").difference) < margin
        assert "answers copied from a retrained model are outside the claim" in (
            weighed.verdict.scope
        )


@pytest.mark.parametrize("kind", ["logit mask", "bias mask"])
def test_c_fake_1_masks_of_a_class_are_seen_inside_the_model_only(
    class_trained: Trained, kind: str
) -> None:
    commission, parent = class_trained.commission, class_trained.bench.parents[0]
    made = impostors.MODELS[kind](parent.model_copy(), commission.case, generator(4, kind))
    masked = Target(made)
    assert not np.isin(masked.labels(commission.case.test), commission.case.classes).any()
    audited = answers_of([masked], commission)
    trials = {t.access: t for t in class_trained.judge(kind, audited, 0, not_original=0)}
    assert trials["weights"].outcome == "FAIL"
    assert "MASK" in trials["weights"].reasons
    blind = trials["score"]
    assert blind.outcome == "FAIL" or "ACCESS" in blind.reasons
    assert blind.outcome != "PASS"
    assert "MASK" not in blind.reasons


def test_c_true_retrains_of_a_class_are_no_masks(class_trained: Trained) -> None:
    outcomes = []
    for k in range(3):
        audited = class_trained.bench.retrained.take(np.array([k]))
        for trial in class_trained.judge(RETRAINED, audited, k, not_reference=k):
            assert "MASK" not in trial.reasons
            outcomes.append((trial.access, trial.outcome))
    assert ("weights", "PASS") in outcomes
    assert ("score", "PASS") not in outcomes


# (d)


def test_d_the_influence_found_grows_with_the_share_left_in(trained: Trained) -> None:
    groups = residues(trained, (0.1, 0.2, 0.4), 8)
    originals = trained.bench.originals
    whole = [
        trial
        for k in range(len(originals))
        for trial in trained.judge("original", originals.take(np.array([k])), k, not_original=k)
    ]
    means = [np.mean([trial.difference for trial in group]) for group in (*groups, whole)]
    assert 0 < means[0] < means[1] < means[2] < means[3]
    assert means[3] == pytest.approx(1.0, abs=0.15)
    largest = [*groups[2], *trained.of("40 % left in")]
    assert len(largest) == 8 + SIZE.left_in
    assert np.mean([trial.outcome == "FAIL" for trial in largest]) >= 0.9


# (e)


@pytest.mark.parametrize("n_f", [5, 10])
def test_e_few_rows_never_pass(trained: Trained, n_f: int) -> None:
    few = small_request(trained, n_f)
    trials = []
    for k in range(OTHERS):
        audited = few.bench.retrained.take(np.array([k]))
        trials += few.judge(RETRAINED, audited, k, not_reference=k)
    outcomes = [trial.outcome for trial in trials]
    assert outcomes.count("PASS") == 0
    assert outcomes.count("FAIL") <= most_false_alarms(len(trials))
    assert all("UNDERPOWERED" in t.reasons for t in trials if t.outcome == "INCONCLUSIVE")


# (f)


def test_f_one_more_step_an_epoch_is_not_taken_for_a_residue(trained: Trained) -> None:
    trainer = trained.commission.case.trainer
    assert isinstance(trainer, RecipeTrainer)
    recipe = dataclasses.replace(trainer.recipe, steps_per_epoch=7)
    other = trained.commission.case.replace(trainer=dataclasses.replace(trainer, recipe=recipe))
    commission = dataclasses.replace(trained.commission, case=other)
    audited = differing(commission, "seven steps", OTHERS)
    trials = [
        trial
        for k in range(OTHERS)
        for trial in trained.judge("seven steps", audited.take(np.array([k])), k)
    ]
    assert [trial.outcome for trial in trials].count("FAIL") <= most_false_alarms(len(trials))
    assert abs(np.mean([trial.difference for trial in trials])) < 0.05


def test_f_an_odd_last_batch_is_not_taken_for_a_residue(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six batches, the last of five rows: it hurts the accuracy, and forgets nothing less.

    Without the adjustment for difficulty the log-odds would show a residue that is none.
    """

    def odd(n: int, steps: int, rng: np.random.Generator) -> list[Index]:
        size = (n - 5) // (steps - 1)
        return np.split(rng.permutation(n), size * np.arange(1, steps))

    monkeypatch.setattr("forget_audit.training.together.deal", odd)
    audited = differing(trained.commission, "odd batch", OTHERS)
    trials = [
        trial
        for k in range(OTHERS)
        for trial in trained.judge("odd batch", audited.take(np.array([k])), k)
    ]
    accused = [t for t in trials if t.p_value <= ALPHA and "HARNESS" not in t.reasons]
    assert len(accused) <= most_false_alarms(len(trials))
    reference = Derived.of(trained.bench.retrained)
    taught = Derived.of(trained.bench.originals).phi.mean(axis=0)
    plain, adjusted = (
        yardstick.influences(
            stats.calibrate(reference.phi),
            Derived.of(audited).phi,
            taught,
            reference.n_f,
            cap=None,
            adjust=adjust,
        ).rho
        for adjust in (False, True)
    )
    assert abs(adjusted.mean()) < abs(plain.mean()) / 2


# (g)


def test_g_fitting_on_the_scored_rows_finds_members_among_random_scores() -> None:
    rng = generator(5, "leak")
    n = 150
    features, member = rng.standard_normal((2 * n, 1)), np.repeat([1, 0], n)
    ids = np.array([f"row-{i}" for i in range(2 * n)])
    tree = DecisionTreeClassifier(max_depth=6, random_state=0)
    leaky = tree.fit(features, member).predict_proba(features)[:, 1]
    assert stats.auc(leaky[:n], leaky[n:]) > 0.6
    folds = KFold(10, shuffle=True, random_state=0)
    guarded = cross_val_predict(tree, features, member, cv=folds, method="predict_proba")[:, 1]
    low, high = stats.auc_interval(guarded[:n], guarded[n:], level=0.999)
    assert low < 0.5 < high
    with pytest.raises(LeakageError, match="300 scored rows"):
        Scores(
            forget=leaky[:n],
            control=leaky[n:],
            forget_ids=ids[:n],
            control_ids=ids[n:],
            fitted_on=frozenset(ids.tolist()),
        )


def test_g_an_attack_calibrated_on_control_rows_is_refused(trained: Trained) -> None:
    """The loss threshold learns from retained rows, and may not score them as control rows."""
    case = trained.commission.case
    attack = registry.get_attack("loss_threshold")()
    pool = Pool(retrained=tuple(trained.models[:2]))
    audited = trained.bench.parents[0]
    assert score_groups(attack, audited, pool, case, 0)["audited"]
    fit = attack.fit(pool, case, generator(5, "fit"))
    scores = fit.score(audited, generator(5, "score"))
    assert scores.fitted_on == frozenset(case.retain.ids.tolist())
    with pytest.raises(LeakageError):
        dataclasses.replace(scores, control=np.zeros(1), control_ids=case.retain.ids[:1])


# (h)


def test_h_negated_statistics_give_the_same_p_values(trained: Trained) -> None:
    """Whatever is called high or low, what stands out stands out as much."""
    models = Outputs.concat(trained.bench.retrained, trained.bench.originals)
    derived, originals = Derived.of(models), Derived.of(trained.bench.originals)
    for audited in (REFERENCES, SIZE.pool):
        pool = np.append(np.arange(REFERENCES), audited)
        measured = yardstick.leave_one_out(derived, pool, originals, "instance")
        negated = [
            dataclasses.replace(m, values={name: -v for name, v in m.values.items()})
            for m in measured
        ]
        names = weighing.family_names(measured[0], "instance")
        families = [weighing.compare(rows, 1, names) for rows in (measured, negated)]
        assert families[0].p_value == families[1].p_value
        assert families[0].leader == families[1].leader
        assert families[0].holm == pytest.approx(families[1].holm)
    forget, control = derived.loss[:, : derived.n_f], derived.loss[:, derived.n_f :]
    areas = stats.aucs(forget, control)
    assert stats.aucs(-forget, -control) == pytest.approx(1 - areas)
    for value in areas[-3:]:
        p_value = exact_tests.rank_p_value(value, areas[:REFERENCES])
        assert exact_tests.rank_p_value(1 - value, 1 - areas[:REFERENCES]) == p_value


# (i)


def test_i_rank_statistics_do_not_see_the_scale_of_scores(trained: Trained) -> None:
    derived = Derived.of(Outputs.concat(trained.bench.retrained, trained.bench.originals))
    n_f = derived.n_f

    def ranks(scores: Floats) -> tuple[list[float], list[object], float]:
        areas = stats.aucs(scores[:, :n_f], scores[:, n_f:])
        hits: list[object] = [stats.true_positives_at(s[:n_f], s[n_f:], 0.05) for s in scores]
        return areas.tolist(), hits, exact_tests.rank_p_value(areas[-1], areas[:REFERENCES])

    plain = ranks(derived.phi)
    for changed in (np.exp(derived.phi / 8), derived.phi**3, np.arctan(derived.phi)):
        assert ranks(changed) == plain
    assert plain[2] == pytest.approx(2 / (REFERENCES + 1))


# (j)


def test_j_coins_are_claimed_of_retrained_models_as_rarely_as_stated(trained: Trained) -> None:
    """E3 on models that saw none of the candidates: every claim is false."""
    derived = Derived.of(trained.bench.retrained)
    scores = np.repeat(derived.phi - derived.phi.mean(axis=0), 20, axis=0)
    coins = generator(6, "coins").random(scores.shape) < 0.5
    r, m = 60, scores.shape[1]
    right = epsilon.guesses(scores, coins, r).sum(axis=1)
    bounds = np.array(
        [
            (epsilon.one_run_per_example(r, v, m=m), epsilon.one_run_set_level(r, v))
            for v in range(r + 1)
        ]
    )
    assert np.all(np.sum(bounds[right] > 0, axis=0) <= most_false_alarms(len(scores)))
    taught = Derived.of(trained.bench.originals).phi - derived.phi.mean(axis=0)
    truth = np.broadcast_to(np.arange(m) < derived.n_f, taught.shape)
    found = epsilon.guesses(taught, truth, r).sum(axis=1)
    assert np.all(bounds[found] > 0), "and models that saw the forget rows are given away"


def test_j_the_challenge_score_of_retrained_models_is_its_own_yardstick(trained: Trained) -> None:
    """E6: F of retrained models is far below 1, F / F_null about 1; originals get much less."""
    n_f = len(trained.commission.case.forget)
    phi = Derived.of(trained.bench.retrained).phi[:, :n_f]
    taught = Derived.of(trained.bench.originals).phi[:, :n_f]

    def quality(unlearned: Floats, retrained: Floats) -> float:
        found = row_epsilons(unlearned, retrained, 1e-5)
        return float(np.mean(weights(found, len(unlearned))))

    null = quality(phi[40:60], phi[:20])
    assert null < 0.5
    assert quality(phi[20:40], phi[:20]) / null == pytest.approx(1.0, abs=0.25)
    assert quality(taught, phi[:9]) / quality(phi[9:18], phi[:9]) < 0.75


# (k)


def test_k_figures_known_beforehand() -> None:
    one, other = np.eye(4)[0], np.eye(4)[2]
    assert float(stats.jensen_shannon(one, other)) == pytest.approx(1.0)
    assert float(stats.jensen_shannon(one, one)) == 0.0
    assert stats.bits_of_success(0.46) == pytest.approx(0.0046, abs=5e-5)
    assert stats.bits_of_success(0.54) == pytest.approx(stats.bits_of_success(0.46))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (1, 20, 0.0013, 0.2487),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (10, 100, 0.0490, 0.1762),
    ],
)
def test_k_exact_intervals_are_those_of_printed_tables(
    k: int, n: int, low: float, high: float
) -> None:
    assert stats.binomial_interval(k, n) == pytest.approx((low, high), abs=5e-5)
    assert float(epsilon.lower_limit(k, n, 0.975)) == pytest.approx(low, abs=5e-5)
    assert float(epsilon.upper_limit(k, n, 0.975)) == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize(
    ("n", "rate", "expected"),
    [(100, 0.01, 0.0198), (400, 0.01, 0.0125), (1000, 0.01, 0.0110), (250, 0.1, 0.1036)],
)
def test_k_true_positive_rate_that_chance_gives(n: int, rate: float, expected: float) -> None:
    """A forget row is equally likely to fall between any two of `n` control rows."""
    control = np.arange(n, dtype=np.float64)
    places = np.arange(-0.5, n, dtype=np.float64)
    found = stats.true_positives_at(places, control, rate)
    assert found is not None
    assert found[0] / len(places) == pytest.approx((math.floor(rate * n) + 1) / (n + 1))
    assert found[0] / len(places) == pytest.approx(expected, abs=5e-5)
    assert found[1] <= rate * n
    assert stats.true_positives_at(places, control, 0.9 / n) is None


@pytest.mark.parametrize(
    ("n", "p", "threshold", "missed"),
    [(30, 0.9, 9, 6e-15), (30, 0.5, 9, 0.021), (10, 0.5, 5, 0.62)],
)
def test_k_the_backdoor_example_of_athena(n: int, p: float, threshold: int, missed: float) -> None:
    found = decision_rule(n, p, 0.1, 1e-3)
    assert found[0] == threshold
    assert found[1] == pytest.approx(missed, rel=0.06)
