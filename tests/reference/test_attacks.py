"""Attacks against slow and obvious re-computations, row by row and straight from the models."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

from forget_audit import stats
from forget_audit.attacks._shadow_features import best_threshold, features, lessons
from forget_audit.attacks.attribute_inference import AttributeInference
from forget_audit.attacks.entropy_logistic import EntropyLogistic
from forget_audit.attacks.lira import Lira
from forget_audit.attacks.loss_threshold import LossThreshold
from forget_audit.attacks.relearn import Relearn
from forget_audit.attacks.residual_influence import ResidualInfluence
from forget_audit.attacks.shadow import ShadowLogistic
from forget_audit.attacks.shadow_xgboost import ShadowXgboost
from forget_audit.attacks.weight_distance import WeightDistance
from forget_audit.attacks.wilcoxon_entropy import WilcoxonEntropy
from forget_audit.contracts import Attack, Scores
from forget_audit.errors import NotApplicable
from forget_audit.outputs import Derived, Outputs
from forget_audit.pools import Pool
from forget_audit.seeds import derive, draw_seed, generator, seeded_torch
from forget_audit.targets import Target
from forget_audit.training.loop import deal
from forget_audit.types import Case, Floats, Rows, Sensitive
from forget_audit.verdict import yardstick


def scores_of(attack: Attack, pool: Pool, case: Case, target: Target) -> Scores:
    return attack.fit(pool, case, generator(5)).score(target, generator(6))


def softmax_of(target: Target, rows: Rows) -> list[list[float]]:
    with torch.no_grad():
        logits = target.model_copy().eval()(torch.tensor(rows.x)).double()
    answers: list[list[float]] = functional.softmax(logits, dim=1).tolist()
    return answers


def slow_log_odds(target: Target, rows: Rows) -> list[float]:
    with torch.no_grad():
        logits = target.model_copy().eval()(torch.tensor(rows.x)).double().tolist()
    found = []
    for row, label in zip(logits, rows.y.tolist(), strict=True):
        others = [value for k, value in enumerate(row) if k != label]
        peak = max(others)
        rest = peak + math.log(math.fsum(math.exp(value - peak) for value in others))
        found.append(min(30.0, max(-30.0, row[label] - rest)))
    return found


def slow_entropies(target: Target, rows: Rows) -> list[float]:
    return [-math.fsum(p * math.log(p) for p in row if p > 0) for row in softmax_of(target, rows)]


def slow_auc(positive: list[float], negative: list[float]) -> float:
    wins = sum((a > b) + 0.5 * (a == b) for a, b in product(positive, negative))
    return wins / (len(positive) * len(negative))


def slow_null(columns: list[list[float]]) -> tuple[list[float], list[float]]:
    """Mean and shrunk spread of each row over models, `columns[model][row]`."""
    models, n = len(columns), len(columns[0])
    means, variances = [], []
    for i in range(n):
        values = [column[i] for column in columns]
        mean = math.fsum(values) / models
        means.append(mean)
        variances.append(math.fsum((v - mean) ** 2 for v in values) / (models - 1))
    common = math.fsum(variances) / n
    df = models - 1
    return means, [math.sqrt((df * v + 4 * common) / (df + 4)) for v in variances]


def test_loss_threshold_by_torch(digits_case: Case, digits_pool: Pool) -> None:
    target = digits_pool.originals[0]
    scores = scores_of(LossThreshold(), digits_pool, digits_case, target)
    model = target.model_copy().eval().double()

    def losses(rows: Rows) -> Floats:
        with torch.no_grad():
            logits = model(torch.tensor(rows.x).double())
            each = functional.cross_entropy(logits, torch.tensor(rows.y), reduction="none")
        return np.asarray(each.numpy(), dtype=np.float64)

    np.testing.assert_allclose(scores.forget, -losses(digits_case.forget), atol=1e-4)
    assert scores.threshold == pytest.approx(-losses(digits_case.retain).mean(), abs=1e-5)
    assert stats.auc(scores.forget, scores.control) == slow_auc(
        scores.forget.tolist(), scores.control.tolist()
    )


def test_lira_row_by_row(digits_case: Case, digits_pool: Pool) -> None:
    target = digits_pool.originals[0]
    scores = scores_of(Lira(), digits_pool, digits_case, target)
    both = (digits_case.forget, digits_case.test)
    reference = [
        [phi for rows in both for phi in slow_log_odds(other, rows)]
        for other in digits_pool.retrained
    ]
    means, spreads = slow_null(reference)
    own = [phi for rows in both for phi in slow_log_odds(target, rows)]
    z = [(value - mean) / sd for value, mean, sd in zip(own, means, spreads, strict=True)]
    n_f = len(digits_case.forget)
    np.testing.assert_allclose(scores.forget, z[:n_f], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores.control, z[n_f:], rtol=1e-4, atol=1e-4)
    assert scores.scalars["mean_z"] == pytest.approx(sum(z[:n_f]) / n_f, abs=1e-4)
    squares = [math.fsum(v * v for v in part) / len(part) for part in (z[:n_f], z[n_f:])]
    assert scores.scalars["dispersion"] == pytest.approx(
        math.log(squares[0]) - math.log(squares[1]), abs=1e-4
    )
    assert stats.auc(scores.forget, scores.control) == pytest.approx(
        slow_auc(z[:n_f], z[n_f:]), abs=1e-3
    )


def test_lira_ignores_how_hard_rows_are(digits_case: Case, digits_pool: Pool) -> None:
    """Forget rows that all are mislabelled are hard, not members: a loss attack is deceived."""
    rows = Rows.concat(digits_case.forget, digits_case.test)
    difficulty = np.mean([slow_log_odds(t, rows) for t in digits_pool.retrained], axis=0)
    order = np.argsort(difficulty)
    hard = digits_case.replace(forget=rows.take(order[:60]), test=rows.take(order[60:]))
    target, rest = digits_pool.retrained[0], digits_pool.without(0)
    by_loss = scores_of(LossThreshold(), rest, hard, target)
    by_lira = scores_of(Lira(), rest, hard, target)
    assert stats.auc(by_loss.forget, by_loss.control) < 0.1
    assert 0.3 < stats.auc(by_lira.forget, by_lira.control) < 0.7


def slow_influence(
    null: tuple[list[float], list[float]],
    own: list[float],
    original: list[float],
    n_f: int,
    *,
    cap: float | None,
    adjust: bool,
    rows: list[int] | None = None,
) -> float:
    means, spreads = null
    z = [(value - m) / s for value, m, s in zip(own, means, spreads, strict=True)]
    d = [(value - m) / s for value, m, s in zip(original, means, spreads, strict=True)]
    if adjust:
        z = without_difficulty(z, means, spreads, n_f)
    above = below = 0.0
    for i in rows if rows is not None else range(n_f):
        weight = d[i] if cap is None else min(cap, max(-cap, d[i]))
        above += weight * z[i]
        below += weight * d[i]
    return above / below


def without_difficulty(
    z: list[float], means: list[float], spreads: list[float], n_f: int
) -> list[float]:
    """Take a ridge regression on five columns, learnt on the control rows, off all rows."""
    basis = [[m, m**2, m**3, math.log(s)] for m, s in zip(means, spreads, strict=True)]
    control = basis[n_f:]
    n = len(control)
    centres = [sum(row[k] for row in control) / n for k in range(4)]
    scales = [math.sqrt(sum((row[k] - centres[k]) ** 2 for row in control) / n) for k in range(4)]
    design = [[1.0, *((row[k] - centres[k]) / scales[k] for k in range(4))] for row in basis]
    normal = np.zeros((5, 5))
    target = np.zeros(5)
    for row, value in zip(design[n_f:], z[n_f:], strict=True):
        for a in range(5):
            target[a] += row[a] * value
            for b in range(5):
                normal[a, b] += row[a] * row[b]
    for k in range(1, 5):
        normal[k, k] += 1e-3 * n
    weights = np.linalg.inv(normal) @ target
    return [
        value - sum(w * c for w, c in zip(weights, row, strict=True))
        for value, row in zip(z, design, strict=True)
    ]


@pytest.mark.parametrize("which", ["original", "retrained"])
def test_residual_influence_by_its_formula(
    which: str, digits_case: Case, digits_pool: Pool
) -> None:
    assert digits_pool.parent is not None
    target = digits_pool.parent if which == "original" else digits_pool.retrained[0]
    pool = digits_pool if which == "original" else digits_pool.without(0)
    scalars = scores_of(ResidualInfluence(), pool, digits_case, target).scalars

    both, n_f = (digits_case.forget, digits_case.test), len(digits_case.forget)
    reference = [[v for rows in both for v in slow_log_odds(t, rows)] for t in pool.retrained]
    originals = [[v for rows in both for v in slow_log_odds(t, rows)] for t in pool.originals]
    own = [v for rows in both for v in slow_log_odds(target, rows)]

    def rate(values: list[float]) -> list[float]:
        return [1 / (1 + math.exp(-value)) for value in values]

    def mean(columns: list[list[float]]) -> list[float]:
        return [sum(values) / len(values) for values in zip(*columns, strict=True)]

    rho_p = slow_influence(
        slow_null([rate(column) for column in reference]),
        rate(own),
        mean([rate(column) for column in originals]),
        n_f,
        cap=3.0,
        adjust=True,
    )
    null, original = slow_null(reference), mean(originals)
    rho = slow_influence(null, own, original, n_f, cap=None, adjust=True)
    d = [(original[i] - null[0][i]) / null[1][i] for i in range(n_f)]
    most = [i for i in range(n_f) if d[i] >= np.quantile(d, 0.9)]
    rho_top = slow_influence(null, own, original, n_f, cap=None, adjust=True, rows=most)
    assert scalars == pytest.approx({"rho_p": rho_p, "rho": rho, "rho_top": rho_top}, abs=1e-3)


def test_residual_influence_is_one_for_originals_and_none_for_retrained(
    digits_case: Case, digits_pool: Pool
) -> None:
    assert digits_pool.parent is not None
    original = scores_of(ResidualInfluence(), digits_pool, digits_case, digits_pool.parent)
    assert original.scalars["rho_p"] == pytest.approx(1, abs=0.25)
    retrained = [
        scores_of(ResidualInfluence(), digits_pool.without(i), digits_case, target).scalars["rho_p"]
        for i, target in enumerate(digits_pool.retrained)
    ]
    assert np.mean(retrained) == pytest.approx(0, abs=0.1)


def test_residual_influence_of_the_originals_themselves_is_exactly_one(
    digits_case: Case, digits_pool: Pool
) -> None:
    """Without adjustment the projection of the one original onto itself is 1."""
    single = Pool(retrained=digits_pool.retrained, originals=digits_pool.originals[:1])
    label = int(digits_case.forget.y[0])
    request = digits_case.replace(
        scope="class",
        classes=(label,),
        forget=digits_case.forget.take(digits_case.forget.y == label),
        test=digits_case.test.take(digits_case.test.y == label),
    )
    scores = scores_of(ResidualInfluence(), single, request, single.originals[0])
    assert scores.scalars == pytest.approx({"rho_p": 1.0})


def test_attacks_and_verdict_measure_the_same(digits_case: Case, digits_pool: Pool) -> None:
    target, reference = digits_pool.retrained[0], digits_pool.without(0)

    def outputs(targets: tuple[Target, ...]) -> Derived:
        return Derived.of(
            Outputs(
                logits_f=np.stack([t.logits(digits_case.forget) for t in targets]),
                logits_t=np.stack([t.logits(digits_case.test) for t in targets]),
                y_f=digits_case.forget.y,
                y_t=digits_case.test.y,
                retain_accuracy=np.array([t.accuracy(digits_case.retain) for t in targets]),
                test_accuracy=np.array([t.accuracy(digits_case.test) for t in targets]),
            )
        )

    others = np.arange(1, len(digits_pool.retrained))
    pool = np.append(others, 0)
    verdict = yardstick.leave_one_out(
        outputs(digits_pool.retrained), pool, outputs(digits_pool.originals), "instance"
    )[-1].values
    influence = scores_of(ResidualInfluence(), reference, digits_case, target).scalars
    for name in ("rho_p", "rho", "rho_top"):
        assert influence[name] == pytest.approx(verdict[name], abs=1e-12)
    lira = scores_of(Lira(), reference, digits_case, target)
    assert lira.scalars["dispersion"] == pytest.approx(verdict["dispersion"], abs=1e-9)
    pairs = len(lira.forget) * len(lira.control)
    for scores, name in (
        (lira, "zauc"),
        (scores_of(LossThreshold(), reference, digits_case, target), "loss_auc"),
    ):
        value = stats.auc(scores.forget, scores.control)
        assert stats.log_odds_of_count(value * pairs, pairs) == pytest.approx(verdict[name])
    hits = stats.true_positives_at(lira.forget, lira.control, 0.01)
    assert hits is not None
    assert stats.log_odds_of_count(hits[0], len(lira.forget)) == verdict["tpr1"]


def test_wilcoxon_by_scipy(digits_case: Case, digits_pool: Pool) -> None:
    target, rest = digits_pool.retrained[0], digits_pool.without(0)
    share = scores_of(WilcoxonEntropy(), rest, digits_case, target).scalars["rejection_share"]
    own = slow_entropies(target, digits_case.forget)
    p_values = [wilcoxon(own, slow_entropies(t, digits_case.forget)).pvalue for t in rest.retrained]
    assert share == sum(p < 0.1 for p in p_values) / len(p_values)


def test_wilcoxon_does_not_tell_a_model_from_itself(digits_case: Case, digits_pool: Pool) -> None:
    target = digits_pool.retrained[0]
    same = Pool(retrained=(Target(target.model_copy()),))
    assert scores_of(WilcoxonEntropy(), same, digits_case, target).scalars == {"rejection_share": 0}


def test_entropy_logistic_by_hand(digits_case: Case, digits_pool: Pool) -> None:
    """Far fewer auxiliary than retained rows, so that balancing the classes matters."""
    target = digits_pool.originals[0]
    uneven = digits_case.replace(auxiliary=digits_case.auxiliary.take(np.arange(60)))
    retain = slow_entropies(target, uneven.retain)
    auxiliary = slow_entropies(target, uneven.auxiliary)
    known, member = retain + auxiliary, [1] * len(retain) + [0] * len(auxiliary)
    weights = [1 / len(retain)] * len(retain) + [1 / len(auxiliary)] * len(auxiliary)
    judge = LogisticRegression(C=len(known) / 2)
    judge.fit([[e] for e in known], member, sample_weight=weights)
    called = judge.predict([[e] for e in slow_entropies(target, uneven.forget)])
    scores = scores_of(EntropyLogistic(), digits_pool, uneven, target)
    assert scores.scalars["member_share"] == pytest.approx(sum(called.tolist()) / len(called))


def test_entropy_logistic_is_higher_for_originals(digits_case: Case, digits_pool: Pool) -> None:
    fit = EntropyLogistic().fit(digits_pool, digits_case, generator(5))
    share = {
        name: np.mean([fit.score(t, generator(6)).scalars["member_share"] for t in targets])
        for name, targets in (("o", digits_pool.originals), ("r", digits_pool.retrained))
    }
    assert share["o"] > share["r"]


def imputed(target: Target, rows: Rows, sensitive: Sensitive) -> list[list[float]]:
    """Log-likelihood of each row's label with each sensitive value put in, one row at a time."""
    model = target.model_copy().eval().double()
    found = []
    for x, label in zip(rows.x, rows.y.tolist(), strict=True):
        tried = []
        for value in sensitive.values:
            candidate = torch.tensor(x).double()
            candidate[sensitive.column] = value
            with torch.no_grad():
                logits = model(candidate[None])
            tried.append(float(functional.log_softmax(logits, dim=1)[0, label]))
        found.append(tried)
    return found


def test_attribute_inference_by_loop(cancer_case: Case, cancer_pool: Pool) -> None:
    sensitive = cancer_case.sensitive
    assert sensitive is not None
    target = cancer_pool.originals[0]
    scalars = scores_of(AttributeInference(), cancer_pool, cancer_case, target).scalars

    def truth(rows: Rows) -> list[bool]:
        return [value == sensitive.values[1] for value in rows.x[:, sensitive.column].tolist()]

    def ratios(rows: Rows) -> list[float]:
        differences = [high - low for low, high in imputed(target, rows, sensitive)]
        return [min(30.0, max(-30.0, value)) for value in differences]

    forget, auxiliary = cancer_case.forget, cancer_case.auxiliary
    yes = [r for r, t in zip(ratios(forget), truth(forget), strict=True) if t]
    no = [r for r, t in zip(ratios(forget), truth(forget), strict=True) if not t]
    assert scalars["auc"] == pytest.approx(slow_auc(yes, no), abs=2e-3)

    ordered, answers_a = sorted(ratios(auxiliary)), truth(auxiliary)
    place = (len(ordered) - 1) * answers_a.count(False) / len(ordered)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    cut = low + (place - math.floor(place)) * (high - low)
    rate = (sum(r >= cut for r in yes) / len(yes) + sum(r < cut for r in no) / len(no)) / 2
    assert scalars["balanced_accuracy"] == pytest.approx(rate, abs=0.01)
    assert scalars["bits"] == stats.bits_of_success(scalars["balanced_accuracy"])
    assert scalars["excess_auc"] == scalars["auc"] - scalars["baseline_auc"]

    def covariates(rows: Rows) -> Floats:
        others = np.delete(rows.x.astype(np.float64), sensitive.column, axis=1)
        return np.column_stack([others, rows.y == 0, rows.y == 1])

    scaler = StandardScaler().fit(covariates(auxiliary))
    baseline = LogisticRegression(max_iter=2000)
    baseline.fit(scaler.transform(covariates(auxiliary)), truth(auxiliary))
    guess = baseline.decision_function(scaler.transform(covariates(forget))).tolist()
    answers = truth(forget)
    expected = slow_auc(
        [g for g, t in zip(guess, answers, strict=True) if t],
        [g for g, t in zip(guess, answers, strict=True) if not t],
    )
    assert scalars["baseline_auc"] == pytest.approx(expected)


def test_attribute_inference_baseline_needs_no_model(cancer_case: Case, cancer_pool: Pool) -> None:
    fit = AttributeInference().fit(cancer_pool, cancer_case, generator(5))
    baselines = {
        fit.score(target, generator(6)).scalars["baseline_auc"] for target in cancer_pool.originals
    }
    assert len(baselines) == 1


class Reads(nn.Module):
    """A model that is sure of its label only where the sensitive value is the true one."""

    def __init__(self, rows: Rows, column: int) -> None:
        super().__init__()
        self.column = column
        self.known = nn.Parameter(torch.tensor(rows.x), requires_grad=False)
        self.labels = nn.Parameter(torch.tensor(rows.y), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        others = [k for k in range(x.shape[1]) if k != self.column]
        nearest = torch.cdist(x[:, others], self.known[:, others]).argmin(dim=1)
        right = x[:, self.column] == self.known[nearest, self.column]
        hot = functional.one_hot(self.labels[nearest], 3).float()
        return 4 * hot * right[:, None]


def test_attribute_inference_with_three_values_finds_what_a_model_gives_away() -> None:
    rng = generator(21)
    x = rng.normal(size=(160, 5)).astype(np.float32)
    x[:, 2] = rng.integers(0, 3, 160) - 1
    rows = Rows(x=x, y=rng.integers(0, 3, 160), ids=np.arange(160).astype(np.str_))
    parts = [rows.take(part) for part in np.split(np.arange(160), [40, 80, 120])]
    case = Case(
        name="three values",
        n_classes=3,
        retain=parts[0],
        forget=parts[1],
        test=parts[2],
        auxiliary=parts[3],
        sensitive=Sensitive(column=2, name="three", values=(-1.0, 0.0, 1.0)),
    )
    fit = AttributeInference().fit(Pool(), case, generator(5))
    telling = fit.score(Target(Reads(Rows.concat(parts[1], parts[3]), 2)), generator(6))
    assert telling.scalars["auc"] == telling.scalars["balanced_accuracy"] == 1
    assert telling.scalars["bits"] == pytest.approx(1)
    assert telling.scalars["baseline_auc"] == pytest.approx(0.5, abs=0.15)
    with pytest.raises(NotApplicable, match="none of those it may take"):
        AttributeInference().fit(
            Pool(),
            case.replace(sensitive=Sensitive(column=2, name="three", values=(0.0, 1.0))),
            generator(5),
        )


def test_relearn_by_a_hand_written_loop(digits_case: Case, digits_pool: Pool) -> None:
    attack = Relearn(steps=7, batch_size=16, max_rows=40)
    target, forget = digits_pool.retrained[0], digits_case.forget
    scores = scores_of(attack, digits_pool, digits_case, target)
    seed = draw_seed(generator(5))
    order = generator(seed, "rows").permutation(len(forget))[:40]

    def curve(model: nn.Module, taught: Rows, watched: Rows) -> list[float]:
        optimizer = torch.optim.Adam(model.parameters(), lr=attack.lr)
        x, y = torch.tensor(taught.x), torch.tensor(taught.y)
        rng = generator(seed, "batches")
        per_pass = math.ceil(len(taught) / 16)
        batches = [batch for _ in range(7) for batch in deal(len(taught), per_pass, rng)][:7]

        def watch() -> float:
            with torch.no_grad():
                logits = model(torch.tensor(watched.x)).double()
            return float(functional.cross_entropy(logits, torch.tensor(watched.y)))

        losses = [watch()]
        for batch in batches:
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(model(x[batch]), y[batch]))
            optimizer.step()
            losses.append(watch())
        return losses

    rows = forget.take(order)
    expected = {
        "relearn": curve(target.model_copy(), rows, rows),
        "relearn_held_out": curve(
            target.model_copy(), forget.take(order[:20]), forget.take(order[20:])
        ),
    }
    fresh = target.model_copy()
    assert isinstance(fresh, nn.Sequential)
    head = fresh[-1]
    assert isinstance(head, nn.Linear)
    with seeded_torch(derive(seed, "head")):
        head.reset_parameters()
    expected["relearn_head_reset"] = curve(fresh, rows, rows)
    assert set(scores.series) == set(expected)
    for name, losses in expected.items():
        np.testing.assert_allclose(scores.series[name].y, losses, rtol=1e-4, atol=1e-4)
    losses = expected["relearn"]
    area = sum((a + b) / 2 for a, b in pairwise(losses)) / 7
    assert scores.scalars["area_log_loss"] == pytest.approx(area, rel=1e-4)


def test_relearn_is_faster_where_the_rows_were_learnt(digits_case: Case, digits_pool: Pool) -> None:
    assert digits_pool.parent is not None
    fit = Relearn().fit(digits_pool, digits_case, generator(5))
    original = fit.score(digits_pool.parent, generator(6)).scalars
    retrained = [fit.score(t, generator(6)).scalars for t in digits_pool.retrained]
    for name in ("area_log_loss", "area_held_out"):
        assert original[name] < min(scalars[name] for scalars in retrained)
    assert original["relearn_steps"] == original["censored"] == 0


def test_relearn_says_when_the_accuracy_was_not_regained(
    digits_case: Case, digits_pool: Pool
) -> None:
    scores = scores_of(Relearn(steps=1), digits_pool, digits_case, digits_pool.retrained[0])
    assert scores.scalars["censored"] == scores.scalars["relearn_steps"] == 1
    alone = scores_of(Relearn(steps=1), Pool(), digits_case, digits_pool.retrained[0])
    assert "relearn_steps" not in alone.scalars, "no original, no goal"


def test_relearn_with_a_fresh_head_sees_through_a_changed_output_layer(
    digits_case: Case, digits_pool: Pool
) -> None:
    """Whatever was done to the last layer, the curve with the fresh head stays the same."""
    model = digits_pool.originals[0].model_copy()
    assert isinstance(model, nn.Sequential)
    head = model[-1]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.bias[3] -= 50
    fit = Relearn(steps=3).fit(digits_pool, digits_case, generator(5))
    tricked, plain = (
        fit.score(target, generator(6)) for target in (Target(model), digits_pool.originals[0])
    )
    assert tricked.scalars["area_log_loss"] > plain.scalars["area_log_loss"] + 1
    assert tricked.scalars["area_head_reset"] == plain.scalars["area_head_reset"]


def test_weight_distance_by_hand(digits_case: Case, digits_pool: Pool) -> None:
    parent = digits_pool.parent
    assert parent is not None
    moved = parent.model_copy()
    assert isinstance(moved, nn.Sequential)
    linear = [name for name, module in moved.named_children() if isinstance(module, nn.Linear)]
    middle = moved.get_submodule(linear[1])
    assert isinstance(middle, nn.Linear)
    with torch.no_grad():
        middle.weight.mul_(1.5)
        middle.bias.mul_(1.5)
    scores = scores_of(WeightDistance(), digits_pool, digits_case, Target(moved))
    assert scores.scalars["frozen_layers"] == len(linear) - 1
    layers = dict(zip(scores.series["layers"].x, scores.series["layers"].y, strict=True))
    assert layers == pytest.approx(
        {name: math.log10(0.5) if name == linear[1] else -8 for name in linear}, abs=1e-6
    )
    assert set(scores.series) == {"layers", "layers_twin"}
    retrained = scores_of(WeightDistance(), digits_pool, digits_case, digits_pool.retrained[0])
    assert retrained.scalars["frozen_layers"] == 0
    for layer, value in zip(
        retrained.series["layers"].x, retrained.series["layers"].y, strict=True
    ):
        ours, theirs = (
            np.concatenate(
                [w.ravel() for name, w in t.weights().items() if name.startswith(f"{layer}.")]
            )
            for t in (digits_pool.retrained[0], parent)
        )
        share = math.sqrt(math.fsum((ours - theirs) ** 2) / math.fsum(theirs**2))
        assert value == pytest.approx(math.log10(share))


def test_weight_distance_keeps_buffers_apart(digits_case: Case) -> None:
    with seeded_torch(1):
        parent = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
        changed = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    changed.load_state_dict(parent.state_dict())
    parent(torch.tensor(digits_case.retain.x))
    scores = scores_of(WeightDistance(), Pool(parent=Target(parent)), digits_case, Target(changed))
    assert scores.scalars["frozen_layers"] == 3
    assert set(scores.series["buffers"].x) == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }
    assert max(scores.series["buffers"].y) > -3


def test_the_twin_is_nearer_than_other_retrained_models(
    digits_case: Case, digits_pool: Pool
) -> None:
    fit = WeightDistance().fit(digits_pool, digits_case, generator(5))
    found = [fit.score(target, generator(6)).scalars for target in digits_pool.retrained]
    for scalars in found:
        assert scalars["twin_mean_log_distance"] < scalars["mean_log_distance"]


def test_weight_distance_needs_the_same_layers(digits_case: Case, digits_pool: Pool) -> None:
    fit = WeightDistance().fit(digits_pool, digits_case, generator(5))
    with pytest.raises(NotApplicable, match="other layers"):
        fit.score(Target(nn.Linear(64, 10)), generator(6))


def test_shadow_scores_and_threshold_by_hand(digits_case: Case, digits_pool: Pool) -> None:
    target = digits_pool.originals[0]
    scores = scores_of(ShadowLogistic(), digits_pool, digits_case, target)
    parts = [
        features(shadow.target, digits_case.auxiliary, 10, 3) for shadow in digits_pool.shadows
    ]
    members = [shadow.members for shadow in digits_pool.shadows]

    def learn(known: list[int], rows: Floats) -> Floats:
        x = np.concatenate([parts[i] for i in known])
        scaler = StandardScaler().fit(x)
        judge = LogisticRegression(max_iter=2000)
        judge.fit(scaler.transform(x), np.concatenate([members[i] for i in known]))
        return np.asarray(judge.decision_function(scaler.transform(rows)), dtype=np.float64)

    everyone = list(range(len(parts)))
    expected = learn(everyone, features(target, digits_case.forget, 10, 3))
    np.testing.assert_allclose(scores.forget, expected, rtol=1e-3, atol=1e-3)
    held_out = np.concatenate([learn([j for j in everyone if j != i], parts[i]) for i in everyone])
    mask = np.concatenate(members)
    best = max(
        stats.balanced_accuracy(held_out[mask], held_out[~mask], cut)
        for cut in np.quantile(held_out, np.linspace(0, 1, 101))
    )
    assert scores.threshold is not None
    reached = stats.balanced_accuracy(held_out[mask], held_out[~mask], scores.threshold)
    assert reached == pytest.approx(best, abs=2e-3)


def test_shadow_features_by_hand(digits_case: Case, digits_pool: Pool) -> None:
    target, rows = digits_pool.originals[0], digits_case.test
    found = features(target, rows, 10, 3)
    answers, phi = softmax_of(target, rows), slow_log_odds(target, rows)
    entropies = slow_entropies(target, rows)
    for i, (p, label) in enumerate(zip(answers, rows.y.tolist(), strict=True)):
        hot = [float(label == k) for k in range(10)]
        right = float(p.index(max(p)) == label)
        largest = sorted(p, reverse=True)[:3]
        expected = [*largest, phi[i], -math.log(p[label]), entropies[i], right, *hot]
        np.testing.assert_allclose(found[i], expected, rtol=1e-3, atol=1e-4)


def test_shadow_lessons_never_split_a_shadow(digits_case: Case, digits_pool: Pool) -> None:
    known = lessons(digits_pool, digits_case, 3)
    n = len(digits_case.auxiliary)
    assert known.shadow.tolist() == [i for i in range(len(digits_pool.shadows)) for _ in range(n)]
    for i, shadow in enumerate(digits_pool.shadows):
        assert known.member[known.shadow == i].tolist() == shadow.members.tolist()


def test_the_best_threshold_separates_what_can_be_separated() -> None:
    cut = best_threshold(np.array([2.0, 3.0, 4.0]), np.array([-1.0, 0.0, 1.0]))
    assert 1 < cut <= 2


def test_boosted_trees_agree_with_the_logistic_model_about_who_is_a_member(
    digits_case: Case, digits_pool: Pool
) -> None:
    target = digits_pool.originals[0]
    trees = scores_of(ShadowXgboost(), digits_pool, digits_case, target)
    logistic = scores_of(ShadowLogistic(), digits_pool, digits_case, target)
    assert np.corrcoef(trees.forget, logistic.forget)[0, 1] > 0.5
    with pytest.raises(ValueError, match="depth"):
        ShadowXgboost(depth=4)
