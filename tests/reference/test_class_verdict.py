"""Verdicts on requests for a class: statistics in plain Python, answers, and traces inside."""

import dataclasses
import math
from collections.abc import Mapping
from statistics import fmean

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit import stats, whitebox
from forget_audit.architectures import Architecture
from forget_audit.audits import impostors
from forget_audit.errors import NotApplicable, VerificationError
from forget_audit.outputs import Outputs
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Features, Floats, Labels, Rows
from forget_audit.verdict import controls, policy, scoretable, yardstick
from forget_audit.verdict.profiles import PROFILES
from forget_audit.verdict.weighing import GROUPS, Models
from tests.reference import slow_verdict as slow

STANDARD = PROFILES["standard"]
N_F, N_T, CLASSES, FORGOTTEN = 30, 40, 3, 1
LEVELS = {"probe": (0.5, 3.0), "relearn": (-4.0, -1.0), "first_probe": (1.0, 1.6)}
NOISE = {"probe": 0.1, "relearn": 0.3, "first_probe": 0.3}


def some_outputs(
    rng: np.random.Generator,
    models: int,
    *,
    answered: float = 0.0,
    inside: Mapping[str, float] | float | None = 0.0,
) -> Outputs:
    """Models that answer with the class, and hold it inside, by shares from 0 to 1."""
    world = np.random.default_rng(5)
    base_f, base_t = world.normal(0, 1, (N_F, CLASSES)), world.normal(0, 1, (N_T, CLASSES))
    y_f, y_t = np.full(N_F, FORGOTTEN), np.full(N_T, FORGOTTEN)
    lean = np.eye(CLASSES)[FORGOTTEN] * (6 * answered - 3)
    shares = inside if isinstance(inside, Mapping) else dict.fromkeys(LEVELS, inside or 0.0)
    traces = {
        name: low + shares.get(name, 0.0) * (high - low) + rng.normal(0, NOISE[name], models)
        for name, (low, high) in LEVELS.items()
    }
    return Outputs(
        logits_f=base_f + lean + rng.normal(0, 0.5, (models, N_F, CLASSES)),
        logits_t=base_t + lean + rng.normal(0, 0.5, (models, N_T, CLASSES)),
        y_f=y_f,
        y_t=y_t,
        retain_accuracy=rng.uniform(0.94, 0.95, models),
        test_accuracy=rng.uniform(0.80, 0.81, models),
        traces={} if inside is None else traces,
    )


def world(
    answered: float = 0.0, inside: Mapping[str, float] | float = 0.0, *, look: bool = True
) -> Models:
    rng = np.random.default_rng(11)
    models = Models(
        retrained=some_outputs(rng, 19),
        originals=some_outputs(rng, 3, answered=1.0, inside=1.0),
        audited=some_outputs(rng, 1, answered=answered, inside=inside),
        identity=some_outputs(rng, 2),
    )
    if look:
        return models
    blind = {g: dataclasses.replace(getattr(models, g), traces={}) for g in GROUPS}
    return Models(**blind)


def as_lists(outputs: Outputs) -> list[list[list[float]]]:
    joined: list[list[list[float]]] = np.concatenate(
        [outputs.logits_f, outputs.logits_t], axis=1
    ).tolist()
    return joined


def share_left(values: list[float], model: int, originals: list[float]) -> float:
    others = fmean(value for m, value in enumerate(values) if m != model)
    effect = fmean(originals) - others
    return 0.0 if abs(effect) <= 1e-12 else (values[model] - others) / effect


def label_shares(rows: list[list[float]]) -> list[float]:
    answers = [row.index(max(row)) for row in rows[:N_F]]
    return [answers.count(k) / N_F for k in range(CLASSES)]


def measure(models: Models, model: int) -> dict[str, float]:
    """The class family of the pool's `model`, one row at a time."""
    logits = as_lists(models.retrained) + as_lists(models.audited)
    others = [m for m in range(len(logits)) if m != model]
    n = N_F + N_T

    def probability(rows: list[list[float]]) -> list[float]:
        return [1 / (1 + math.exp(-slow.phi(row, FORGOTTEN))) for row in rows]

    means, spreads = slow.null([probability(logits[m]) for m in others])
    trained = [probability(rows) for rows in as_lists(models.originals)]
    own = probability(logits[model])
    d = [(fmean(p[i] for p in trained) - means[i]) / spreads[i] for i in range(N_F)]
    z = [(own[i] - means[i]) / spreads[i] for i in range(N_F)]
    values = {"rho_p": slow.rho(d, z, 3.0)[0]}
    soft = [[slow.softmax(row) for row in rows] for rows in logits]
    mean = [[fmean(soft[m][i][k] for m in others) for k in range(CLASSES)] for i in range(n)]
    js = [slow.js_bits(soft[model][i], mean[i]) for i in range(n)]
    entropies = [slow.entropy(p) for p in soft[model]]
    values["js"] = math.log(fmean(js[:N_F]) + 1e-12)
    values["js_test"] = math.log(fmean(js[N_F:]) + 1e-12)
    values["entropy"] = fmean(entropies[:N_F])
    values["entropy_test"] = fmean(entropies[N_F:])
    shares = [label_shares(rows) for rows in logits]
    rest = [fmean(shares[m][k] for m in others) for k in range(CLASSES)]
    values["label_shift"] = sum(abs(a - b) for a, b in zip(shares[model], rest, strict=True)) / 2
    for name in yardstick.WHITEBOX_FAMILY:
        found = [*models.retrained.traces[name].tolist(), *models.audited.traces[name].tolist()]
        values[name] = share_left(found, model, models.originals.traces[name].tolist())
    return values


def test_every_statistic_of_every_pool_member_agrees_to_1e9() -> None:
    models = world(answered=0.05, inside=0.4)
    derived = models.derived
    pool = np.concatenate([models.positions("retrained"), models.positions("audited")])
    originals = derived.take(models.positions("originals"))
    fast = yardstick.leave_one_out(derived, pool, originals, "class")
    names = yardstick.CLASS_FAMILY + yardstick.WHITEBOX_FAMILY
    table = []
    for model, measured in enumerate(fast):
        expected = measure(models, model)
        assert set(expected) == set(names)
        for name, value in expected.items():
            assert measured.values[name] == pytest.approx(value, abs=1e-9, rel=1e-9), name
        table.append([expected[name] for name in names])
    weighed = policy.weigh(models, profile=STANDARD, scope="class")
    assert [c.name for c in weighed.privacy.comparisons] == list(names)
    assert weighed.verdict.p_value == pytest.approx(slow.max_t_p_value(table), abs=1e-12)
    for name, roles in (("rho_p", "primary"), ("probe", "primary"), ("relearn", "whitebox")):
        assert next(s.role for s in weighed.statistics if s.name == name) == roles


def test_one_model_alone_is_measured_as_among_all() -> None:
    models = world(inside=0.4)
    derived, retrained = models.derived, models.positions("retrained")
    originals = derived.take(models.positions("originals"))
    audited = int(models.positions("audited")[0])
    alone = yardstick.primary_values(derived, audited, retrained, originals, "class")
    pool = np.append(retrained, audited)
    among = yardstick.leave_one_out(derived, pool, originals, "class")[-1].values
    assert set(alone) == {"rho_p", "probe"}
    for name, value in alone.items():
        assert value == pytest.approx(among[name], abs=1e-9)


def test_a_trace_that_training_on_the_class_does_not_move_says_nothing() -> None:
    models = world()
    flat = {name: np.full(19, 2.0) for name in LEVELS}
    changed = dataclasses.replace(
        models,
        retrained=dataclasses.replace(models.retrained, traces=flat),
        originals=dataclasses.replace(
            models.originals, traces={name: np.full(3, 2.0) for name in LEVELS}
        ),
    )
    known = controls.control(changed, "class")
    assert np.all(known.signals["probe"].effect == 0.0)
    weighed = policy.weigh(changed, profile=STANDARD, scope="class")
    assert all(math.isfinite(s.estimate) for s in weighed.statistics)
    assert weighed.verdict.outcome != "PASS"


def verdict(models: Models) -> tuple[str, tuple[str, ...]]:
    weighed = policy.weigh(models, profile=STANDARD, scope="class")
    return weighed.verdict.outcome, weighed.verdict.reasons


def test_answers_on_requests_for_a_class() -> None:
    assert verdict(world()) == ("PASS", ())
    assert verdict(world(answered=1.0, inside=1.0)) == ("FAIL", ("RESIDUAL",))
    assert verdict(world(answered=0.0, inside=1.0)) == ("FAIL", ("MASK",))
    assert verdict(world(answered=0.0, inside={"relearn": 2.0})) == ("FAIL", ("MASK",))
    assert verdict(world(answered=1.0, inside=0.0)) == ("FAIL", ("RESIDUAL",))
    assert verdict(world(answered=0.0, inside=-1.0)) == ("FAIL", ("OVERFORGET",))


def test_a_mask_is_found_because_the_answers_alone_are_equivalent() -> None:
    weighed = policy.weigh(world(inside=1.0), profile=STANDARD, scope="class")
    rows = {s.name: s for s in weighed.statistics}
    assert (rows["rho_p"].outcome, rows["probe"].outcome) == ("pass", "fail")
    assert rows["probe"].difference == pytest.approx(1, abs=0.2)
    assert (rows["rho_p"].margin, rows["probe"].margin) == (0.15, 0.35)


@pytest.mark.parametrize("answered", [0.0, 1.0])
@pytest.mark.parametrize("inside", [0.0, 1.0])
def test_without_a_look_inside_nothing_passes(answered: float, inside: float) -> None:
    outcome, reasons = verdict(world(answered, inside, look=False))
    assert outcome == ("FAIL" if answered else "INCONCLUSIVE")
    assert reasons == (("RESIDUAL",) if answered else ("ACCESS",))


def as_arrays(models: Models) -> scoretable.Arrays:
    arrays: scoretable.Arrays = {"y_f": models.retrained.y_f, "y_t": models.retrained.y_t}
    for group, letter in scoretable.LETTERS.items():
        outputs: Outputs = getattr(models, group)
        arrays[f"racc_{letter}"] = outputs.retain_accuracy
        arrays[f"logit_{letter}_f"] = outputs.logits_f
        arrays[f"logit_{letter}_t"] = outputs.logits_t
        arrays |= {f"{name}_{letter}": values for name, values in outputs.traces.items()}
    return arrays


def test_traces_come_back_from_the_scores() -> None:
    models = world(inside=0.3)
    again = scoretable.models_of(scoretable.from_bytes(scoretable.to_bytes(as_arrays(models))))
    for group in GROUPS:
        first, second = getattr(models, group).traces, getattr(again, group).traces
        assert list(second) == list(yardstick.WHITEBOX_FAMILY)
        for name, values in first.items():
            assert np.array_equal(second[name], values)
    assert scoretable.models_of(as_arrays(world(look=False))).audited.traces == {}


@pytest.mark.parametrize("name", ["probe_R", "relearn_A", "first_probe_O"])
@pytest.mark.parametrize(
    "change",
    [
        lambda values: values[:-1],
        lambda values: values[:, None],
        lambda values: np.append(values, 0.0),
        lambda values: np.where(np.arange(len(values)) == 0, np.nan, values),
        lambda values: np.where(np.arange(len(values)) == 0, np.inf, values),
    ],
)
def test_broken_traces_are_refused(name: str, change: object) -> None:
    arrays = as_arrays(world())
    assert callable(change)
    arrays[name] = change(arrays[name])
    with pytest.raises(VerificationError, match=f"{name}: expected .* finite numbers"):
        scoretable.models_of(arrays)


@pytest.mark.parametrize("name", ["probe_O", "relearn_A", "first_probe_I"])
def test_missing_traces_are_named(name: str) -> None:
    arrays = as_arrays(world())
    del arrays[name]
    with pytest.raises(VerificationError, match=f"lacks the array '{name}'"):
        scoretable.models_of(arrays)


def features_case(seed: int, width: int = 6) -> Case:
    """Uncorrelated features, in which rows of the class lie a little apart."""
    rng = np.random.default_rng(seed)
    x: Floats = rng.normal(size=(400, width))
    member = np.arange(400) < 60
    x[member, :2] += 1.5
    kept: Floats = np.concatenate([x[30:60], x[180:]])
    values, vectors = np.linalg.eigh(np.cov(kept.T, bias=True))
    x = (x - kept.mean(axis=0)) @ vectors / np.sqrt(values)
    return class_case(x.astype(np.float32), member)


def class_case(x: Features, member: np.ndarray) -> Case:
    def rows(index: np.ndarray, label: int, name: str) -> Rows:
        ids = np.array([f"{name}-{i}" for i in index])
        return Rows(x=x[index], y=np.full(len(index), label), ids=ids)

    inside, outside = np.flatnonzero(member), np.flatnonzero(~member)
    return Case(
        name="features",
        n_classes=2,
        retain=rows(outside[:120], 0, "retain"),
        forget=rows(inside[:30], 1, "forget"),
        test=rows(inside[30:], 1, "test"),
        auxiliary=rows(outside[:0], 0, "auxiliary"),
        others=rows(outside[120:], 0, "others"),
        scope="class",
        classes=(1,),
    )


def passing_on(matrix: Floats, shift: float = 0.0) -> Target:
    """A model whose only learnt features are the inputs times `matrix`."""
    width = len(matrix)
    features = nn.Linear(width, matrix.shape[1])
    with torch.no_grad():
        features.weight.copy_(torch.tensor(matrix.T))
        features.bias.fill_(shift)
    return Target(nn.Sequential(features, nn.Linear(matrix.shape[1], 2)).eval())


def probed(target: Target, case: Case, seed: int = 0) -> float:
    assert case.others is not None
    layer = target.feature_layers(case.test)[-1]
    return whitebox.probe(target, case.test, case.others, layer, seed)


def test_the_probe_is_higher_where_features_set_the_class_apart() -> None:
    case = features_case(1)
    assert case.others is not None
    rng = np.random.default_rng(2)
    towards = np.concatenate([case.test.x, case.others.x]).astype(np.float64)
    member = np.arange(len(towards)) < len(case.test)
    apart = np.linalg.lstsq(towards, member * 1.0, rcond=None)[0]
    unit = (apart / np.linalg.norm(apart))[:, None]
    noise = rng.normal(size=(6, 5))
    with_it = np.concatenate([unit, 0.01 * noise], axis=1)
    without = np.eye(6) - unit @ unit.T
    values = [probed(passing_on(matrix), case) for matrix in (with_it, np.eye(6), without)]
    assert values[1] > values[2] + 0.5
    assert abs(values[2]) < 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_the_probe_ignores_scale_offset_order_and_rotation(seed: int) -> None:
    """A turn leaves it as it is where the features are uncorrelated, as they are here."""
    case, rng = features_case(3), np.random.default_rng(seed)
    expected = probed(passing_on(np.eye(6)), case)
    scales = np.diag(10.0 ** rng.uniform(-2, 2, 6) * rng.choice([-1, 1], 6))
    order = np.eye(6)[rng.permutation(6)]
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for target in (
        passing_on(3.0 * np.eye(6)),
        passing_on(scales),
        passing_on(order),
        passing_on(np.eye(6), shift=4.0),
        passing_on(turn),
    ):
        assert probed(target, case) == pytest.approx(expected, abs=2e-3)
    assert probed(passing_on(np.eye(6)), case, seed=1) != expected


def test_features_that_say_nothing_are_chance() -> None:
    case = features_case(4)
    assert probed(passing_on(np.zeros((6, 6))), case) == 0.0


def slow_probe(x: Floats, n_inside: int, seed: int) -> float:
    """Weighted ridge regression by its normal equations, the AUC by counting pairs."""
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    n_outside = len(x) - n_inside
    values = []
    for k in range(30):
        rng = generator(seed, "probe", k)
        few = rng.permutation(n_inside)[:3].tolist()
        many = rng.permutation(n_outside)[: min(200, n_outside // 2)].tolist()
        taught = [*few, *(n_inside + i for i in many)]
        weight = np.array([0.5 / 3] * 3 + [0.5 / len(many)] * len(many))
        target = np.array([1.0] * 3 + [0.0] * len(many))
        centre, level = weight @ x[taught], weight @ target
        a = x[taught] - centre
        slope = np.linalg.solve(
            (a.T * weight) @ a + np.eye(x.shape[1]), (a.T * weight) @ (target - level)
        )
        scores = (x @ slope).tolist()
        rest = [i for i in range(len(x)) if i not in taught]
        forget = [scores[i] for i in rest if i < n_inside]
        control = [scores[i] for i in rest if i >= n_inside]
        pairs = len(forget) * len(control)
        values.append(slow.half_logit(slow.auc(forget, control) * pairs, pairs))
    return fmean(values)


def test_the_probe_against_its_normal_equations() -> None:
    case = features_case(6)
    assert case.others is not None
    target = passing_on(np.random.default_rng(7).normal(size=(6, 6)))
    x = np.concatenate([target.features(rows) for rows in (case.test, case.others)])
    assert probed(target, case, 5) == pytest.approx(slow_probe(x, len(case.test), 5), abs=1e-6)


def test_too_few_rows_or_no_features_are_refused() -> None:
    case = features_case(8)
    assert case.others is not None
    target = passing_on(np.eye(6))
    with pytest.raises(NotApplicable, match="are for class and sub-class requests"):
        whitebox.traces([target], case.replace(scope="instance"), 0)
    with pytest.raises(NotApplicable, match="are for class and sub-class requests"):
        whitebox.traces([target], case.replace(others=None), 0)
    few = case.replace(test=case.test.take(np.arange(4)))
    with pytest.raises(NotApplicable, match=r"5 never-trained rows .* 100 others, found 4 and 220"):
        whitebox.traces([target], few, 0)
    few = case.replace(others=case.others.take(np.arange(99)))
    with pytest.raises(NotApplicable, match="found 30 and 99"):
        whitebox.traces([target], few, 0)
    with pytest.raises(NotApplicable, match="no learnt features before its output layer"):
        whitebox.traces([Target(nn.Linear(6, 2))], case, 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """Models of one class request."""

    case: Case
    retrained: list[nn.Module]
    originals: list[nn.Module]


@pytest.fixture(scope="module")
def trained(digits_case: Case) -> Trained:
    """Digits, of which the threes are forgotten; labels without the noise of the case."""
    parts = (digits_case.retain, digits_case.forget, digits_case.test, digits_case.auxiliary)
    rows = Rows.concat(*parts)
    y = nearest_labels(rows)
    rows = dataclasses.replace(rows, y=y)
    train, held = rows.take(np.arange(400)), rows.take(np.arange(400, len(rows)))
    trainer = RecipeTrainer(
        architecture=Architecture(
            name="mlp", shape=(64,), n_classes=10, options={"hidden": [32, 16]}
        ),
        recipe=Recipe(epochs=25, steps_per_epoch=4, lr=1e-2),
    )
    case = Case(
        name="threes",
        n_classes=10,
        retain=train.take(train.y != 3),
        forget=train.take(train.y == 3),
        test=held.take(held.y == 3),
        auxiliary=held.take(np.arange(0)),
        others=held.take(held.y != 3),
        scope="class",
        classes=(3,),
        trainer=trainer,
    )
    whole, n_r = case.training, len(case.retain)
    subsets = [*[np.arange(n_r)] * 5, *[np.arange(len(whole))] * 2]
    models = trainer.many(whole.x, whole.y, subsets, list(range(7)))
    return Trained(case=case, retrained=models[:5], originals=models[5:])


def nearest_labels(rows: Rows) -> Labels:
    """Return the true labels of the digits, which the case has made noisy."""
    from sklearn.datasets import load_digits

    _, y = load_digits(return_X_y=True)
    numbers = [int(name.removeprefix("digit-")) for name in rows.ids.tolist()]
    return np.asarray(y[numbers], dtype=np.int64)


def targets(models: list[nn.Module]) -> list[Target]:
    return [Target(model) for model in models]


@pytest.fixture(scope="module")
def traces(trained: Trained) -> Mapping[str, Floats]:
    return whitebox.traces(targets([*trained.retrained, *trained.originals]), trained.case, 0)


def test_originals_betray_the_class_more_than_retrained_models(
    traces: Mapping[str, Floats],
) -> None:
    assert set(traces) == set(yardstick.WHITEBOX_FAMILY) == set(whitebox.TRACES)
    for name in ("probe", "relearn"):
        assert traces[name][5:].min() > traces[name][:5].max(), name


def test_every_model_gets_the_same_draws(trained: Trained, traces: Mapping[str, Floats]) -> None:
    backwards = whitebox.traces(
        targets([trained.originals[0], trained.retrained[1]]), trained.case, 0
    )
    twice = whitebox.traces(targets([trained.retrained[1]] * 2), trained.case, 0)
    for name, values in traces.items():
        assert backwards[name].tolist() == [values[5], values[1]]
        assert twice[name].tolist() == [values[1]] * 2
    before = trained.originals[0].state_dict()
    whitebox.traces(targets([trained.originals[0]]), trained.case, 0)
    for key, tensor in trained.originals[0].state_dict().items():
        assert torch.equal(tensor, before[key])


@pytest.mark.parametrize("mask", [impostors.masked_bias, impostors.masked_logits])
def test_masks_change_answers_and_nothing_inside(
    trained: Trained, traces: Mapping[str, Floats], mask: object
) -> None:
    case = trained.case
    assert callable(mask)
    masked = mask(trained.originals[0], case, np.random.default_rng(0))
    target = Target(masked)
    assert not np.any(target.labels(case.forget) == 3)
    assert probed(target, case) == pytest.approx(traces["probe"][5], abs=1e-6)
    p = np.stack(
        [
            stats.label_probability(stats.log_odds(t.logits(case.forget), case.forget.y))
            for t in targets([*trained.retrained, *trained.originals, masked])
        ]
    )
    left = yardstick.influences(
        stats.calibrate(p[:5]), p[5:], p[5:7].mean(axis=0), len(case.forget), adjust=False
    ).rho
    assert left[:2] == pytest.approx([1, 1], abs=0.2)
    assert abs(left[2]) < 0.15


def test_a_new_head_closes_nothing_inside(trained: Trained, traces: Mapping[str, Floats]) -> None:
    model = impostors.fresh_head(trained.originals[0], trained.case, np.random.default_rng(0))
    assert Target(model).accuracy(trained.case.forget) < 0.1
    assert probed(Target(model), trained.case) > traces["probe"][:5].max()
