"""Recompute the residual influence, on which a PASS rests: `recompute.py DIRECTORY_OF_AN_AUDIT`.

Left out for want of room: the eight other statistics, p-values, fidelity, power and gates.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import special, stats

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "audit")
said = json.loads((folder / "evidence.json").read_text("utf-8"))
stored = np.load(folder / "scores.npz", allow_pickle=False)
copies, k, r = (len(stored[f"racc_{who}"]) for who in "AOR")
if said["request"]["scope"] != "instance" or copies > 1 or k < 2:
    sys.exit("only for requests for single rows, with one audited model and several originals")
groups = [np.hstack([stored[f"logit_{who}_{rows}"] for rows in "ft"]) for who in "ROA"]
logits, n_f, n_t = np.concatenate(groups).astype(float), len(stored["y_f"]), len(stored["y_t"])
retrained, originals, audited = np.split(np.arange(r + k + 1), [r, r + k])
own = np.arange(logits.shape[2]) == np.append(stored["y_f"], stored["y_t"])[:, None]
log_odds = np.clip(logits[:, own] - special.logsumexp(logits, axis=2, b=~own), -30, 30)
p = special.expit(log_odds)  # probability of each row's label, one model a line


def influence(model, others, trained):
    """Return rho_p of a model against others, its error, and how many rows carry it."""
    df, mean, variance = len(others) - 1, p[others].mean(0), p[others].var(0, ddof=1)
    sd = np.sqrt((df * variance + 4 * variance.mean()) / (df + 4))
    z, d = (p[model] - mean) / sd, ((p[trained].mean(0) - mean) / sd)[:n_f]
    difficulty = np.stack([mean, mean**2, mean**3, np.log(sd)], axis=1)
    x = np.column_stack([np.ones(len(z)), stats.zmap(difficulty, difficulty[n_f:])])
    normal = x[n_f:].T @ x[n_f:] + 1e-3 * n_t * np.diag([0, 1, 1, 1, 1])
    left = (z - x @ np.linalg.solve(normal, x[n_f:].T @ z[n_f:]))[:n_f]
    w = np.clip(d, -3, 3)
    rho = w @ left / (w @ d)
    error = np.linalg.norm(w * (left - rho * d)) / (w @ d) * np.sqrt(n_f / (n_f - 1))
    return rho, error, (w @ d) ** 2 / np.sum((w * d) ** 2)


pool = np.append(retrained, audited)
rho, errors, rows = np.transpose([influence(m, pool[pool != m], originals) for m in pool])
alone = [influence(m, retrained[retrained != m], originals)[0] for m in retrained]
shown = [influence(m, retrained, originals[originals != m])[0] for m in originals]
gap, error = rho[-1] - rho[:-1].mean(), rho[:-1].std(ddof=1) * np.sqrt(1 + 1 / r)
level = 0.05 / 2 ** (said["battery"]["attempt"] - 1)
half = stats.t.isf(level, r - 1) * max(error, errors[-1])
noise = np.hypot(np.std(shown, ddof=1) / k**0.5, np.std(alone, ddof=1) / r**0.5)
low = np.mean(shown) - np.mean(alone) - stats.t.isf(0.05, k - 1) * noise
control, cloud = said["controls"]["original"], said["cloud"]["rho_p"]
checks = {
    "models": (rho, cloud["retrained"] + cloud["audited"]),
    "interval": ([gap - half, gap + half], said["statistics"][0]["interval"]),
    "attained bound": (abs(gap) + half, said["verdict"]["attained_bound"]),
    "control": ([*shown, low, rows[-1]], [*cloud["originals"], control["low"], control["n_eff"]]),
}
worst = [np.max(abs(np.subtract(a, b)) / np.fmax(1, np.abs(b))) for a, b in checks.values()]
print(*map("{:15} differs by at most {:.1e}".format, checks, worst), sep="\n")
sys.exit(int(not max(worst) <= 1e-9))
