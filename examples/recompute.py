"""Recompute what a PASS rests on, the residual influence: `recompute.py DIRECTORY_OF_AN_AUDIT`.

numpy and scipy alone. Models by number: references `ref`, originals `org`, audited `aud`, and
retrained ones `idn` that check the harness.
`recompute_all.py` goes on from here with everything else.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy import special, stats

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "audit")
said = json.loads((folder / "evidence.json").read_text("utf-8"))
file = np.load(folder / "scores.npz", allow_pickle=False)
if said["request"]["scope"] != "instance" or len(file["racc_A"]) > 1 or len(file["racc_O"]) < 2:
    sys.exit("only for requests for single rows, with one audited model and several originals")
groups = [np.hstack([file[f"logit_{who}_{rows}"] for rows in "ft"]) for who in "ROAI"]
ref, org, aud, idn = np.split(np.arange(sum(map(len, groups))), np.cumsum([*map(len, groups)])[:-1])
logits, r = np.concatenate(groups).astype(float), len(ref)
f, t = np.split(np.arange(logits.shape[1]), [len(file["y_f"])])  # forgotten, never trained
own = np.eye(logits.shape[2], dtype=bool)[np.append(file["y_f"], file["y_t"])]
phi = np.clip(logits[:, own] - special.logsumexp(logits, axis=2, b=~own), -30, 30)
p = special.expit(phi)  # probability of each row's label, one model a line


def influence(score, model, others, trained, cap=np.inf, top=0.0):
    """Return the share of the influence left, its error, the rows that carry it, and all z."""
    df, mean, variance = len(others) - 1, score[others].mean(0), score[others].var(0, ddof=1)
    sd = np.sqrt((df * variance + 4 * variance.mean()) / (df + 4))
    z, d = (score[model] - mean) / sd, ((score[trained].mean(0) - mean) / sd)[f]
    basis = np.stack([mean, mean**2, mean**3, np.log(sd)], axis=1)
    x = np.column_stack([np.ones(len(z)), stats.zmap(basis, basis[t])])
    normal = x[t].T @ x[t] + 1e-3 * len(t) * np.diag([0, 1, 1, 1, 1])
    left = (z - x @ np.linalg.solve(normal, x[t].T @ z[t]))[f]
    w = np.clip(d, -cap, cap) * (d >= np.quantile(d, top))
    rho, carried = w @ left / (w @ d), (w @ d) ** 2 / np.sum((w * d) ** 2)
    error = np.linalg.norm(w * (left - rho * d)) / (w @ d) * np.sqrt(len(f) / (len(f) - 1))
    return rho, error, carried, z


def check(checks):
    """Print how far computed and stated numbers differ, and exit with 1 beyond 1e-9."""
    worst = [np.max(abs(np.subtract(a, b)) / np.fmax(1, np.abs(b))) for a, b in checks.values()]
    print(*map("{:14} differ by at most {:.1e}".format, checks, worst), sep="\n")
    sys.exit(int(not max(worst) <= 1e-9))


if __name__ == "__main__":
    pool = np.append(ref, aud)
    rho = np.array([influence(p, m, pool[pool != m], org, cap=3)[0] for m in pool])
    error = max(rho[:-1].std(ddof=1) * np.sqrt(1 + 1 / r), influence(p, aud[0], ref, org, cap=3)[1])
    half = stats.t.isf(0.05 / 2 ** (said["battery"]["attempt"] - 1), r - 1) * error
    gap, cloud = rho[-1] - rho[:-1].mean(), said["cloud"]["rho_p"]
    stated = [*said["statistics"][0]["interval"], said["verdict"]["attained_bound"]]
    models = (rho, cloud["retrained"] + cloud["audited"])
    check({"models": models, "interval": ([gap - half, gap + half, abs(gap) + half], stated)})
