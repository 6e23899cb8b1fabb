"""Row scores of the reference models, shared by the attacks that calibrate each row on them."""

import numpy as np

from forget_audit import stats
from forget_audit.errors import NotApplicable
from forget_audit.pools import Pool
from forget_audit.targets import Target
from forget_audit.types import Case, Floats


def log_odds(target: Target, case: Case) -> Floats:
    """Return the log-odds of the labels `(n_f + n_t,)`, forget rows first, control rows after."""
    parts = [stats.log_odds(target.logits(rows), rows.y) for rows in (case.forget, case.test)]
    return np.concatenate(parts)


def retrained_log_odds(pool: Pool, case: Case) -> Floats:
    """Return the log-odds of the labels `(models, n_f + n_t)` under the retrained models.

    Raises:
        NotApplicable: With fewer than two of them, which give no spread.
    """
    if len(pool.retrained) < 2:
        raise NotApplicable(
            f"needs at least two retrained models, found {len(pool.retrained)}; "
            "ask for more retrained models"
        )
    return np.stack([log_odds(target, case) for target in pool.retrained])
