"""Recompute every other number of a verdict on single rows: `recompute_all.py DIRECTORY`."""

import numpy as np
from recompute import aud, check, f, file, idn, influence, logits, org, own, p, phi, r, ref, said, t
from scipy import special, stats

q, answers = special.softmax(logits, axis=2), logits.argmax(2)
loss = np.clip(-special.log_softmax(logits, axis=2)[:, own], 0, 400)
shares, right = np.eye(own.shape[1])[answers[:, f]].mean(1), answers == own.argmax(1)
accuracy = [np.hstack([file[f"racc_{who}"] for who in "ROAI"]), right[:, t].mean(1)]


def log_odds(k, n):
    """Return the log-odds of k of n, half a count added to both."""
    return np.log((k + 0.5) / (n - k + 0.5))


def measure(model, others, trained):
    """Return nine statistics of the forgotten rows, then four of the model as a whole."""
    (rho, *_, z), usual = influence(phi, model, others, trained), q[others].mean(0)
    middle, doubt = (q[model] + usual) / 2, special.entr(q[model]).sum(1)
    js = (special.rel_entr(q[model], middle) + special.rel_entr(usual, middle)).sum(1) / np.log(4)
    spread, js = (np.log(s[f].mean() + 1e-12) - np.log(s[t].mean() + 1e-12) for s in (z**2, js))
    wins = [stats.mannwhitneyu(s[f], s[t]).statistic for s in (z, -loss[model])]
    zauc, loss_auc = log_odds(np.array(wins), len(f) * len(t))
    found = log_odds(np.sum(z[f] > np.sort(z[t])[::-1][int(0.01 * len(t) + 1e-9)]), len(f))
    most, doubt = (
        influence(phi, model, others, trained, top=0.9)[0],
        doubt[f].mean() - doubt[t].mean(),
    )
    main = influence(p, model, others, trained, cap=3)[0]
    shift = abs(shares[model] - shares[others].mean(0)).sum() / 2
    forgotten = [main, rho, zauc, spread, loss_auc, js, doubt, found, most]
    return [*forgotten, *(values[model] for values in accuracy), z[t].mean(), shift]


def table(pool, trained):
    """Measure every model against the others of a pool."""
    return np.array([measure(m, pool[pool != m], trained) for m in pool])


def p_value(rows):
    """Return the share of models that stand out as far as the last one, itself included."""
    rest = [np.delete(rows, i, axis=0) for i in range(len(rows))]
    far = [abs((x - y.mean(0)) / y.std(0, ddof=1)).max() for x, y in zip(rows, rest, strict=True)]
    return np.mean(far >= far[-1])


def holm(raw):
    """Return p-values adjusted for testing all of them."""
    steps = np.maximum.accumulate(np.sort(raw) * np.arange(len(raw), 0, -1))
    return np.minimum(steps, 1)[stats.rankdata(raw, "ordinal") - 1]


rows, alone = table(np.append(ref, aud), org), table(ref, org)[:, 0]
gap, error = rows[-1] - rows[:-1].mean(0), rows[:-1].std(0, ddof=1) * np.sqrt(1 + 1 / r)
error[0] = max(error[0], influence(p, aud[0], ref, org, cap=3)[1])
half = stats.t.isf(0.05 / 2 ** (said["battery"]["attempt"] - 1), r - 1) * error
raw = 2 * stats.t.sf(abs(gap) / error, r - 1)
shown = np.array([influence(p, o, ref, org[org != o], cap=3)[0] for o in org])
noise = np.sqrt(shown.var(ddof=1) / len(org) + alone.var(ddof=1) / r)
low = shown.mean() - alone.mean() - stats.t.isf(0.05, len(org) - 1) * noise
others = [p_value(table(np.append(ref, m), org[org != m])[:, :9]) for m in [org[0], *idn]]
control, listed = said["controls"]["original"], said["statistics"]
cloud = said["cloud"]["rho_p"]["originals"]
stated = [control["p_value"], *(item["p_value"] for item in said["controls"]["identity"])]
carried = influence(p, aud[0], ref, org, cap=3)[2]
exact = [p_value(rows[:, :9]), p_value(rows[:, 9:])]
check({
    "estimates": (rows[-1], [s["estimate"] for s in listed]),
    "references": (rows[:-1].mean(0), [s["reference_mean"] for s in listed]),
    "intervals": (np.stack([gap - half, gap + half], 1), [s["interval"] for s in listed]),
    "Holm": (np.append(holm(raw[:9]), holm(raw[9:])), [s["p_value"] for s in listed]),
    "exact tests": (exact, [said["verdict"]["p_value"], said["fidelity"]["p_value"]]),
    "control": ([*shown, low, carried], [*cloud, control["low"], control["n_eff"]]),
    "identity": (others, stated),
})  # fmt: skip
