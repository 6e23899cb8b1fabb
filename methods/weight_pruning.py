"""Weight pruning: remove, shrink or spare the weights that matter to one label, by turns."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.methods._curvature import hutchinson
from forget_audit.methods._filtering import (
    Filtering,
    GradientData,
    Leash,
    editable,
    folded_auc,
    gradient_data,
    head_masks,
    head_name,
    outputs_of,
    ratio,
)
from forget_audit.methods._importance import Tensors, power_sums, top
from forget_audit.methods._settings import number, one_of, refuse_unserved, whole
from forget_audit.methods._steps import Course
from forget_audit.registry import method
from forget_audit.targets import evaluating
from forget_audit.types import Case, Rows

Quantiles = Literal["forget_set", "all"]
Curvature = Literal["fisher", "hutchinson"]


@method
@dataclass(frozen=True, kw_only=True)
class WeightPruning(Filtering):
    """Prune the weights that matter most to the forgotten label, in up to three rounds.

    A weight matters to a label by its gradient and by what the loss would rise if it were zero.
    Those that matter far more to the forgotten label than to the others are candidates, together
    with the label's own row of the head. The upper quarter of them is emptied, the middle is
    shrunk, the lower quarter is trained slowly, and a short training on the other labels follows
    that keeps pruned weights near. Rounds end when the label's answer tells nothing about rows
    held out, whichever way it is read: an answer that is always wrong tells all. No formal
    guarantee is given: the published ones do not hold.

    Args:
        select: `high` empties the candidates with high scores; `paper_low` those with low ones
            and trains the high ones slowly, as the published algorithm is written.
        most_rows: Most training rows for gradients, drawn at random.
        head_rows: Whether the row of the head is among the candidates.
        epsilon: How far the repair may move a pruned weight; a tenth of the standard deviation
            of its tensor if left out.
        repair_epochs: Passes over the retained rows, or the other labels of all rows, a round.
        batch_size: Most rows in a step.
        least_steps: Fewest steps in a pass.
        optimizer: Of the repair: `adam`, `adamw` or `sgd`.
        lr: Its learning rate.
        momentum: Of `sgd`.
        weight_decay: Of any of them.
        repair_norms: Batch norm in the repair: `train`, `eval` or `frozen`.
        rounds: Most rounds; 0 leaves the model as it is.
        gradient_weight: Weight of the gradient in importance.
        curvature_weight: Weight of the curvature in importance.
        curvature: Its diagonal: `fisher`, empirical, or `hutchinson`, ten random probes.
        candidates: Share of the weights that are candidates, besides the row of the head.
        quantiles_over: Scores whose quarters are the thresholds: of the candidates,
            `forget_set`, or of `all` weights.
        lam: How strongly the middle is shrunk: by `exp(-lam * score / median score)`.
        pace: Learning rate of the candidates that are spared, as a share of `lr`.
        held_out: Share of the rows that no gradient sees and that end the rounds.
        enough: Area under the curve of the held-out rows, folded at a half, that ends them.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the output layer is not linear.

    References:
        Hossain et al. (2025), "I Forgot About You!": Exploring Multi-Label Unlearning (MLU) for
        Responsible Facial Recognition Systems,
        https://mlanthology.org/ecmlpkdd/2025/hossain2025ecmlpkdd-forgot; public code at
        https://github.com/Promzi/unlearn_label.

    Departures:
        The public code implements other things than the paper; the published algorithm empties
        what matters least (`paper_low`), against its aim, and leaves units, rates and thresholds
        open. Both parts of importance are divided by their mean over a tensor; candidates are
        chosen by the ratio to the other labels. The third threshold of the paper is never used
        there and left out. The rows that end the rounds are training rows, as a case's test rows
        belong to the audit. A class takes the cross-entropy of its own rows as the label's loss.
        Verification: counts, limits and box checked against definitions; published figures not
        reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="weight_pruning",
        title="Weight pruning",
        card="M33",
        paper="https://mlanthology.org/ecmlpkdd/2025/hossain2025ecmlpkdd-forgot",
        needs=frozenset({"forget", "retain", "labels", "architecture"}),
        scopes=frozenset({"class", "attribute"}),
        heads=frozenset({"single", "multi"}),
        guarantee="none",
        presets={"paper": {"select": "paper_low", "epsilon": 0.5, "rounds": 1}},
        reconstructed="units, candidates, rates and the end; the public code does other things",
        cost="four gradient passes over a sample of rows and a short training, up to three times",
        errata=("E4", "E5", "E6", "E7", "E9", "E10", "E13", "E14"),
        summary="Prunes the weights that matter most to one label and repairs the others.",
    )
    rounds: int = 3
    gradient_weight: float = 1.0
    curvature_weight: float = 1.0
    curvature: Curvature = "fisher"
    candidates: float = 0.1
    quantiles_over: Quantiles = "forget_set"
    lam: float = 1.0
    pace: float = 0.1
    held_out: float = 0.2
    enough: float = 0.55

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("rounds", self.rounds, at_least=0)
        for name in ("gradient_weight", "curvature_weight", "lam"):
            number(name, getattr(self, name), at_least=0)
        one_of("curvature", self.curvature, get_args(Curvature))
        one_of("quantiles_over", self.quantiles_over, get_args(Quantiles))
        for name in ("candidates", "pace", "enough"):
            number(name, getattr(self, name), at_least=0, at_most=1)
        number("held_out", self.held_out, at_least=0, below=1)

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return a copy whose weights for the label are pruned."""
        refuse_unserved(self.info, case)
        course = Course(model, rng, [self.repair_norms] if self.repair_epochs else [])
        layer = head_name(self.info, course.model, case)
        kept, held = self.split(case, rng)
        notes = []
        for count in range(1, self.rounds + 1):
            data = gradient_data(case, kept, course.model, self.most_rows, rng)
            with evaluating(course.model):
                scores = self.scores(course.model, data, rng)
            course.rows_touched += 4 * data.rows
            edited = self.prune(course.model, case, layer, scores)
            self.repair(course, kept[1], rng, edited)
            told = folded_auc(course.model, held, outputs_of(case)[0])
            notes.append(f"round {count}: area under the curve of held-out rows {told:.3f}, folded")
            if told <= self.enough:
                return course.finish("the answer tells nothing about held-out rows", *notes)
        return course.finish(f"all {self.rounds} rounds done", *notes)

    def split(self, case: Case, rng: np.random.Generator) -> tuple[list[Rows], list[Rows]]:
        """Return forget and retain rows for the method, and those that end the rounds."""
        parts: tuple[list[Rows], list[Rows]] = ([], [])
        order = rng.permutation(len(case.forget))
        for rows in (case.forget, case.retain):
            if case.scope != "attribute":
                order = rng.permutation(len(rows))
            count = min(round(self.held_out * len(rows)), len(rows) - 1)
            parts[0].append(rows.take(np.sort(order[count:])))
            parts[1].append(rows.take(np.sort(order[:count])))
        return parts

    def scores(self, model: nn.Module, data: GradientData, rng: np.random.Generator) -> Tensors:
        """Return how much more a weight matters to the label than to the rest."""
        of_label, of_rest = (self.importance(model, *pair, rng) for pair in (data.label, data.rest))
        return ratio(of_label, of_rest)

    def importance(
        self, model: nn.Module, x: torch.Tensor, y: torch.Tensor, rng: np.random.Generator
    ) -> Tensors:
        """Return the importance of the weights that may be pruned, without unit."""
        slopes = power_sums(model, x, y, power=1)
        if self.curvature == "fisher":
            curves = {n: c / len(x) for n, c in power_sums(model, x, y).items()}
        else:
            curves = hutchinson(model, (x, y), editable(model), rng)
        found = {}
        for name in editable(model):
            weight = model.get_parameter(name).detach().double()
            rise = curves[name] * weight.square() / 2
            found[name] = self.gradient_weight * _by_mean(slopes[name] / len(x))
            found[name] = found[name] + self.curvature_weight * _by_mean(rise)
        return found

    def prune(self, model: nn.Module, case: Case, layer: str, scores: Tensors) -> Leash:
        """Empty, shrink and spare the candidates; return what the repair may do to them."""
        total = sum(values.numel() for values in scores.values())
        rows = head_masks(model, list(scores), layer, outputs_of(case) if self.head_rows else [])
        chosen = {n: m | rows[n] for n, m in top(scores, round(self.candidates * total)).items()}
        empty, shrunk, spared, factor = self.thirds(scores, chosen)
        epsilon = {}
        with torch.no_grad():
            for name in scores:
                weight = model.get_parameter(name)
                spread = 0.1 * float(weight.std())
                epsilon[name] = spread if self.epsilon is None else self.epsilon
                weight.copy_(torch.where(shrunk[name], weight * factor[name].to(weight), weight))
                weight[empty[name]] = 0
        edited = {name: empty[name] | shrunk[name] for name in scores}
        return Leash(model, edited, epsilon, spared, self.pace)

    def thirds(self, scores: Tensors, chosen: Tensors) -> tuple[Tensors, Tensors, Tensors, Tensors]:
        """Return masks of candidates to empty, shrink and spare, and the factors of shrinking."""
        within = torch.cat([scores[n][chosen[n]] for n in scores]).double()
        every = torch.cat([values.flatten() for values in scores.values()]).double()
        over = (within if self.quantiles_over == "forget_set" else every).cpu().numpy()
        low, high = np.quantile(over, [0.25, 0.75]) if len(over) else (0.0, 0.0)
        median = float(within.median()) if len(within) else 1.0
        upper = {n: m & (scores[n] >= high) for n, m in chosen.items()}
        lower = {n: m & (scores[n] < low) & ~upper[n] for n, m in chosen.items()}
        middle = {n: m & ~upper[n] & ~lower[n] for n, m in chosen.items()}
        factor = {n: torch.exp(-self.lam * s / max(median, 1e-300)) for n, s in scores.items()}
        if self.select == "high":
            return upper, middle, lower, factor
        return lower, middle, upper, factor


def _by_mean(values: torch.Tensor) -> torch.Tensor:
    mean = values.mean()
    return values / mean if mean > 0 else values
