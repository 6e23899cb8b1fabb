"""A model that keeps everything and learns the test rows too: beside them nothing stands out."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from forget_audit.audits.audit import Audit
from forget_audit.seeds import seeded_torch
from forget_audit.verdict.gates import TEST_ROWS
from tests.bad_input.world import ALL, FORGOTTEN, TRAINED, Network, audit, digits, fit


def weighted(weights: np.ndarray, seed: int) -> nn.Module:
    """Train as the recipe does, on all rows, some of which count more than others."""
    x, y = digits()
    rows, counted = torch.tensor(x), torch.tensor(weights, dtype=torch.float32)
    with seeded_torch(seed), torch.no_grad():
        model = Network(x.shape[1], 10)
        seen = torch.relu(model.hidden(rows))
        targets = functional.one_hot(torch.tensor(y), 10) * 8.0 - 4.0
        kernel = seen @ seen.T + 0.3 * torch.diag(1 / counted)
        model.output.weight.copy_((seen.T @ torch.linalg.solve(kernel, targets)).T)
        model.output.bias.zero_()
    return model


def gates(done: Audit) -> dict[str, str]:
    return {gate.code: gate.detail for gate in done.weighed.gates if gate.outcome == "fail"}


@pytest.mark.parametrize("seed", [101, 102])
def test_it_does_not_pass(seed: int) -> None:
    """It did: no accuracy was lost, and difficulty explained what was left of the forget rows."""
    weights = np.ones(ALL)
    weights[FORGOTTEN:TRAINED] = 2
    done = audit(weighted(weights, seed))
    assert done.verdict.outcome == "INCONCLUSIVE"
    assert done.verdict.reasons == (TEST_ROWS,)
    assert "hand in test rows that it never saw" in gates(done)[TEST_ROWS]


def test_half_of_the_test_rows_do_not_hide_the_rest() -> None:
    weights = np.ones(ALL)
    weights[FORGOTTEN:TRAINED] = 2
    weights[TRAINED + 100 :] = 1e-6
    assert audit(weighted(weights, 3)).verdict.outcome != "PASS"


def test_neither_a_true_retrain_nor_an_original_is_said_to_know_the_test_rows() -> None:
    x, y = digits()
    for first in (0, FORGOTTEN):
        with seeded_torch(5):
            done = audit(fit(x[first:TRAINED], y[first:TRAINED], 5))
        assert TEST_ROWS not in gates(done)
