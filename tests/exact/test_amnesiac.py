"""What subtracting recorded updates must give back, wholly and in part."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import NotApplicable
from forget_audit.methods.amnesiac import Amnesiac
from forget_audit.methods.partial_amnesiac import PartialAmnesiac
from forget_audit.seeds import generator
from forget_audit.targets import Target, weights_digest
from forget_audit.training.log import Grouped, Step, TrainingLog, initial_only, record
from forget_audit.training.loop import Recipe, deal
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Rows

Shape = tuple[int, ...]


class Double(nn.Module):
    """Features in float64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double()


class Level(nn.Module):
    """Logits of value 0 whose gradient is that of `inner`: the loss is linear in its weights."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.inner(x)
        return z - z.detach()


def exact(shape: Shape, n_classes: int) -> nn.Module:
    layers = [nn.Linear(shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, n_classes)]
    return nn.Sequential(Double(), *layers).double()


def level(shape: Shape, n_classes: int) -> nn.Module:
    return nn.Sequential(Double(), Level(nn.Linear(shape[0], n_classes))).double()


def trainer_of(builder: str, **recipe: Any) -> RecipeTrainer:
    architecture = Architecture(name=f"{__name__}:{builder}", shape=(4,), n_classes=3)
    return RecipeTrainer(architecture=architecture, recipe=Recipe(**recipe))


@pytest.fixture(scope="module")
def blobs() -> Case:
    """Forty rows of noise with three classes; the last two are to be forgotten."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 4)), rng.integers(0, 3, 60)
    rows = Rows(x=x.astype(np.float32), y=y, ids=np.arange(60).astype(np.str_))
    return Case(
        name="blobs", n_classes=3, retain=rows.take(np.arange(38)),
        forget=rows.take(np.arange(38, 40)), test=rows.take(np.arange(40, 60)),
        auxiliary=rows.take(np.arange(0)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def original(logged: tuple[nn.Module, TrainingLog], instance_case: Case) -> tuple[nn.Module, Case]:
    """An original on the digits with its log; ten of its rows are to be forgotten."""
    model, log = logged
    rows = instance_case.training
    return model, instance_case.replace(
        log=log, retain=rows.take(np.arange(250)), forget=rows.take(np.arange(250, 260))
    )


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def logged(case: Case, trainer: RecipeTrainer, **how: Any) -> tuple[nn.Module, Case]:
    model, log = record(trainer, case.training, 1, **how)
    return model, case.replace(log=log)


def assert_same(found: dict[str, torch.Tensor], wanted: Any, *, only: Any = None) -> None:
    for name in only or wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-12, rtol=1e-12)


def at_the_end(n: int, steps: int, generator: np.random.Generator) -> list[Any]:
    """The last two rows in the last batch."""
    return np.array_split(np.arange(n), steps)


# Whole updates


def test_subtracting_the_last_step_gives_the_weights_before_it(blobs: Case) -> None:
    trainer = trainer_of("exact", epochs=1, steps_per_epoch=5)
    model, case = logged(blobs, trainer, dealer=at_the_end)
    assert case.log is not None
    before = dict(case.log.initial)
    for step in case.log.steps[:-1]:
        before = {n: t + case.log.updates(step).get(n, 0) for n, t in before.items()}
    done = Amnesiac().unlearn(model, case, rng())
    parameters = [name for name, _ in model.named_parameters()]
    assert_same(state(done.model), before, only=parameters)
    assert done.report.notes == ("1 of 5 steps held a forget row (20%)",)
    for name in ("2.running_mean", "2.running_var"):
        assert torch.equal(state(done.model)[name], state(model)[name])


@pytest.mark.parametrize("buffers", [True, False])
def test_subtracting_every_step_gives_the_initial_weights(buffers: bool, blobs: Case) -> None:
    rows = blobs.training
    most = blobs.replace(retain=rows.take(np.arange(1)), forget=rows.take(np.arange(1, 40)))
    trainer = trainer_of("exact", epochs=4, steps_per_epoch=2)
    model, case = logged(most, trainer, buffers=True)
    assert case.log is not None
    done = Amnesiac(buffers=buffers).unlearn(model, case, rng())
    for name, tensor in state(done.model).items():
        kept = name.endswith("tracked") or ("running" in name and not buffers)
        wanted = state(model)[name] if kept else case.log.initial[name]
        torch.testing.assert_close(tensor, wanted, atol=1e-12, rtol=1e-12)
    assert any("warning: more than half" in note for note in done.report.notes)


def test_a_linear_loss_makes_it_training_without_the_affected_steps(blobs: Case) -> None:
    trainer = trainer_of("level", epochs=3, steps_per_epoch=8, optimizer="sgd", lr=0.3)
    model, case = logged(blobs, trainer)
    done = Amnesiac().unlearn(model, case, rng())
    start = state(trainer.fresh(1))
    w, b = (start[f"1.inner.{part}"].numpy().copy() for part in ("weight", "bias"))
    order, skipped = generator(1, "order"), 0
    order.bit_generator.random_raw()
    rows = case.training
    for _ in range(3):
        for batch in deal(len(rows), 8, order):
            if np.isin(rows.ids[batch], case.forget.ids).any():
                skipped += 1
                continue
            residual = (1 / 3 - np.eye(3)[rows.y[batch]]) / len(batch)
            w -= 0.3 * residual.T @ rows.x[batch].astype(np.float64)
            b -= 0.3 * residual.sum(0)
    assert 3 <= skipped <= 6
    np.testing.assert_allclose(state(done.model)["1.inner.weight"].numpy(), w, atol=1e-12)
    np.testing.assert_allclose(state(done.model)["1.inner.bias"].numpy(), b, atol=1e-12)


def test_float32_updates_are_summed_in_float64(original: tuple[nn.Module, Case]) -> None:
    model, case = original
    assert case.log is not None
    done = Amnesiac().unlearn(model, case, rng())
    for name, tensor in state(model).items():
        total = tensor.double()
        for step in reversed(case.log.affected(case.forget.ids.tolist())):
            total -= case.log.updates(step)[name].double()
        assert torch.equal(state(done.model)[name], total.float())


def test_no_row_is_read(original: tuple[nn.Module, Case]) -> None:
    model, case = original
    retain, forget = (rows.take(np.arange(len(rows))) for rows in (case.retain, case.forget))
    bare = case.replace(retain=retain, forget=forget)
    for rows in (retain, forget):
        object.__delattr__(rows, "x")
        object.__delattr__(rows, "y")
    report = Amnesiac().unlearn(model, bare, rng()).report
    assert (report.steps, report.rows_touched) == (0, 0)


def test_going_back_by_epochs_stops_at_the_target(original: tuple[nn.Module, Case]) -> None:
    model, case = original
    assert case.log is not None
    idle = Amnesiac(order="reverse_epochs", target=1.0).unlearn(model, case, rng())
    assert weights_digest(idle.model) == weights_digest(model)
    assert idle.report.stop_reason == "forget accuracy at most 1, epochs to 39 kept"
    some = Amnesiac(order="reverse_epochs", target=0.7).unlearn(model, case, rng())
    assert Target(some.model).accuracy(case.forget) <= 0.7
    epoch = int(some.report.stop_reason.split()[-2])
    assert 0 <= epoch < 39
    weights = {name: tensor.double() for name, tensor in state(model).items()}
    for step in reversed(case.log.affected(case.forget.ids.tolist())):
        if step.epoch == epoch:
            break
        for name, update in case.log.updates(step).items():
            weights[name] -= update.double()
    for name, tensor in state(some.model).items():
        assert torch.equal(tensor, weights[name].float())
    every = Amnesiac(order="reverse_epochs", target=0.0).unlearn(model, case, rng()).model
    assert weights_digest(every) == weights_digest(Amnesiac().unlearn(model, case, rng()).model)


def test_repair_reads_retained_rows(original: tuple[nn.Module, Case]) -> None:
    model, case = original
    done = Amnesiac.preset("repaired").unlearn(model, case, rng())
    assert (done.report.steps, done.report.rows_touched) == (6, 250)
    broken = Target(Amnesiac().unlearn(model, case, rng()).model).accuracy(case.retain)
    assert Target(done.model).accuracy(case.retain) > broken


def test_grouped_rows_make_it_selective(class_case: Case) -> None:
    rows, trainer = class_case.training, class_case.trainer
    assert isinstance(trainer, RecipeTrainer)
    together = Grouped(positions=tuple(np.flatnonzero(rows.y == 3).tolist()), share=0.2)
    model, case = logged(class_case, trainer, dealer=together)
    done = Amnesiac().unlearn(model, case, rng())
    assert done.report.notes == ("40 of 240 steps held a forget row (17%)",)
    assert Target(done.model).accuracy(case.forget) <= 0.05
    assert Target(done.model).accuracy(case.retain) > 0.9
    model, case = logged(class_case, trainer)
    done = Amnesiac().unlearn(model, case, rng())
    assert done.report.notes[0] == "240 of 240 steps held a forget row (100%)"
    assert Target(done.model).accuracy(case.retain) < 0.4


def test_share_of_affected_steps_follows_the_law(blobs: Case) -> None:
    rows, steps = blobs.training, []
    source = np.random.default_rng(3)
    for number, batch in enumerate(b for _ in range(300) for b in deal(40, 5, source)):
        steps.append(Step(number=number, epoch=0, ids=rows.ids[batch], packed={}, lr=0.1))
    log = TrainingLog(initial={}, steps=tuple(steps), taken=len(steps))
    for m in (1, 2, 5):
        share = len(log.affected(rows.ids[:m].tolist())) / len(steps)
        without_replacement = 1 - np.prod([(32 - i) / (40 - i) for i in range(m)])
        assert share == pytest.approx(without_replacement, abs=0.02)
        assert share == pytest.approx(1 - (1 - m / 40) ** 8, abs=0.05)


def halved(log: TrainingLog) -> TrainingLog:
    return dataclasses.replace(log, steps=log.steps[::2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (halved, "amnesiac expected a record of all 12 steps, found 6; .* restore the log"),
        (lambda log: dataclasses.replace(log, watched=frozenset("0")), "amnesiac: 2 ids were not"),
        (lambda _: initial_only(trainer_of("exact"), 1), "amnesiac: 2 ids were not watched"),
        (lambda log: dataclasses.replace(log, initial={}), "record of this model's training"),
        (lambda log: dataclasses.replace(
            log, watched=frozenset({"38", "39"}), steps=log.steps[:1]
        ), r"expected each row to forget in some recorded step, found [12] in none"),
    ],
)  # fmt: skip
def test_incomplete_records_are_refused(
    spoil: Callable[[TrainingLog], TrainingLog], message: str, blobs: Case
) -> None:
    model, case = logged(blobs, trainer_of("exact", epochs=2, steps_per_epoch=6))
    assert case.log is not None
    with pytest.raises(NotApplicable, match=message):
        Amnesiac().unlearn(model, case.replace(log=spoil(case.log)), rng())


def test_buffers_must_be_in_the_log(blobs: Case) -> None:
    model, case = logged(blobs, trainer_of("exact", epochs=1))
    with pytest.raises(NotApplicable, match=r"changes of buffers, found none of 2\.running_mean"):
        Amnesiac(buffers=True).unlearn(model, case, rng())


def test_a_log_of_the_watched_rows_is_enough(blobs: Case) -> None:
    trainer = trainer_of("exact", epochs=2, steps_per_epoch=6)
    model, case = logged(blobs, trainer)
    _, watched = logged(blobs, trainer, watched={"38", "39"})
    assert case.log is not None
    assert watched.log is not None
    assert len(watched.log.steps) < len(case.log.steps)
    done = [Amnesiac().unlearn(model, c, rng()) for c in (case, watched)]
    assert weights_digest(done[0].model) == weights_digest(done[1].model)
    assert done[0].report.notes == done[1].report.notes


# Parts of updates

LAYERS = {"1.weight": 32, "4.weight": 24}


def parts(case: Case, method: PartialAmnesiac, **recipe: Any) -> tuple[nn.Module, Case]:
    trainer = trainer_of("exact", **{"epochs": 2, "steps_per_epoch": 4, **recipe})
    return logged(case, trainer, storage=method.storage())


def updates_of(case: Case) -> list[dict[str, torch.Tensor]]:
    assert case.log is not None
    return [dict(case.log.updates(step)) for step in case.log.steps]


def whole_updates(case: Case) -> list[dict[str, torch.Tensor]]:
    return updates_of(logged(case, trainer_of("exact", epochs=2, steps_per_epoch=4))[1])


def test_dropping_nothing_is_amnesiac_unlearning(blobs: Case) -> None:
    trainer = trainer_of("exact", epochs=2, steps_per_epoch=4)
    wanted = Amnesiac().unlearn(*logged(blobs, trainer), rng())
    nothing: dict[str, Any] = {"drop_first": 0.0, "drop_last": 0.0, "drop_overall": 0.0}
    for mode in ("random", "magnitude", "global"):
        method = PartialAmnesiac(mode=mode, **nothing)
        done = method.unlearn(*parts(blobs, method), rng())
        assert weights_digest(done.model) == weights_digest(wanted.model)
        assert done.report.notes == wanted.report.notes


def test_dropping_every_weight_leaves_biases(blobs: Case) -> None:
    wanted = Amnesiac().unlearn(
        *logged(blobs, trainer_of("exact", epochs=2, steps_per_epoch=4)), rng()
    )
    every: dict[str, Any] = {"drop_first": 1.0, "drop_last": 1, "drop_overall": 1.0}
    for mode in ("random", "magnitude", "global"):
        method = PartialAmnesiac(mode=mode, **every)
        model, case = parts(blobs, method)
        new = state(method.unlearn(model, case, rng()).model)
        for name in new:
            old = model if name in LAYERS else wanted.model
            assert torch.equal(new[name], state(old)[name]), name


@pytest.mark.parametrize("mode", ["random", "magnitude"])
def test_each_layer_keeps_its_share(mode: Any, blobs: Case) -> None:
    method = PartialAmnesiac(mode=mode, drop_first=0.8, drop_last=0.3)
    _, case = parts(blobs, method)
    counts = {"1.weight": round(0.2 * 32), "4.weight": round(0.7 * 24)}
    for kept, whole in zip(updates_of(case), whole_updates(blobs), strict=True):
        assert kept.keys() == whole.keys()
        for name, update in kept.items():
            if name not in counts:
                assert torch.equal(update, whole[name])
                continue
            there = update != 0
            assert int(there.sum()) == counts[name]
            assert torch.equal(update[there], whole[name][there])
            if mode == "magnitude":
                assert update[there].abs().min() >= whole[name][~there].abs().max()


def test_shares_follow_depth_linearly() -> None:
    sizes = {"a.weight": (10, 10), "a.bias": (10,), "b.weight": (10, 20), "b.more": (5, 2),
             "n.weight": (4,), "c.weight": (2, 5, 2)}  # fmt: skip
    updates = {name: torch.ones(size) for name, size in sizes.items()}
    packed = PartialAmnesiac(drop_first=0.9, drop_last=0.1).storage().pack(0, updates)
    assert {name: len(t) for name, t in packed.items()} == {
        "a.weight": 10, "a.bias": 10, "b.weight": 100, "b.more": 5, "n.weight": 4, "c.weight": 18
    }  # fmt: skip
    one = PartialAmnesiac(drop_first=0.9, drop_last=0.1).storage()
    assert len(one.pack(0, {"a.weight": torch.ones(10, 10)})["a.weight"]) == 10


def test_one_threshold_over_all_layers(blobs: Case) -> None:
    method = PartialAmnesiac(mode="global", drop_overall=0.7)
    _, case = parts(blobs, method)
    shares = set()
    for kept, whole in zip(updates_of(case), whole_updates(blobs), strict=True):
        of_kept, of_whole = (
            torch.cat([part[name].flatten() for name in LAYERS]) for part in (kept, whole)
        )
        there = of_kept != 0
        assert int(there.sum()) == round(0.3 * 56)
        assert torch.equal(of_kept[there], of_whole[there])
        assert of_whole[there].abs().min() >= of_whole[~there].abs().max()
        shares.add(int((kept["1.weight"] != 0).sum()))
    assert len(shares) > 1


def masks(method: PartialAmnesiac) -> list[list[int]]:
    storage, updates = method.storage(), {"a.weight": torch.arange(1.0, 101).view(10, 10)}
    return [sorted(storage.pack(step, updates)["a.weight"].int().tolist()) for step in range(3)]


def test_masks_depend_on_seed_step_and_layer() -> None:
    drawn = masks(PartialAmnesiac(drop_first=0.5))
    assert drawn == masks(PartialAmnesiac(drop_first=0.5))
    assert len({tuple(m) for m in drawn}) == 3
    assert drawn != masks(PartialAmnesiac(drop_first=0.5, seed=1))
    fixed = masks(PartialAmnesiac(drop_first=0.5, mask="per_layer_fixed"))
    assert fixed[0] == fixed[1] == fixed[2]
    storage = PartialAmnesiac(drop_first=0.5, drop_last=0.5).storage()
    values = torch.arange(100.0).view(10, 10)
    packed = storage.pack(0, {"a.weight": values, "b.weight": values})
    assert not torch.equal(packed["a.weight"], packed["b.weight"])


@pytest.mark.parametrize("mode", ["random", "magnitude", "global"])
def test_the_log_takes_as_many_bytes_as_it_should(mode: Any, class_case: Case) -> None:
    trainer = class_case.trainer
    assert isinstance(trainer, RecipeTrainer)
    method = PartialAmnesiac(mode=mode)
    trainer = dataclasses.replace(trainer, recipe=Recipe(epochs=2))
    _, whole = logged(class_case, trainer)
    _, case = logged(class_case, trainer, storage=method.storage())
    assert whole.log is not None
    assert case.log is not None
    first, last, biases = 64 * 32, 32 * 10, 32 + 10
    assert whole.log.nbytes == 12 * 4 * (first + last + biases)
    if mode == "global":
        values = round(0.25 * (first + last))
    else:
        values = round(0.1 * first) + round(0.55 * last)
    per_value = 4 if mode == "random" else 4 + 4
    assert case.log.nbytes == 12 * (per_value * values + 4 * biases)


def pruned(case: Case, method: PartialAmnesiac) -> Case:
    """The case with its whole log as `method` would have stored it."""
    log, storage = case.log, method.storage()
    assert log is not None
    steps = tuple(
        dataclasses.replace(step, packed=storage.pack(step.number, log.updates(step)))
        for step in log.steps
    )
    return case.replace(log=dataclasses.replace(log, steps=steps, storage=storage))


def test_on_average_it_is_part_of_the_way_to_the_initial_weights(blobs: Case) -> None:
    rows = blobs.training
    most = blobs.replace(retain=rows.take(np.arange(1)), forget=rows.take(np.arange(1, 40)))
    means: dict[str, torch.Tensor] = {}
    model, case = logged(most, trainer_of("exact", epochs=2, steps_per_epoch=2))
    assert case.log is not None
    n = 200
    for seed in range(n):
        method = PartialAmnesiac(drop_first=0.8, drop_last=0.3, seed=seed)
        new = state(method.unlearn(model, pruned(case, method), rng()).model)
        means = {name: means.get(name, 0) + new[name].double() / n for name in new}
    for name, drop in {"1.weight": 26 / 32, "4.weight": 7 / 24, "1.bias": 0, "4.bias": 0}.items():
        end, start = state(model)[name], case.log.initial[name]
        squares = torch.stack([case.log.updates(step)[name].square() for step in case.log.steps])
        spread = (drop * (1 - drop) * squares.sum(0) / n).sqrt()
        off = (means[name] - (drop * end + (1 - drop) * start)).abs()
        assert torch.all(off <= 4.5 * spread + 1e-12), name
        assert torch.all(off < 0.2 * (end - start).abs().max())


def test_in_grouped_batches_a_part_keeps_more_than_the_whole(class_case: Case) -> None:
    rows, trainer = class_case.training, class_case.trainer
    assert isinstance(trainer, RecipeTrainer)
    together = Grouped(positions=tuple(np.flatnonzero(rows.y == 3).tolist()), share=0.7)
    model, case = logged(class_case, trainer, dealer=together)
    method = PartialAmnesiac(drop_first=0.2, drop_last=0.05)
    part = Target(method.unlearn(model, pruned(case, method), rng()).model)
    whole = Target(Amnesiac().unlearn(model, case, rng()).model)
    assert part.accuracy(case.forget) == whole.accuracy(case.forget) == 0
    assert part.accuracy(case.retain) > whole.accuracy(case.retain)


def test_another_storage_is_refused(blobs: Case) -> None:
    model, case = logged(blobs, trainer_of("exact", epochs=1))
    with pytest.raises(NotApplicable, match=r"expected a record kept with Pruned.*found Whole"):
        PartialAmnesiac().unlearn(model, case, rng())
    model, case = parts(blobs, PartialAmnesiac(seed=1))
    with pytest.raises(NotApplicable, match=r"found Pruned.*seed=1\)"):
        PartialAmnesiac(seed=2).unlearn(model, case, rng())


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "some"}, {"mask": "per_epoch"}, {"seed": -1}, {"drop_first": 1.1},
     {"drop_last": -0.1}, {"drop_overall": 2}, {"order": "last"}, {"target": -1},
     {"buffers": 1}, {"repair_epochs": -1}, {"repair_lr": 0}],
)  # fmt: skip
def test_wrong_fields_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        PartialAmnesiac(**wrong)
