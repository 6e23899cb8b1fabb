"""Unlearn 60 rows of a model in memory, audit the result, and sign a report."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from forget_audit import Case, certify
from forget_audit.architectures import Architecture
from forget_audit.methods import Scrub
from forget_audit.training.loop import Recipe
from forget_audit.training.references import Counts
from forget_audit.training.trainers import RecipeTrainer

rng = np.random.default_rng(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).astype(np.float32)
noisy = rng.random(len(y)) < 0.15  # labels drawn at random: only memorising can fit them
y = np.where(noisy, rng.integers(0, 10, len(y)), y)

# Any function fit(x, y, seed) -> torch.nn.Module serves as the recipe; this one is built in.
fit = RecipeTrainer(
    architecture=Architecture(name="mlp", shape=(64,), n_classes=10),
    recipe=Recipe(epochs=50),
)

# 500 rows are trained on; the first 60 of them ask for deletion; 200 were never trained on.
case = Case.from_arrays(
    x[:500], y[:500], forget=np.arange(60), test=(x[500:700], y[500:700]), trainer=fit
)
original = fit(x[:500], y[:500], seed=1)
unlearned = Scrub(epochs=10).unlearn(original, case, rng)

audit = certify(
    case,
    original=original,
    unlearned=unlearned.model,
    counts=Counts(retrained=19, originals=2, shadows=2),  # the defaults, 39, 8, 8, see more
)
print(audit.verdict.outcome, *audit.verdict.reasons)

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "audit")
released = audit.report(folder, formats=["html"])  # evidence, scores, signatures and the page
print(*released.paths, sep="\n")
