"""People ask to be forgotten: health and marriage records, a network and boosted trees."""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from forget_audit import certify
from forget_audit.architectures import Architecture
from forget_audit.data import Request, prepare
from forget_audit.methods import Finetune
from forget_audit.sources.loading import load
from forget_audit.training.loop import Recipe
from forget_audit.training.references import Counts
from forget_audit.training.trainers import RecipeTrainer, SelfTrainer
from forget_audit.types import Sensitive

RETRAINED, ORIGINALS = (int(word) for word in sys.argv[1:3] or (39, 4))
DATA = sys.argv[3:] or ["randhie", "fair"]
GUESS = "attribute_inference"
RELIGION = 4  # column of `fair`: 1 not religious at all to 4 strongly


def records(name):
    """Return health records of `randhie`, or the survey `fair` with religion as sensitive."""
    dataset = load(name, folder=Path())
    if dataset.sensitive is not None:
        return dataset
    values = tuple(np.unique(dataset.rows.x[:, RELIGION]).tolist())
    secret = Sensitive(column=RELIGION, name="religion", values=values)
    return replace(dataset, sensitive=secret)


def trainers(dataset):
    """Return a network trained by a recipe, and boosted trees that train themselves."""
    about = {"shape": dataset.rows.x.shape[1:], "n_classes": dataset.n_classes}
    network = Architecture(name="mlp", **about)
    drawn = {"n_estimators": 40, "subsample": 0.8}  # each tree sees some rows: seeds matter
    trees = Architecture(name="xgboost", options=drawn, **about)
    return {
        "network": RecipeTrainer(architecture=network, recipe=Recipe(epochs=60)),
        "trees": SelfTrainer(architecture=trees),
    }


def outcomes(case, original):
    """Yield what may be done about a request, and the model that comes of it."""
    kept, rng = case.retain, np.random.default_rng(0)
    yield "retrained", case.trainer(kept.x, kept.y, seed=1)
    if len(case.forget) > 1:
        yield "nothing", original
        if isinstance(case.trainer, RecipeTrainer):
            yield "fine-tuned", Finetune().unlearn(original, case, rng).model


def row(audit):
    """Return verdict, influence left, and how well the secret is guessed with which model."""
    verdict, left = audit.verdict, audit.weighed.statistics[0]
    guessing = next(result for result in audit.attacks if result.name == GUESS)
    cells = [" ".join([verdict.outcome, *verdict.reasons])]
    low, high = left.interval
    cells.append(f"{left.difference:.2f} ({low:.2f} to {high:.2f})" if np.isfinite(low) else "-")
    found = {metric.name: metric for metric in guessing.metrics}
    if found:
        auc = found["auc"]
        guessed = auc.original_mean, auc.audited, auc.retrained_mean, found["baseline_auc"].audited
        return cells + [f"{value:.2f}" for value in guessed]
    return cells + ["-"] * 4


print("| Data | Model | People | Done | Verdict | Influence left | Guessed: original | audited | "
      "retrained | no model |")  # fmt: skip
print("| --- |" + " --- |" * 9)
counts = Counts(retrained=RETRAINED, originals=ORIGINALS, shadows=0)
with TemporaryDirectory() as cache:
    for dataset in map(records, DATA):
        for kind, trainer in trainers(dataset).items():
            for people in (1, 100) if dataset.name == "randhie" else (100,):
                case = prepare(dataset, Request(random=people), seed=0, trainer=trainer)
                original = trainer(case.training.x, case.training.y, seed=0)
                for what, model in outcomes(case, original):
                    audit = certify(
                        case, unlearned=model, original=original, counts=counts, cache=cache,
                        attacks=[GUESS],
                    )  # fmt: skip
                    cells = [dataset.name, kind, str(people), what, *row(audit)]
                    print(f"| {' | '.join(cells)} |")
