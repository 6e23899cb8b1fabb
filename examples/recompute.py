"""Recompute the numbers under the verdict of an instance request: `recompute.py DIRECTORY`.

Left out: the family of fidelity, the forecast of power, the limits in gates and decision table.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import special, stats

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "audit")
said = json.loads((folder / "evidence.json").read_text("utf-8"))
stored = np.load(folder / "scores.npz", allow_pickle=False)
if said["request"]["scope"] != "instance" or len(stored["racc_A"]) > 1:
    sys.exit("recomputes requests for single rows with one audited model only")
groups = [np.hstack([stored[f"logit_{who}_{row}"] for row in "ft"]) for who in "ROAI"]
ends = np.cumsum([len(group) for group in groups])
retrained, originals, audited, identity = np.split(np.arange(ends[-1]), ends[:-1])
logits, n_f = np.concatenate(groups).astype(float), len(stored["y_f"])
own = np.arange(logits.shape[2]) == np.append(stored["y_f"], stored["y_t"])[:, None]
phi = np.clip(logits[:, own] - special.logsumexp(logits, axis=2, b=~own), -30, 30)
loss = np.clip(special.logsumexp(logits, axis=2) - logits[:, own], 0, 400)
p = special.softmax(logits, axis=2)


def influence(scores, model, others, trained, cap=np.inf, share=1.0):
    """Return z, and rho over the share of rows with most influence, its error, its row number."""
    mean, variance, df = scores[others].mean(0), scores[others].var(0, ddof=1), len(others) - 1
    sd = np.sqrt((df * variance + 4 * variance.mean()) / (df + 4))
    z, d = (scores[model] - mean) / sd, ((scores[trained].mean(0) - mean) / sd)[:n_f]
    x = np.stack([mean, mean**2, mean**3, np.log(sd)], axis=1)
    x = np.column_stack([np.ones(len(x)), stats.zmap(x, x[n_f:])])
    ridge = x[n_f:].T @ x[n_f:] + np.diag([0, 1, 1, 1, 1]) * len(x[n_f:]) / 1000
    left = (z - x @ np.linalg.solve(ridge, x[n_f:].T @ z[n_f:]))[:n_f]
    w = np.where(d >= np.quantile(d, 1 - share), np.clip(d, -cap, cap), 0)
    rho = w @ left / (w @ d)
    error = np.linalg.norm(w * (left - rho * d)) / (w @ d) * np.sqrt(n_f / (n_f - 1))
    return z, rho, error, (w @ d) ** 2 / np.sum((w * d) ** 2)


def measure(model, others, trained):
    """Return the nine statistics of a model against others; then error and rows of the first."""
    _, rho_p, error, n_eff = influence(special.expit(phi), model, others, trained, cap=3)
    z, rho, _, _ = influence(phi, model, others, trained)
    top = influence(phi, model, others, trained, share=0.1)[1]
    mean = p[others].mean(0)
    js = stats.entropy((p[model] + mean) / 2, axis=1, base=2)
    js = js - (stats.entropy(p[model], axis=1, base=2) + stats.entropy(mean, axis=1, base=2)) / 2
    spread, js = (np.log(s[:n_f].mean() + 1e-12) - np.log(s[n_f:].mean() + 1e-12) for s in (z**2, js))
    pairs = n_f * (len(z) - n_f)
    wins = [np.sum(np.sign(s[:n_f, None] - s[n_f:]) + 1) / 2 for s in (z, -loss[model])]
    zauc, loss_auc = special.logit((np.array(wins) + 0.5) / (pairs + 1))
    bits = stats.entropy(p[model], axis=1)
    hits = np.sum(z[:n_f] > np.sort(z[n_f:])[::-1][int(0.01 * (len(z) - n_f) + 1e-9)])
    tpr1 = special.logit((hits + 0.5) / (n_f + 1))
    entropy = bits[:n_f].mean() - bits[n_f:].mean()
    return rho_p, rho, zauc, spread, loss_auc, js, entropy, tpr1, top, error, n_eff


def compare(pool, trained):
    """Measure each model of a pool against the rest; also the last one's exact p-value."""
    table = np.array([measure(m, np.delete(pool, k), trained) for k, m in enumerate(pool)])
    rest = [np.delete(table, k, axis=0) for k in range(len(pool))]
    z = np.array([stats.zmap(table[k], rest[k], ddof=1) for k in range(len(pool))])
    height = np.abs(z[:, :9]).max(axis=1)
    return table, np.mean(height >= height[-1])


table, p_value = compare(np.append(retrained, audited), originals)
...
