"""The Adversarial Robustness Toolbox: shadow models, then its black-box attack by a random forest.

Its shadows train with the defaults of `fit`, so that a subclass sets batch and epochs.
"""

from typing import Any

import numpy as np
import torch
from art.attacks.inference.membership_inference import (  # type: ignore[import-not-found]
    MembershipInferenceBlackBox,
    ShadowModels,
)
from art.estimators.classification import PyTorchClassifier  # type: ignore[import-not-found]
from torch import nn

from benchmarks.speed import clock, protocol
from benchmarks.speed.protocol import Ground, Protocol
from forget_audit.seeds import derive, seeded_torch


class Classifier(PyTorchClassifier):  # type: ignore[misc]  # the tool has no types
    """Trains by the protocol, whoever calls `fit`, and notes how long that took."""

    settings = Protocol()
    spent = 0.0

    def fit(self, x: Any, y: Any, *_args: Any, **_kwargs: Any) -> None:
        """Train with the protocol's batch and epochs."""
        start = clock.cpu_seconds()
        super().fit(x, y, batch_size=self.settings.batch, nb_epochs=self.settings.epochs)
        Classifier.spent += clock.cpu_seconds() - start


def run(ground: Ground, settings: Protocol) -> dict[str, float]:
    """Let the toolbox train the shadows and attack; return times and what must agree."""
    Classifier.settings = settings
    template = _wrapped(protocol.perceptron(0), settings)
    target = _wrapped(ground.target, settings)
    start = clock.cpu_seconds()
    with seeded_torch(derive(settings.seed, "art")):
        shadows = ShadowModels(template, settings.shadows, random_state=settings.seed)
        inside, outside = shadows.generate_shadow_dataset(
            ground.x, np.eye(protocol.CLASSES, dtype=np.float32)[ground.y]
        )
    attack = MembershipInferenceBlackBox(target, attack_model_type="rf")
    attack.fit(inside[0], inside[1], outside[0], outside[1], inside[2], outside[2])
    chance = attack.infer(ground.x, ground.y, probabilities=True)[:, -1]
    whole = clock.cpu_seconds() - start
    place = {row.tobytes(): i for i, row in enumerate(ground.x)}
    member = np.zeros((settings.shadows, len(ground.x)), dtype=np.bool_)
    logits = []
    for row, model, (rows, _) in zip(
        member, shadows.get_shadow_models(), shadows.get_shadow_models_train_sets(), strict=True
    ):
        row[[place[each.tobytes()] for each in rows]] = True
        logits.append(protocol.answers(model.model, ground.x))
    found = protocol.compared(ground, logits, member)
    own = protocol.auc(np.asarray(chance, dtype=np.float64), ground.members)
    return {"training": Classifier.spent, "whole": whole, "own_auc": own, **found}


def _wrapped(model: nn.Module, settings: Protocol) -> Classifier:
    return Classifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum),
        input_shape=(protocol.PIXELS,),
        nb_classes=protocol.CLASSES,
        device_type="cpu",
    )


if __name__ == "__main__":
    clock.tell(protocol.race(run, clock.asked()))
