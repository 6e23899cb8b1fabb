"""Row scores of one model, and of the reference models that attacks calibrate each row on."""

import numpy as np

from forget_audit import stats
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.targets import Target
from forget_audit.types import Case, Floats, Rows


def log_odds(target: Target, case: Case) -> Floats:
    """Return the log-odds of the labels `(n_f + n_t,)`, forget rows first, control rows after."""
    return np.concatenate([target.log_odds(rows) for rows in (case.forget, case.test)])


def entropies(target: Target, rows: Rows) -> Floats:
    """Return the entropy of the prediction for each row `(n,)` in nats, worked out once."""
    p = target.probabilities(rows)
    return target.once(rows, "entropies", lambda: stats.entropy(p))


def retrained_log_odds(pool: Pool, case: Case) -> Floats:
    """Return the log-odds of the labels `(models, n_f + n_t)` under the retrained models.

    Raises:
        NotApplicable: With fewer than two of them, which give no spread.
    """
    two_or_more(len(pool.retrained))
    return np.stack([log_odds(target, case) for target in pool.retrained])


def two_or_more(models: int) -> None:
    """Refuse to go on with fewer than two retrained models, which give no spread."""
    if models < 2:
        raise NotApplicable(
            f"needs at least two retrained models, found {models}; ask for more retrained models"
        )


def nulls_of_others(values: Floats) -> list[stats.Null]:
    """Return for each retrained model of `values` `(models, n)` the null of each row under others.

    Raises:
        NotApplicable: With fewer than two others.
    """
    two_or_more(len(values) - 1)
    nulls = stats.leave_one_out_nulls(values)
    return [stats.Null(mean=m, sd=sd) for m, sd in zip(nulls.mean, nulls.sd, strict=True)]


def means_of_others(values: Floats) -> Floats:
    """Return for each retrained model of `values` `(models, ...)` the mean of all others."""
    return np.asarray((values.sum(axis=0) - values) / (len(values) - 1))
