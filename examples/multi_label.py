"""Forget one of four labels of real images: what the answers say, and what the features keep."""

import sys
from pathlib import Path

from forget_audit.audits.audit import carry_out
from forget_audit.audits.commission import from_plan
from forget_audit.bench.requests import REQUESTS
from forget_audit.bench.running import Extent, bench
from forget_audit.plans.plan import check_plan

SEEDS, REFERENCES = (int(word) for word in sys.argv[1:3] or (3, 19))
METHODS = sys.argv[3:] or ["retrain", "weight_filtering", "weight_pruning", "lpu_flip"]
COLUMNS = {
    "Other labels": "test_accuracy",
    "Output, AUC": "head_auc",
    "Features, AUC": "probe_auc",
    "Relearned, share": "relearn",
    "Influence left": "residual_influence",
}
PLAN = {
    "request": {"reference": "LOOP", "scope": "attribute", "attribute": "has a loop"},
    "data": {"source": "digit_attributes", "train": 600, "test": 600, "auxiliary": 597},
    "model": {"architecture": "mlp", "options": {"hidden": [64, 64], "norm": True}},
    "training": {"epochs": 60},
    "method": {"name": "weight_filtering", "options": {"select": "high"}},
    "references": {"retrained": REFERENCES, "originals": 3, "shadows": 0},
    "battery": {"attacks": []},
}


def line(*cells):
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


# Every method on the same request, and controls whose result is known beforehand.
extent = Extent(methods=tuple(METHODS), seeds=SEEDS, references=REFERENCES)
result = bench("attribute", REQUESTS["attribute"], extent)
rows = [row for row in result["rows"] if row["name"] != "reset to random"]
print(line("Model", *COLUMNS, "The output"))
print(line(*["---"] * (len(COLUMNS) + 2)))
for row in [{"name": "*retrained models*"} | result["retrained"], *rows]:
    means = [row["metrics"][metric]["mean"] for metric in COLUMNS.values()]
    shown = [f"{round(mean, 2) + 0.0:.2f}" for mean in means]
    print(line(row["name"], *shown, row.get("head", {}).get("call", "")))

# The full audit of one of them: its output says nothing, so does it pass?
audit = carry_out(from_plan(check_plan(PLAN, Path())))
found = {statistic.name: statistic for statistic in audit.weighed.statistics}
print(f"\nVerdict on weight_filtering: {audit.verdict.outcome} {', '.join(audit.verdict.reasons)}")
for name in ("head", "rho_p"):
    low, high = found[name].interval
    print(f"{name}: {found[name].difference:.2f} from retrained models ({low:.2f} to {high:.2f})")
