"""Training in shards and slices: deletion is training from scratch, bit for bit."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import chisquare
from torch import nn

from forget_audit.errors import NotApplicable
from forget_audit.methods._shards import Ensemble
from forget_audit.methods.sisa import Sisa
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.targets import Target, weights_digest
from forget_audit.training.loop import Recipe
from forget_audit.training.trainers import RecipeTrainer
from forget_audit.types import Case, Rows
from tests.fixtures.requests import trainer_of

SHORT = Recipe(epochs=3, lr=0.01)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def base(case: Case, name: str = "mlp", **options: Any) -> RecipeTrainer:
    options = options or {"hidden": [8], "norm": True}
    return dataclasses.replace(trainer_of(name, case.n_classes, **options), recipe=SHORT)


def trained(method: Sisa, rows: Rows, case: Case, seed: int = 1) -> Ensemble:
    model = method.trainer(base(case))(rows.x, rows.y, seed)
    assert isinstance(model, Ensemble)
    return model


def splits(case: Case, n: int) -> Case:
    """The case with its last `n` training rows to be forgotten."""
    rows = case.training
    kept, gone = np.split(np.arange(len(rows)), [len(rows) - n])
    return case.replace(retain=rows.take(kept), forget=rows.take(gone))


@pytest.mark.parametrize(
    "method",
    [Sisa(), Sisa.preset("8x4"), Sisa(shards=1, slices=1), Sisa(slices=4, partition="by_class"),
     Sisa(aggregation="vote", weighting="size")],
)  # fmt: skip
def test_deletion_is_training_without_the_rows(
    method: Sisa, instance_case: Case, class_case: Case
) -> None:
    model = trained(method, instance_case.training, instance_case)
    for case in (splits(instance_case, 2), class_case):
        done = method.unlearn(model, case, rng())
        scratch = trained(method, case.retain, case)
        assert weights_digest(done.model) == weights_digest(scratch) != weights_digest(model)
        assert not any(p.grad is not None for p in done.model.parameters())


def test_deletion_of_rows_with_several_labels(labels_case: Case) -> None:
    model = trained(Sisa(), labels_case.training, labels_case)
    done = Sisa().unlearn(model, labels_case, rng())
    scratch = trained(Sisa(), labels_case.retain, labels_case)
    assert weights_digest(done.model) == weights_digest(scratch)


def test_the_order_of_rows_makes_no_difference(instance_case: Case) -> None:
    rows = instance_case.training
    mixed = rows.take(rng().permutation(len(rows)))
    first, second, other = (
        weights_digest(trained(Sisa(), r, instance_case, seed))
        for r, seed in ((rows, 1), (mixed, 1), (rows, 2))
    )
    assert first == second != other


def test_only_what_has_seen_the_row_is_retrained(instance_case: Case) -> None:
    method = Sisa(shards=4, slices=3)
    rows = instance_case.training
    model = trained(method, rows, instance_case)
    seen = set()
    for position in range(12):
        others = np.delete(np.arange(len(rows)), position)
        case = instance_case.replace(
            retain=rows.take(others), forget=rows.take(np.array([position]))
        )
        new = method.unlearn(model, case, rng())
        assert isinstance(new.model, Ensemble)
        same = [
            weights_digest(a) == weights_digest(b)
            for a, b in zip(model.models, new.model.models, strict=True)
        ]
        assert same.count(False) == 1
        shard = same.index(False)
        kept = [
            [
                weights_digest(a) == weights_digest(b)
                for a, b in zip(old.children(), fresh.children(), strict=True)
            ]
            for old, fresh in zip(model.checkpoints, new.model.checkpoints, strict=True)
        ]
        slices = 1 + kept[shard].count(False)
        assert kept.pop(shard) == [True] * (3 - slices) + [False] * (slices - 1)
        assert kept == [[True, True]] * 3
        changed_marks = (model.marks != new.model.marks).any(-1)
        assert int(changed_marks.sum()) == slices
        assert new.report.notes[0] == f"1 of 4 shards and {slices} of 12 slices retrained"
        seen.add(slices)
    assert seen == {1, 2, 3}


def test_one_request_after_the_other(instance_case: Case) -> None:
    model = trained(Sisa(), instance_case.training, instance_case)
    first = splits(instance_case, 3)
    rest = instance_case.replace(
        retain=first.retain.take(np.arange(250)), forget=first.retain.take(np.arange(250, 257))
    )
    stepwise = Sisa().unlearn(Sisa().unlearn(model, first, rng()).model, rest, rng())
    at_once = Sisa().unlearn(model, splits(instance_case, 10), rng())
    assert weights_digest(stepwise.model) == weights_digest(at_once.model)


def test_nothing_to_delete_changes_nothing(instance_case: Case) -> None:
    model = trained(Sisa(), instance_case.retain, instance_case)
    done = Sisa().unlearn(model, instance_case, rng())
    assert weights_digest(done.model) == weights_digest(model)
    assert (done.report.steps, done.report.rows_touched) == (0, 0)


def test_a_saved_ensemble_can_still_unlearn(instance_case: Case, tmp_path: Any) -> None:
    model = trained(Sisa(), instance_case.training, instance_case)
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(model))
    loaded = load_weights(Sisa().trainer(base(instance_case)).fresh(9), path)
    case = splits(instance_case, 2)
    done = [Sisa().unlearn(m, case, rng()).model for m in (model, loaded)]
    assert weights_digest(done[0]) == weights_digest(done[1])


@pytest.mark.parametrize("slices", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize("epochs", [5, 40, 150])
def test_slices_pass_over_as_many_rows_as_the_recipe(
    epochs: int, slices: int, instance_case: Case
) -> None:
    recipe = dataclasses.replace(base(instance_case), recipe=Recipe(epochs=epochs))
    trainer = Sisa(slices=slices).trainer(recipe)
    each = [trainer.epochs(r) for r in range(slices)]
    passes = sum(e * (r + 1) / slices for r, e in enumerate(each))
    assert passes == pytest.approx(epochs, abs=1)
    assert max(each) - min(each) <= 1


def test_places_are_uniform_and_follow_from_content_and_seed(instance_case: Case) -> None:
    rows = instance_case.training
    method = Sisa(shards=4, slices=1)
    counts = [trained(method, rows, instance_case, seed).sizes for seed in range(3)]
    assert all(int(c.sum()) == len(rows) for c in counts)
    assert chisquare(np.sum([c.numpy() for c in counts], axis=0)).pvalue > 1e-3
    assert not torch.equal(counts[0], counts[1])


def test_by_class_a_class_is_one_shard(class_case: Case) -> None:
    method = Sisa(shards=5, partition="by_class")
    model = trained(method, class_case.training, class_case)
    for shard in range(5):
        assert int(model.sizes[shard]) == int((class_case.training.y % 5 == shard).sum())
    done = method.unlearn(model, class_case, rng())
    assert done.report.notes[0].startswith("1 of 5 shards")


def logits_of(model: Ensemble, x: torch.Tensor) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return np.stack([m(x).double().numpy() for m in model.models])


def test_joint_answers(instance_case: Case) -> None:
    rows, x = instance_case.training, torch.tensor(instance_case.test.x)
    model = trained(Sisa(), rows, instance_case)
    sizes = model.sizes.numpy() / model.sizes.sum().item()
    logs = log_softmax(logits_of(model, x), axis=2)
    alike, by_size = np.exp(logs).mean(0), np.tensordot(sizes, np.exp(logs), 1)
    for weighting, wanted in (("uniform", alike), ("size", by_size)):
        model.trainer = dataclasses.replace(model.trainer, weighting=weighting)  # type: ignore[arg-type]
        np.testing.assert_allclose(model(x).detach().numpy(), np.log(wanted), atol=1e-4)
    assert np.abs(alike - by_size).max() > 1e-3
    model.trainer = dataclasses.replace(model.trainer, weighting="uniform", aggregation="vote")
    votes = np.eye(10)[logs.argmax(2)].sum(0)
    found = model(x).detach().numpy()
    np.testing.assert_allclose(found, np.log((votes + 1) / 13), atol=1e-5)
    assert (votes.max(1) == 1).any()
    assert np.array_equal(found.argmax(1), votes.argmax(1))
    gradients = Target(model).loss_gradients(instance_case.test)
    assert np.abs(gradients).max() > 0


def test_joint_answers_of_several_labels(labels_case: Case) -> None:
    x = torch.tensor(labels_case.test.x)
    model = trained(Sisa(shards=4), labels_case.training, labels_case)
    z = logits_of(model, x)
    p = (1 / (1 + np.exp(-z))).mean(0)
    np.testing.assert_allclose(model(x).detach().numpy(), np.log(p / (1 - p)), atol=1e-4)
    model.trainer = dataclasses.replace(model.trainer, aggregation="vote")
    yes = (z > 0).sum(0)
    wanted = np.log((yes + 1) / (4 - yes + 1))
    np.testing.assert_allclose(model(x).detach().numpy(), wanted, atol=1e-5)


def test_a_shard_without_rows_has_no_say(instance_case: Case) -> None:
    rows = instance_case.training
    few = rows.take(rows.y < 3)
    model = trained(Sisa(shards=5, partition="by_class"), few, instance_case)
    assert [bool(size) for size in model.sizes] == [True, True, True, False, False]
    x = torch.tensor(instance_case.test.x)
    wanted = np.log(np.exp(log_softmax(logits_of(model, x)[:3], axis=2)).mean(0))
    np.testing.assert_allclose(model(x).detach().numpy(), wanted, atol=1e-4)


def test_what_cannot_be_served_is_refused(instance_case: Case, labels_case: Case) -> None:
    case = instance_case
    plain = base(case)(case.retain.x, case.retain.y, 1)
    with pytest.raises(NotApplicable, match=r"own training, found Sequential; .*trainer\(recipe"):
        Sisa().unlearn(plain, case, rng())
    model = trained(Sisa(), case.training, case)
    with pytest.raises(NotApplicable, match="unlearn with the settings of the training"):
        Sisa(shards=2).unlearn(model, case, rng())
    with pytest.raises(NotApplicable, match="RecipeTrainer"):
        Sisa().trainer(lambda *_: nn.Linear(1, 1))
    with pytest.raises(NotApplicable, match="choose partition iid"):
        trained(Sisa(partition="by_class"), labels_case.retain, labels_case)
    with pytest.raises(NotApplicable, match="take fewer shards"):
        trained(Sisa(shards=20), case.retain.take(np.arange(1)), case)


@pytest.mark.parametrize(
    "wrong",
    [{"shards": 0}, {"slices": 0}, {"partition": "x"}, {"aggregation": "x"}, {"weighting": "x"}],
)
def test_wrong_fields_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        Sisa(**wrong)
