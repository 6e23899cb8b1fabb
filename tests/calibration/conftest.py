"""Models whose true state is known: one pool each for single rows and for a class."""

import dataclasses
import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from forget_audit.audits.calibration import Bench, Size, Trial, answers_of, calibrate
from forget_audit.audits.commission import Commission, from_plan
from forget_audit.outputs import Outputs
from forget_audit.plans.plan import check_plan
from forget_audit.targets import Target
from forget_audit.training.references import Counts, prepare_references
from forget_audit.types import Features, Floats

SIZE = Size(pool=60, originals=9, retrained=30, bad=2, left_in=2, shares=(0.4,))
CLASS_POOL, CLASS_ORIGINALS = 22, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """The models of a request, what they answer, and the verdicts on some of them.

    Args:
        bench: Judges further models.
        models: The pool of retrained models.
        trials: Verdicts on true retrains, residues and bad unlearners.
    """

    bench: Bench
    models: Sequence[Target]
    trials: Sequence[Trial] = ()

    @property
    def commission(self) -> Commission:
        return self.bench.commission

    def of(self, kind: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.kind == kind]

    def judge(
        self,
        kind: str,
        audited: Outputs,
        seed: int,
        *,
        not_reference: int | None = None,
        not_original: int | None = None,
    ) -> list[Trial]:
        """Judge one model by as many answers as the request allows."""
        rng = np.random.default_rng(seed)
        return list(
            self.bench.judge(
                kind, audited, rng, not_reference=not_reference, not_original=not_original
            )
        )


class Lookup(nn.Module):
    """A model that gives answers from a table on some rows, and its own elsewhere."""

    def __init__(self, model: nn.Module, x: Features, logits: Floats) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("keys", torch.tensor(x))
        self.register_buffer("values", torch.tensor(logits, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        same = (x[:, None] == self.get_buffer("keys")[None]).all(dim=2)
        found: torch.Tensor = self.get_buffer("values")[same.int().argmax(dim=1)]
        return torch.where(same.any(dim=1)[:, None], found, self.model(x))


class Restless(nn.Module):
    """A model that drops hidden units at random whenever it answers."""

    def __init__(self, model: nn.Sequential, share: float, seed: int) -> None:
        super().__init__()
        self.model = model
        self.share = share
        self.dice = torch.Generator().manual_seed(seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in self.model:
            x = module(x)
            if isinstance(module, nn.ReLU):
                kept = torch.rand(x.shape, generator=self.dice) >= self.share
                x = x * kept / (1 - self.share)
        return x


def commission_of(
    request: Mapping[str, object], data: Mapping[str, object], epochs: int, **references: int
) -> Commission:
    """Return the commission of a request on the digits and the perceptron that is the default."""
    tables = {
        "request": {"reference": "SELF-TEST", **request},
        "data": {"source": "digits", "auxiliary": 0, **data},
        "model": {"architecture": "mlp"},
        "training": {"epochs": epochs},
        "method": {"name": "retrain"},
        "references": references,
    }
    return from_plan(check_plan(tables, Path()))


def bench_of(commission: Commission, pool: int, originals: int) -> Trained:
    """Train or recall the models of a request."""
    wanted = Counts(retrained=pool, originals=originals, identity=0, shadows=0)
    models = prepare_references(commission.workshop(), wanted).pool
    bench = Bench(
        commission=commission,
        retrained=answers_of(models.retrained, commission),
        originals=answers_of(models.originals, commission),
        parents=models.originals,
    )
    return Trained(bench=bench, models=models.retrained)


def lookup(trained: Trained, parent: int, logits: Floats) -> Outputs:
    """Return what an original answers that has a table for the forget rows."""
    original = trained.bench.parents[parent].model_copy()
    model = Lookup(original, trained.commission.case.forget.x, logits)
    return answers_of([Target(model.eval())], trained.commission)


@pytest.fixture(scope="session", autouse=True)
def unhurried() -> Iterator[None]:
    """Spare what was imported from garbage collection, which Holm's correction starts each time.

    Torch imports much of itself when a first model is trained.
    """
    commission = commission_of({"random": 20}, {"train": 120, "test": 100}, epochs=1)
    commission.workshop().train("first", commission.case.retain, [np.arange(100)])
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def trained(unhurried: None, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A hundred digits to be forgotten of 500, 15 % of which have random labels."""
    commission = commission_of(
        {"random": 100}, {"label_noise": 0.15, "train": 500, "test": 120}, epochs=100
    )
    commission = dataclasses.replace(commission, cache=tmp_path_factory.mktemp("models"))
    trials = calibrate(commission, SIZE)
    return dataclasses.replace(bench_of(commission, SIZE.pool, SIZE.originals), trials=trials)


@pytest.fixture(scope="session")
def class_trained(unhurried: None) -> Trained:
    """The digit 3 to be forgotten, right labels, and the fewest references that can fail."""
    commission = commission_of(
        {"scope": "class", "classes": [3]}, {"train": 500, "test": 350}, epochs=50
    )
    counts = Counts(retrained=19, originals=4, identity=2)
    return bench_of(dataclasses.replace(commission, counts=counts), CLASS_POOL, CLASS_ORIGINALS)


def small_request(trained: Trained, n_f: int) -> Trained:
    """Return the request of a few of the same rows: what is retained stays the same."""
    case = trained.commission.case
    few = case.replace(forget=case.forget.take(np.arange(n_f)))
    counts = dataclasses.replace(trained.commission.counts, originals=4)
    commission = dataclasses.replace(trained.commission, case=few, counts=counts)
    return bench_of(commission, SIZE.pool, counts.originals)


def residues(trained: Trained, shares: Sequence[float], count: int) -> list[list[Trial]]:
    """Judge models with a share of the forget rows left in, larger shares holding the smaller."""
    commission = trained.commission
    case = commission.case
    n_r, n_f = len(case.retain), len(case.forget)
    orders = [np.random.default_rng(k).permutation(n_f) for k in range(count)]
    groups = []
    for share in shares:
        rows = [np.append(np.arange(n_r), n_r + order[: round(share * n_f)]) for order in orders]
        models = commission.workshop().train(f"residue {share}", case.training, rows)
        answers = answers_of([Target(model) for model in models], commission)
        groups.append(
            [t for k in range(count) for t in trained.judge("", answers.take(np.array([k])), k)]
        )
    return groups


def differing(commission: Commission, group: str, count: int) -> Outputs:
    """Return answers of true retrains under another recipe than the references'."""
    workshop = dataclasses.replace(commission.workshop(), cache=None)
    retain = commission.case.retain
    models = workshop.train(group, retain, [np.arange(len(retain))] * count)
    return answers_of([Target(model) for model in models], commission)
