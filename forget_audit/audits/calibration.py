"""How often the verdict is right, measured: true retrains, bad unlearners, and what was left in.

For one request many models are trained; each trial draws its references and originals from
them at random and judges a model whose true state is known. Trials of one request share that
pool, so intervals over them are a little too narrow; several requests are measured therefore.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from forget_audit.attributes import look_inside
from forget_audit.audits import impostors
from forget_audit.audits.commission import Commission
from forget_audit.audits.second_questions import Ask, answered, questions, settled
from forget_audit.errors import NotApplicable
from forget_audit.outputs import Outputs, units_of
from forget_audit.pools import Pool
from forget_audit.questions import answers, asked, kept_labels
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.training.loop import fitting_threads
from forget_audit.training.references import Counts, Workshop, prepare_references
from forget_audit.types import Access, Case, Decision, Progress, Rows
from forget_audit.verdict.policy import weigh
from forget_audit.verdict.weighing import Models

RETRAINED = "true retrain"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured for one request.

    Args:
        pool: Retrained models from which references and true retrains are drawn.
        originals: Models trained with the forget rows, from which parents are drawn too.
        retrained: True retrains that are judged.
        bad: Models judged of each bad unlearner.
        left_in: Models judged of each residue.
        shares: Shares of the forget rows that were left in the training of a residue.
    """

    pool: int = 100
    originals: int = 16
    retrained: int = 40
    bad: int = 4
    left_in: int = 8
    shares: tuple[float, ...] = (0.2, 0.4)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model whose true state is known, judged.

    Args:
        kind: What it is, such as `true retrain`.
        access: What the audit saw, `score` or `weights`.
        outcome: The verdict.
        reasons: Its codes.
        p_value: Of the exact test.
        difference: Residual influence less that of the references.
        attained_bound: See `Verdict`.
        expected: Probability of PASS for a true retrain, predicted from references and originals.
    """

    kind: str
    access: Access
    outcome: Decision
    reasons: tuple[str, ...]
    p_value: float
    difference: float
    attained_bound: float
    expected: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """The models of one request and what they answer.

    Args:
        commission: What is audited, against what, by which rule.
        retrained: Answers of the pool of retrained models.
        originals: Answers of the pool of originals.
        parents: The originals themselves.
        asks: How models are asked a second time, by way.
    """

    commission: Commission
    retrained: Outputs
    originals: Outputs
    parents: Sequence[Target]
    asks: Mapping[str, Ask] = field(default_factory=dict)

    @staticmethod
    def of(commission: Commission, pool: Pool) -> Bench:
        """Ask retrained models and originals, all of them twice if the request allows."""
        first = answers_of(pool.retrained, commission), answers_of(pool.originals, commission)
        ways = questions(commission.case, commission.seed, commission.access)
        asks = settled(ways, pool.retrained, pool.originals, first, commission.profile)
        return Bench(
            commission=commission,
            retrained=answered(first[0], pool.retrained, asks),
            originals=answered(first[1], pool.originals, asks),
            parents=pool.originals,
            asks=asks,
        )

    def ask(self, targets: Sequence[Target]) -> Outputs:
        """Return what models to be judged answer."""
        return answered(answers_of(targets, self.commission), targets, self.asks)

    def judge(
        self,
        kind: str,
        audited: Outputs,
        rng: np.random.Generator,
        *,
        not_reference: int | None = None,
        not_original: int | None = None,
    ) -> Iterator[Trial]:
        """Judge one model against references and originals drawn at random."""
        commission, scope = self.commission, self.commission.case.scope
        counts = commission.counts
        drawn = _draw(len(self.retrained), counts.retrained + counts.identity, not_reference, rng)
        models = Models(
            retrained=self.retrained.take(drawn[: counts.retrained]),
            identity=self.retrained.take(drawn[counts.retrained :]),
            originals=self.originals.take(
                _draw(len(self.originals), counts.originals, not_original, rng)
            ),
            audited=audited,
        )
        yield _trial(kind, "weights" if "probe" in audited.traces else "score", models, commission)
        if scope != "instance" and "probe" in audited.traces:
            yield _trial(kind, "score", _without_traces(models), commission)


def calibrate(
    commission: Commission, size: Size, progress: Progress = lambda _: None
) -> list[Trial]:
    """Measure the verdict on one request.

    Args:
        commission: The request, the recipe, the rule and the number of references.
        size: How much is measured.
        progress: Called with the number of models trained since the last call.

    Raises:
        NotApplicable: If the pools are smaller than an audit needs.
    """
    counts = commission.counts
    needed = counts.retrained + counts.identity + 1
    if size.pool < needed or size.originals <= counts.originals:
        raise NotApplicable(
            f"needs a pool of {needed} retrained models and {counts.originals + 1} originals, "
            f"found {size.pool} and {size.originals}; ask for more"
        )
    with fitting_threads(commission.template()):
        workshop = commission.workshop(progress)
        wanted = Counts(retrained=size.pool, originals=size.originals, identity=0, shadows=0)
        bench = Bench.of(commission, prepare_references(workshop, wanted).pool)
        with _nothing_to_collect():
            return [*_honest(bench, size), *_left_in(bench, workshop, size), *_bad(bench, size)]


def pool_size(counts: Counts, retrained: int) -> int:
    """Return a pool that leaves every trial a choice of references and is mostly judged."""
    return max(retrained, counts.retrained + counts.identity + 1 + counts.retrained // 2)


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Keep all that is loaded out of garbage collection for the body.

    statsmodels collects at every correction of p-values, which here means over all of torch.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _honest(bench: Bench, size: Size) -> Iterator[Trial]:
    for k in range(min(size.retrained, size.pool)):
        rng = generator(bench.commission.seed, "calibrate", RETRAINED, k)
        audited = bench.retrained.take(np.array([k]))
        yield from bench.judge(RETRAINED, audited, rng, not_reference=k)


def _left_in(bench: Bench, workshop: Workshop, size: Size) -> Iterator[Trial]:
    case, seed = bench.commission.case, bench.commission.seed
    n_r, n_f = len(case.retain), len(case.forget)
    for share in size.shares if size.left_in else ():
        kind = f"{100 * share:g} % left in"
        kept = [
            generator(seed, "calibrate", kind, k).permutation(n_f)[: round(share * n_f)]
            for k in range(size.left_in)
        ]
        if case.attribute is None:
            subsets = [np.concatenate([np.arange(n_r), n_r + part]) for part in kept]
            models = workshop.train(kind, case.training, subsets)
        else:
            every = [np.arange(n_f)]
            models = [
                workshop.train(f"{kind} {k}", _partly_labelled(case, part), every)[0]
                for k, part in enumerate(kept)
            ]
        answers = bench.ask([Target(model) for model in models])
        for k in range(size.left_in):
            rng = generator(seed, "calibrate", kind, "trial", k)
            yield from bench.judge(kind, answers.take(np.array([k])), rng)


def _partly_labelled(case: Case, kept: npt.NDArray[np.int64]) -> Rows:
    """Return the training rows of an attribute request, with the label on some of them alone."""
    y = case.retain.y.copy()
    y[kept] = case.forget.y[kept]
    return Rows(x=case.forget.x, y=y, ids=case.forget.ids)


def _bad(bench: Bench, size: Size) -> Iterator[Trial]:
    case, seed = bench.commission.case, bench.commission.seed
    for kind, k in ((kind, k) for kind in impostors.kinds(case) for k in range(size.bad)):
        rng = generator(seed, "calibrate", kind, k)
        parent = k % len(bench.parents)
        if kind in impostors.ANSWERS:
            original = bench.originals.take(np.array([parent]))
            audited = impostors.ANSWERS[kind](original, rng)
        else:
            model = impostors.make(kind, bench.parents[parent].model_copy(), case, rng)
            audited = bench.ask([Target(model)])
        yield from bench.judge(kind, audited, rng, not_original=parent)


def answers_of(targets: Sequence[Target], commission: Commission) -> Outputs:
    """Ask all models about the forget and control rows, and look inside if the request needs it."""
    case = commission.case
    rows = asked(case)
    held_out, retained = (kept_labels(part, case) for part in (case.never_trained, case.retain))
    return Outputs(
        logits_f=np.stack([answers(target, rows["f"], case) for target in targets]),
        logits_t=np.stack([answers(target, rows["t"], case) for target in targets]),
        y_f=rows["f"].y,
        y_t=rows["t"].y,
        units_f=units_of(rows["f"]),
        units_t=units_of(rows["t"]),
        retain_accuracy=np.array([target.accuracy(retained) for target in targets]),
        test_accuracy=np.array([target.accuracy(held_out) for target in targets]),
        traces=look_inside(targets, case, commission.seed, commission.access),
    )


def _draw(
    n: int, count: int, without: int | None, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    order = rng.permutation(n)
    return order[order != without][:count] if without is not None else order[:count]


def _without_traces(models: Models) -> Models:
    def blind(answers: Outputs) -> Outputs:
        traces = {name: values for name, values in answers.traces.items() if name == "head"}
        return dataclasses.replace(answers, traces=traces)

    return dataclasses.replace(
        models,
        retrained=blind(models.retrained),
        originals=blind(models.originals),
        audited=blind(models.audited),
        identity=blind(models.identity),
    )


def _trial(kind: str, access: Access, models: Models, commission: Commission) -> Trial:
    scope, profile = commission.case.scope, commission.profile
    weighed = weigh(models, profile=profile, scope=scope)
    margins = profile.margins(scope, len(models.audited))
    verdict = weighed.verdict
    return Trial(
        kind=kind,
        access=access,
        outcome=verdict.outcome,
        reasons=verdict.reasons,
        p_value=verdict.p_value,
        difference=weighed.privacy.of("rho_p").difference,
        attained_bound=verdict.attained_bound,
        expected=weighed.control.pass_probability(margins, profile.alpha),
    )
