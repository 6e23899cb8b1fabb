"""The Gaussian poison test: does the model remember secret noise of the forgotten rows?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import norm

from forget_audit import stats
from forget_audit.contracts import AttackInfo, Scores
from forget_audit.errors import NotApplicable
from forget_audit.experiments._models import draw_seeds
from forget_audit.experiments._rows import need_records
from forget_audit.registry import experiment
from forget_audit.trials import Lab
from forget_audit.types import Case, Floats, Rows


@experiment
@dataclass(frozen=True, kw_only=True)
class GaussianPoison:
    """Add secret noise to the forget rows before training and look for it in the gradients.

    Forget row `i` is trained on as `x_i + xi_i` with `xi_i ~ N(0, sigma^2 I)`, then forgotten.
    With the gradient `g_i` of the loss by the features at the clean `x_i`, its imprint is
    `I_i = <g_i, xi_i> / (sigma |g_i|)`. If the model does not depend on the noise, the imprints
    are independent standard normal draws given the model, exactly and without any retrained
    model. A model that fits the noisy row has a lower loss towards it and hence negative
    imprints. `z = sqrt(n) mean(I)` is standard normal too, and `p_value` two-sided.
    `fresh_noise_auc` compares the imprints with those of as many draws of fresh noise. Rows
    whose gradient is 0 are left out and counted in `dropped`.

    Args:
        noise: `sigma` in root mean square standard deviations of the retained features.
        models: Independent runs with noise of their own; all imprints are taken together.

    Raises:
        ValueError: If a field is out of its range.

    References:
        Pawelczyk et al. (2024), Machine Unlearning Fails to Remove Data Poisoning Attacks,
        arXiv:2406.17216.

    Departures:
        Noisy features are not clipped to a range, since clipped noise is no longer normal. The
        size of the noise follows the spread of the features. Several runs are taken together.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="gaussian_poison",
        title="Gaussian poison",
        card="A17",
        paper="arXiv:2406.17216",
        access="gradient",
        kind="method",
        question=(
            "If the deleted records had carried secret random marks, would the model still know "
            "the marks?"
        ),
        perfect="A standard normal draw: between -1.96 and 1.96 in 95 of 100 experiments.",
        headline="z",
    )
    noise: float = 0.5
    models: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.noise < np.inf:
            raise ValueError(f"noise must be above 0, found {self.noise}")
        if self.models < 1:
            raise ValueError(f"models must be at least 1, found {self.models}")

    def run(self, lab: Lab, case: Case, rng: np.random.Generator) -> Scores:
        """Train on noisy rows, forget them and measure the imprints of the noise.

        Raises:
            NotApplicable: With fewer than ten forget rows, features that are all the same, or
                a loss that is flat at all forget rows.
        """
        need_records(case)
        spread = self.noise * float(np.sqrt(np.mean(np.var(case.retain.x, axis=0))))
        if not spread > 0:
            raise NotApplicable(
                "needs retained records that differ in their features, found all the same"
            )
        n, kept = len(case.forget), np.arange(len(case.retain))
        noise = rng.normal(size=(self.models, n, case.forget.x[0].size))
        cases = [
            case.replace(forget=_add(case.forget, spread * xi, k)) for k, xi in enumerate(noise)
        ]
        rows = Rows.concat(case.retain, *(part.forget for part in cases))
        subsets = [np.append(kept, len(kept) + k * n + np.arange(n)) for k in range(self.models)]
        originals = lab.train(rows, subsets, draw_seeds(rng, self.models))
        unlearned = lab.forget(originals, cases, draw_seeds(rng, self.models))
        gradients = np.concatenate([model.loss_gradients(case.forget) for model in unlearned])
        return _summary(
            gradients.reshape(self.models * n, -1), noise.reshape(self.models * n, -1), rng
        )


def imprints(gradients: Floats, noise: Floats) -> Floats:
    """Return the part of standard `noise` `(n, d)` along each gradient `(n, d)`, none of them 0."""
    largest = np.max(np.abs(gradients), axis=1, keepdims=True)
    scaled = gradients / largest
    lengths = np.linalg.norm(scaled, axis=1)
    return np.asarray(np.sum(scaled * noise, axis=1) / lengths)


def _summary(gradients: Floats, noise: Floats, rng: np.random.Generator) -> Scores:
    steep = np.any(gradients != 0, axis=1)
    if not np.any(steep):
        raise NotApplicable(
            "needs a loss that changes with the features, found gradients that are all 0; the "
            "model answers alike whatever it is asked, or its loss is 0 to the last digit"
        )
    found = imprints(gradients[steep], noise[steep])
    fresh = imprints(gradients[steep], rng.normal(size=noise.shape)[steep])
    z = float(np.sqrt(len(found)) * np.mean(found))
    return Scores(
        scalars={
            "z": z,
            "mean_imprint": float(np.mean(found)),
            "p_value": float(2 * norm.sf(abs(z))),
            "fresh_noise_auc": stats.auc(found, fresh),
            "dropped": float(np.sum(~steep)),
        }
    )


def _add(rows: Rows, noise: Floats, k: int) -> Rows:
    ids = np.array([f"{name}+noise-{k}" for name in rows.ids.tolist()])
    noisy = (rows.x + noise.reshape(rows.x.shape)).astype(np.float32)
    return Rows(x=noisy, y=rows.y, ids=ids)
