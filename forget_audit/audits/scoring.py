"""One attack on all models of an audit: in one go where the attack can, else one by one."""

from collections.abc import Iterable, Sequence

import numpy as np

from forget_audit.attack_metrics import Groups, of_people
from forget_audit.contracts import Attack, FitsEach, Fitted, Scores
from forget_audit.pools import Pool
from forget_audit.seeds import generator
from forget_audit.targets import Target
from forget_audit.types import Case


def score_groups(attack: Attack, audited: Target, pool: Pool, case: Case, seed: int) -> Groups:
    """Score the audited model, the retrained models and the originals with one attack.

    An attack that learns from retrained models scores each of them by a fit on the others.
    """
    name, access = attack.info.name, attack.info.access

    def fresh(purpose: str) -> np.random.Generator:
        return generator(seed, "attack", name, purpose)

    def scores(fit: Fitted, targets: Sequence[Target]) -> list[Scores]:
        views = [target.restricted(access) for target in targets]
        if fit.score_many is not None:
            found = fit.score_many(views, lambda: fresh("score"))
        else:
            found = [fit.score(view, fresh("score")) for view in views]
        return [of_people(one, case) for one in found]

    def alone() -> list[Scores]:
        fits: Iterable[Fitted]
        if isinstance(attack, FitsEach):
            fits = attack.fit_each(pool, case, lambda: fresh("fit"))
        else:
            every = range(len(pool.retrained))
            fits = (attack.fit(pool.without(i), case, fresh("fit")) for i in every)
        pairs = zip(fits, pool.retrained, strict=True)
        return [scores(fit, [target])[0] for fit, target in pairs]

    whole = attack.fit(pool, case, fresh("fit"))
    leave_one_out = attack.info.leave_one_out
    first = scores(whole, [audited, *pool.originals, *(() if leave_one_out else pool.retrained)])
    originals = len(pool.originals)
    return {
        "audited": first[:1],
        "retrained": alone() if leave_one_out else first[1 + originals :],
        "original": first[1 : 1 + originals],
    }
