"""What each strategy draws: how many, the same again, what was planted, and never by its judges."""

import dataclasses

import numpy as np
import pytest

from forget_audit.errors import CaseError, LeakageError, NotApplicable, UnknownName
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.stress import drawing
from forget_audit.stress.drawing import Drawn
from forget_audit.stress.ground import case_of
from forget_audit.stress.scouts import Scouts, halves
from forget_audit.stress.strategies import JUDGES, STRATEGIES, chosen, curve, keep_apart
from forget_audit.targets import Target
from forget_audit.types import Ids, Rows
from forget_audit.worst_case import Surrogate
from tests.stress.small import COPIES, SIZE, WRONG, pairs, planted, prepared, scouts, wrong


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(name: str, n: int = SIZE, seed: int = 5, by: Scouts | None = None) -> Drawn:
    return STRATEGIES[name].draw(by or scouts(), n, rng(seed))


def share(drawn: Drawn, ids: Ids) -> float:
    return float(np.isin(drawn.ids, ids).mean())


def without(**changes: object) -> Scouts:
    return dataclasses.replace(scouts(), **changes)  # type: ignore[arg-type]


# Number and repetition


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_set_holds_the_right_number_of_distinct_rows(name: str) -> None:
    drawn, rows = draw(name), scouts().rows
    assert len(np.unique(drawn.ids)) == len(drawn.ids)
    if name == "canary":
        assert len(drawn.ids) == SIZE
        return
    assert np.isin(drawn.ids, rows.ids).all()
    if name in ("class", "subclass"):
        kinds = rows.y if name == "class" else scouts().finer
        assert kinds is not None
        assert set(drawn.ids) == set(rows.ids[kinds == drawn.classes[0]])
        assert drawn.scope == name
    else:
        assert len(drawn.ids) == SIZE
        assert drawn.scope == "instance"


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_draws_the_same_set(name: str) -> None:
    assert draw(name).ids.tolist() == draw(name).ids.tolist()


@pytest.mark.parametrize("name", ["random", "class", "canary"])
def test_another_seed_draws_another_set(name: str) -> None:
    def content(seed: int) -> bytes:
        drawn = draw(name, seed=seed)
        return drawn.ids.tobytes() if drawn.planted is None else drawn.planted.x.tobytes()

    assert len({content(seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n not in ("class", "subclass")])
def test_more_rows_than_there_are_cannot_be_drawn(name: str) -> None:
    with pytest.raises(NotApplicable, match="235"):
        draw(name, 235)


# What was planted is found


def test_planted_wrong_labels_are_found() -> None:
    assert share(draw("mislabelled"), wrong()) >= 0.8
    assert share(draw("memorised"), wrong()) >= 0.6
    assert share(draw("top_mia"), wrong()) >= 0.7
    assert draw("mislabelled", WRONG).facts["flagged"] >= 0.8


def test_the_worst_case_is_no_outlier_and_the_easiest_is() -> None:
    assert share(draw("worst_case"), wrong()) == 0
    assert share(draw("easiest"), wrong()) >= 0.4


def test_one_of_each_planted_pair_is_found_and_the_other_stays() -> None:
    drawn = draw("near_duplicates", COPIES)
    taken = set(drawn.ids.tolist())
    assert [len(taken & set(pair)) for pair in pairs()] == [1] * COPIES
    assert drawn.facts["distance"] < 0.2


def test_rows_of_equal_content_are_no_near_duplicates() -> None:
    rows = scouts().rows
    twins = Rows(
        x=np.concatenate([rows.x, rows.x[:40]]),
        y=np.concatenate([rows.y, rows.y[:40]]),
        ids=np.concatenate([rows.ids, np.char.add("twin-", rows.ids[:40])]),
    )
    by = without(rows=twins, halves=(), members=halves(len(twins), 0, 0))
    taken = set(draw("near_duplicates", 30, by=by).ids.tolist())
    x = {name: row.tobytes() for name, row in zip(twins.ids.tolist(), twins.x, strict=True)}
    kept = {content for name, content in x.items() if name not in taken}
    near = [name for name in taken if x[name] not in kept]
    assert len(near) >= COPIES  # the planted pairs come first, though 40 exact copies are nearer


def test_gradients_are_longest_where_the_label_is_wrong() -> None:
    lengths = draw("influence")
    chance = WRONG / len(scouts().rows)
    assert share(lengths, wrong()) > 3 * chance


def test_canaries_are_unseen_inputs_under_wrong_labels_in_no_other_role() -> None:
    own, made = prepared()
    drawn = STRATEGIES["canary"].draw(made.scouts, SIZE, rng())
    case, spare = case_of(own, drawn), own.case.auxiliary
    assert drawn.planted is not None
    recorded = {x.tobytes(): int(y) for x, y in zip(spare.x, spare.y, strict=True)}
    found = [(recorded[x.tobytes()], y) for x, y in zip(case.forget.x, case.forget.y, strict=True)]
    assert all(before != after for before, after in found)
    assert len(case.auxiliary) == len(spare) - SIZE
    assert set(case.retain.ids) == set(own.rows.ids)
    assert not set(case.forget.ids) & set(own.rows.ids)


@pytest.mark.parametrize("name", ["random", "class", "worst_case"])
def test_the_case_forgets_the_set_and_keeps_all_else(name: str) -> None:
    own, made = prepared()
    drawn = STRATEGIES[name].draw(made.scouts, SIZE, rng())
    case = case_of(own, drawn)
    assert set(case.forget.ids) == set(drawn.ids)
    assert set(case.training.ids) == set(own.rows.ids)
    if name == "class":
        assert set(case.test.y) == set(case.forget.y) == set(case.classes)
        assert len(case.never_trained) == len(own.case.test)


def test_parts_of_the_curve_rise_in_memorisation_and_do_not_overlap() -> None:
    drawn = [strategy.draw(scouts(), 40, rng()) for strategy in curve(4)]
    levels = [one.facts["memorisation"] for one in drawn]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] + 0.2
    assert len(np.unique(np.concatenate([one.ids for one in drawn]))) == 160
    with pytest.raises(NotApplicable, match="needs more than 90"):
        curve(4)[0].draw(scouts(), 90, rng())


# People behind rows


def test_people_are_drawn_whole() -> None:
    rows = scouts().rows
    people = rows.replace(units=np.array([f"person-{k // 5}" for k in range(len(rows))]))
    members = halves(47, 10, 7)
    by = without(rows=people, members=members)
    for name in ("random", "memorised", "influence", "mislabelled", "worst_case"):
        taken = np.isin(people.ids, draw(name, 12, by=by).ids)
        assert taken.sum() == 60
        assert len(np.unique(people.units[taken])) == 12  # type: ignore[index]


# What cannot be drawn says why


class Oracle(AnswersOnly):
    pass


@pytest.mark.parametrize("name", ["influence", "worst_case", "easiest"])
def test_models_that_only_answer_have_no_gradients(name: str) -> None:
    by = without(surrogate=Surrogate(target=Target(Oracle()), audited=()))
    with pytest.raises(NotApplicable, match="only answer"):
        draw(name, by=by)


@pytest.mark.parametrize("name", ["top_mia", "influence", "worst_case", "easiest"])
def test_training_without_chance_leaves_no_surrogate(name: str) -> None:
    with pytest.raises(NotApplicable, match="nothing to chance"):
        draw(name, by=without(surrogate=None))


@pytest.mark.parametrize("name", ["class", "mislabelled", "canary"])
def test_rows_with_several_labels_have_no_class(name: str) -> None:
    rows = scouts().rows
    several = rows.replace(y=np.stack([rows.y % 2, rows.y // 5], axis=1))
    with pytest.raises(NotApplicable, match="several labels"):
        draw(name, by=without(rows=several))


def test_reasons_name_what_is_missing() -> None:
    with pytest.raises(NotApplicable, match="sub-class"):
        draw("subclass", by=without(finer=None))
    none = without(halves=(), members=halves(len(planted()[0]), 0, 0))
    with pytest.raises(NotApplicable, match="two pairs"):
        draw("memorised", by=none)
    with pytest.raises(NotApplicable, match="auxiliary"):
        draw("canary", by=without(spare=planted()[1].take(np.arange(5))))
    two = without(rows=scouts().rows.replace(y=scouts().rows.y % 2))
    with pytest.raises(NotApplicable, match="classes"):
        draw("class", by=two)
    with pytest.raises(NotApplicable, match="pairs with the same label"):
        drawing.one_of_two(scouts(), 200, rng())


def test_every_row_is_seen_by_one_model_of_each_pair() -> None:
    members = halves(31, 3, 0)
    assert np.array_equal(members[::2], ~members[1::2])
    assert members[::2].sum(axis=1).tolist() == [15] * 3
    assert not np.array_equal(members[0], members[2])
    with pytest.raises(CaseError, match="share"):
        without(members=np.ones_like(scouts().members))


# Who picks never judges


def test_an_attack_that_judges_never_picks() -> None:
    for strategy in STRATEGIES.values():
        keep_apart(strategy, (), ())
        assert strategy.attack not in JUDGES
    for attack in JUDGES:
        picked = dataclasses.replace(STRATEGIES["top_mia"], attack=attack)
        with pytest.raises(LeakageError, match="on both sides"):
            keep_apart(picked, (), ())


def test_a_model_that_picked_never_judges() -> None:
    first, second, *_ = scouts().targets
    keep_apart(STRATEGIES["memorised"], [first], [second])
    with pytest.raises(LeakageError, match="models of their own"):
        keep_apart(STRATEGIES["memorised"], [first, second], [Target(second.model_copy())])


def test_the_surrogate_is_no_audited_model() -> None:
    _, made = prepared()
    surrogate = made.scouts.surrogate
    assert surrogate is not None
    judged = {Target(made.parent).digest(), *(target.digest() for target in made.originals)}
    assert not judged & {target.digest() for target in made.scouts.targets}
    assert Target(made.parent).digest() in {model.digest() for model in surrogate.audited}
    with pytest.raises(LeakageError, match="auditor's own"):
        Surrogate(target=Target(made.parent), audited=surrogate.audited)


def test_an_unknown_strategy_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'worst_case'"):
        chosen(["worstcase"])
    assert [one.name for one in chosen(["easiest", "class"])] == ["random", "class", "easiest"]


def test_models_have_no_part_in_what_looks_at_rows_alone() -> None:
    blind = without(surrogate=None, halves=(), members=halves(len(planted()[0]), 0, 0))
    for name, strategy in STRATEGIES.items():
        if strategy.looks in (("rows",), ("nothing",)):
            assert draw(name, by=blind).ids.tolist() == draw(name).ids.tolist()
