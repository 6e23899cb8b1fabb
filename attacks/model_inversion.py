"""Model inversion: can examples of a forgotten class be drawn out of the model?"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch.nn import functional

from forget_audit.attacks._crowds import Crowd, crowds
from forget_audit.attacks._together import together
from forget_audit.contracts import AttackInfo, Fitted, FreshGenerator, Scores
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.registry import attack
from forget_audit.seeds import draw_seed
from forget_audit.targets import Target
from forget_audit.types import Case, Features, Floats, Labels, Rows

FEWEST_STARTS = 20
FLOOR = 0.1
JUDGE_WIDTH, JUDGE_STEPS = 32, 200

Judge = Callable[[Features, Labels], Floats]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """What retained rows look like, feature by feature; arrays are shaped like a row.

    Args:
        centre: Means.
        spread: Standard deviations, those far below the mean one raised.
        unit: Mean standard deviation.
    """

    centre: Features
    spread: Features
    unit: float

    @staticmethod
    def of(rows: Rows) -> "Scale":
        """Return the scale of `rows`."""
        x = np.asarray(rows.x)
        spread = x.std(axis=0, dtype=np.float64)
        unit = max(float(spread.mean()), float(np.finfo(np.float32).tiny))
        raised = np.maximum(spread, FLOOR * unit).astype(np.float32)
        return Scale(centre=x.mean(axis=0), spread=raised, unit=unit)

    def standardised(self, x: Features) -> Features:
        """Return `x` `(m, ...)` as `(m, features)` in standard deviations from the mean."""
        return np.asarray((x - self.centre) / self.spread).reshape(len(x), -1)


@attack
@dataclass(frozen=True, kw_only=True)
class ModelInversion:
    """Search for inputs that the model takes for the forgotten class, and judge them.

    Inputs are written `x_j = m_j + s_j u_j` with mean `m_j` and standard deviation `s_j` of
    feature `j` over the retained rows. From each of `starts` draws `u ~ N(0, 1)`, the same for
    all models, `steps` steps of Adam on `u` climb
    `log p_c(x) - l2 mean_j u_j^2 - tv V(x) / s` with `s` the mean of the `s_j` and `V`, for rows
    shaped like images, the mean absolute difference of neighbouring pixels down and across. A
    judge, a small network that the auditor fits to the classes of auxiliary and never-trained
    rows and never to a model's answers, says how sure it is that the result shows class `c`:
    `evaluator_confidence` is its mean over starts and `best_confidence` its largest.
    `nearest_distance` is the mean distance of a result from the nearest forget row of the class,
    as a root mean square over features in units of `s`; an output that was closed by a large
    bias drives the search far away, and shows here. Several classes are searched one by one and
    averaged. For a sub-class `c` is its class, and the judge looks for the sub-class.

    Args:
        starts: Searches a class, at least 20: a single one says little.
        steps: Steps of a search.
        lr: Learning rate of Adam.
        l2: Weight of the distance from the mean row.
        tv: Weight of the differences of neighbouring pixels.
        penalty: Ridge penalty of the judge.

    References:
        Fredrikson et al. (2015), Model Inversion Attacks that Exploit Confidence Information and
        Basic Countermeasures, doi:10.1145/2810103.2813677.
        Mahendran and Vedaldi (2015), Understanding Deep Image Representations by Inverting Them,
        arXiv:1412.0035 (the priors).

    Departures:
        The paper descends plainly from one start, cleans the picture in between and asks people
        whom it shows; here the priors are part of what is climbed, the starts are many and a
        judge decides. A standard deviation below a tenth of the mean one is raised to it, so that
        features that hardly vary do not blow up. Requests of single rows are refused: a search
        for a class says nothing of one row. No pictures are returned.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        name="model_inversion",
        title="Model inversion",
        card="A27",
        paper="doi:10.1145/2810103.2813677",
        access="weights",
        kind="model",
        scopes=frozenset({"class", "subclass"}),
        question="Can lifelike examples of the forgotten class be drawn out of the model?",
        perfect=(
            "The value of models retrained without the class; it need not be 0, and less is no "
            "better."
        ),
        headline="evaluator_confidence",
    )
    starts: int = FEWEST_STARTS
    steps: int = 200
    lr: float = 0.1
    l2: float = 0.1
    tv: float = 0.1
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.starts < FEWEST_STARTS:
            raise ValueError(f"starts must be at least {FEWEST_STARTS}, found {self.starts}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, found {self.steps}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, found {self.lr}")
        for name in ("l2", "tv", "penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")

    def fit(self, pool: Pool, case: Case, rng: np.random.Generator) -> Fitted:  # noqa: ARG002
        """Fit the judge and draw the starts.

        Raises:
            NotApplicable: For single rows, or if the judge lacks never-trained rows.
        """
        if case.scope == "instance":
            raise NotApplicable(
                "needs a class or sub-class request, found one of single rows; inverting a model "
                "has no power for single rows"
            )
        scale = Scale.of(case.retain)
        judge = self._judge(case, scale, draw_seed(rng) % 2**31)
        classes = np.unique(case.forget.y)
        labels = np.repeat(classes, self.starts)
        first = rng.standard_normal((self.starts, *scale.centre.shape), np.float32)
        starts = np.concatenate([first] * len(classes))
        fitted_on = frozenset([*case.auxiliary.ids.tolist(), *case.retain.ids.tolist()])

        def score_many(targets: Sequence[Target], _fresh: FreshGenerator) -> list[Scores]:
            return [
                self._judged(found, judge, labels, case, scale, fitted_on)
                for found in self.invert(targets, scale, starts, labels)
            ]

        return together(score_many, fitted_on)

    def _judged(
        self,
        found: Features,
        judge: Judge,
        labels: Labels,
        case: Case,
        scale: Scale,
        fitted_on: frozenset[str],
    ) -> Scores:
        sure = judge(found, labels).reshape(-1, self.starts)
        return Scores(
            fitted_on=fitted_on,
            scalars={
                "evaluator_confidence": float(sure.mean()),
                "best_confidence": float(sure.max(axis=1).mean()),
                "nearest_distance": _distance(found, labels, case.forget, scale),
            },
        )

    def invert(
        self, targets: Sequence[Target], scale: Scale, starts: Features, labels: Labels
    ) -> list[Features]:
        """Return what each model takes for `labels`, `(m, ...)`, searched from `starts`."""
        found: dict[int, Features] = {}
        for crowd in crowds([target.model_copy() for target in targets]):
            found |= zip(crowd.places, self._searched(crowd, scale, starts, labels), strict=True)
        return [found[k] for k in range(len(targets))]

    def _searched(self, crowd: Crowd, scale: Scale, starts: Features, labels: Labels) -> Features:
        """Return the inputs found for each model of a crowd `(models, m, ...)`."""
        several, device = len(crowd.places), crowd.device
        centre = torch.tensor(scale.centre, device=device)
        spread = torch.tensor(scale.spread, device=device)
        wanted = torch.tensor(labels, device=device).repeat(several)
        u = torch.tensor(np.stack([starts] * several), device=device, requires_grad=True)
        optimizer = torch.optim.Adam([u], lr=self.lr)
        for _ in range(self.steps):
            optimizer.zero_grad()
            x = centre + spread * u
            each = x.flatten(0, 1)
            loss = functional.cross_entropy(crowd.answer(x).flatten(0, 1), wanted, reduction="none")
            loss = loss + self.l2 * u.flatten(0, 1).square().flatten(1).mean(dim=1)
            loss = loss + self.tv * _variation(each) / scale.unit
            torch.autograd.backward(loss.sum(), inputs=[u])
            optimizer.step()
        return np.asarray((centre + spread * u.detach()).cpu().numpy(), dtype=np.float32)

    def _judge(self, case: Case, scale: Scale, seed: int) -> Judge:
        """Return the judge's confidence `(m,)` that inputs show what was forgotten."""
        if case.others is None or not len(case.others):
            raise NotApplicable(
                "needs never-trained rows of the other classes to teach a judge, found none; add "
                "them to the case"
            )
        known, names = _lessons(case)
        missing = np.setdiff1d(case.forget.y, names) if case.scope == "class" else np.zeros(0)
        if len(missing):
            raise NotApplicable(
                f"needs never-trained rows of class {missing[0]} to teach a judge, found none; "
                "add them to the case"
            )
        judge = MLPClassifier(
            (JUDGE_WIDTH,),
            solver="lbfgs",
            alpha=self.penalty,
            max_iter=JUDGE_STEPS,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            judge.fit(scale.standardised(np.asarray(known.x)), names)

        def confidence(x: Features, labels: Labels) -> Floats:
            p = judge.predict_proba(scale.standardised(x))
            asked = labels if case.scope == "class" else np.full(len(x), case.n_classes)
            return np.asarray(p[np.arange(len(x)), np.searchsorted(judge.classes_, asked)])

        return confidence


def _lessons(case: Case) -> tuple[Rows, Labels]:
    """Return what the judge learns from; a sub-class has a name of its own, after all classes."""
    if case.scope == "class":
        rows = Rows.concat(case.auxiliary, case.never_trained)
        return rows, rows.y
    rows = case.never_trained
    return rows, np.where(np.isin(rows.ids, case.test.ids), case.n_classes, rows.y)


def _variation(x: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of neighbouring pixels `(m,)`, 0 for flat rows."""
    if x.ndim < 3:
        return x.new_zeros(len(x))
    down, across = (x.diff(dim=side).abs().flatten(1).mean(dim=1) for side in (-2, -1))
    return down + across


def _distance(found: Features, labels: Labels, forget: Rows, scale: Scale) -> float:
    """Return the mean distance from the nearest forget row of the wanted class."""
    nearest = [
        cdist(x.reshape(len(x), -1), rows.reshape(len(rows), -1)).min(axis=1)
        for x, rows in ((found[labels == c], forget.x[forget.y == c]) for c in np.unique(labels))
    ]
    return float(np.mean(nearest) / (np.sqrt(scale.centre.size) * scale.unit))
