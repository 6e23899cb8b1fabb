"""SACRO-ML's likelihood-ratio attack, online with one variance, without its PDF."""

import logging
import tempfile
from typing import Any

import numpy as np
from sacroml.attacks import likelihood_attack  # type: ignore[import-not-found]
from sacroml.attacks.target import Target  # type: ignore[import-not-found]

from benchmarks.speed import clock, protocol
from benchmarks.speed.digits_model import Perceptron
from benchmarks.speed.protocol import Ground, Protocol
from forget_audit.seeds import generator

FILE = "benchmarks/speed/digits_model.py"


def run(ground: Ground, settings: Protocol) -> dict[str, float]:
    """Let SACRO-ML train the shadows and attack; return times and what must agree."""
    spent = 0.0
    original = likelihood_attack.utils.train_shadow_models

    def watched(*args: Any, **kwargs: Any) -> None:
        nonlocal spent
        start = clock.cpu_seconds()
        original(*args, **kwargs)
        spent = clock.cpu_seconds() - start

    likelihood_attack.utils.train_shadow_models = watched
    order = _order(ground, settings)
    target = _target(ground, settings, order)
    with tempfile.TemporaryDirectory() as folder:  # a used folder would hand out old shadows
        start = clock.cpu_seconds()
        attack = likelihood_attack.LIRAAttack(
            output_dir=folder,
            write_report=False,
            n_shadow_models=settings.shadows,
            mode="online-carlini",
            fix_variance=True,
        )
        attack.attack(target)
        whole = clock.cpu_seconds() - start
        own = attack.attack_metrics[0]["AUC"]
        shadows = [
            likelihood_attack.utils.get_shadow_model(attack.shadow_path, k)
            for k in range(settings.shadows)
        ]
    member = np.zeros((settings.shadows, len(ground.x)), dtype=np.bool_)
    logits = []
    for row, (model, rows, _) in zip(member, shadows, strict=True):
        row[order[rows]] = True
        logits.append(protocol.answers(model.model, ground.x))
    found = protocol.compared(ground, logits, member)
    return {"training": spent, "whole": whole, "own_auc": float(own), **found}


def _order(ground: Ground, settings: Protocol) -> protocol.Index:
    """Return the rows, members first, in a random order.

    The tool always draws the same positions, so that otherwise all rounds would be one.
    """
    rng = generator(settings.seed, "positions")
    parts = (ground.members, ~ground.members)
    return np.concatenate([rng.permutation(np.flatnonzero(part)) for part in parts])


def _target(ground: Ground, settings: Protocol, order: protocol.Index) -> Any:
    model = Perceptron()
    model.layers.load_state_dict(ground.target.state_dict())
    n, x, y = int(ground.members.sum()), ground.x[order], ground.y[order]
    return Target(
        model=model.eval(),
        model_module_path=FILE,
        model_name="Perceptron",
        model_params={},
        train_module_path=FILE,
        train_params={
            "epochs": settings.epochs, "lr": settings.lr, "momentum": settings.momentum,
        },
        batch_size=settings.batch,
        dataset_name="digits",
        X_train=x[:n],
        y_train=y[:n],
        X_test=x[n:],
        y_test=y[n:],
    )  # fmt: skip


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    clock.tell(protocol.race(run, clock.asked()))
