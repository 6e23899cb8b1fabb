"""The verdict's statistics again, one row and one model at a time, in plain Python.

Shares no code with the package. Slow on purpose: it is meant to be read beside the formulas.
"""

import math
from statistics import fmean, variance

import numpy as np

Row = list[float]


def softmax(logits: Row) -> Row:
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    return [power / sum(powers) for power in powers]


def phi(logits: Row, label: int) -> float:
    rest = [value for k, value in enumerate(logits) if k != label]
    top = max(rest)
    log_sum = top + math.log(sum(math.exp(value - top) for value in rest))
    return min(30.0, max(-30.0, logits[label] - log_sum))


def loss(logits: Row, label: int) -> float:
    top = max(logits)
    log_sum = top + math.log(sum(math.exp(value - top) for value in logits))
    return min(400.0, max(0.0, log_sum - logits[label]))


def entropy(p: Row) -> float:
    return -sum(value * math.log(value) for value in p if value > 0)


def js_bits(p: Row, q: Row) -> float:
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    total = 0.0
    for a, b, m in zip(p, q, middle, strict=True):
        total += (a * math.log2(a / m) if a > 0 else 0) + (b * math.log2(b / m) if b > 0 else 0)
    return max(total / 2, 0.0)


def null(reference: list[Row]) -> tuple[Row, Row]:
    n, df = len(reference[0]), len(reference) - 1
    means = [fmean([model[i] for model in reference]) for i in range(n)]
    variances = [variance([model[i] for model in reference]) for i in range(n)]
    common = fmean(variances)
    spreads = [math.sqrt(max((df * v + 4 * common) / (df + 4), 1e-24)) for v in variances]
    return means, spreads


def without_difficulty(z: Row, means: Row, spreads: Row, n_f: int) -> Row:
    columns = [[m, m * m, m**3, math.log(s)] for m, s in zip(means, spreads, strict=True)]
    for k in range(4):
        control = [row[k] for row in columns[n_f:]]
        centre = fmean(control)
        spread = math.sqrt(fmean([(value - centre) ** 2 for value in control]))
        for row in columns:
            row[k] = (row[k] - centre) / (spread if spread > 1e-12 else 1.0)
    design = [[1.0, *row] for row in columns]
    n_t = len(z) - n_f
    left = [[sum(row[a] * row[b] for row in design[n_f:]) for b in range(5)] for a in range(5)]
    for k in range(1, 5):
        left[k][k] += 1e-3 * n_t
    right = [sum(design[i][a] * z[i] for i in range(n_f, len(z))) for a in range(5)]
    weights = np.linalg.solve(np.array(left), np.array(right)).tolist()
    return [
        value - sum(w * c for w, c in zip(weights, row, strict=True))
        for value, row in zip(z, design, strict=True)
    ]


def rho(d: Row, z: Row, cap: float | None) -> tuple[float, float, float]:
    w = [value if cap is None else min(cap, max(-cap, value)) for value in d]
    total = sum(a * b for a, b in zip(w, d, strict=True))
    value = sum(a * b for a, b in zip(w, z, strict=True)) / total
    parts = [a * (b - value * c) / total for a, b, c in zip(w, z, d, strict=True)]
    error = math.sqrt(sum(part**2 for part in parts) * len(d) / (len(d) - 1))
    return value, error, total**2 / sum((a * b) ** 2 for a, b in zip(w, d, strict=True))


def auc(forget: Row, control: Row) -> float:
    wins = sum((f > c) + 0.5 * (f == c) for f in forget for c in control)
    return wins / (len(forget) * len(control))


def half_logit(k: float, n: float) -> float:
    return math.log((k + 0.5) / (n - k + 0.5))


def true_positives(forget: Row, control: Row) -> int:
    allowed = math.floor(0.01 * len(control) + 1e-9)
    best = 0
    for threshold in {*forget, *control}:
        if sum(c > threshold for c in control) <= allowed:
            best = max(best, sum(f > threshold for f in forget))
    return best


def measure(
    logits: list[list[Row]], labels: list[int], n_f: int, model: int, originals: list[list[Row]]
) -> tuple[dict[str, float], float]:
    """Statistics of `model` against all other models of `logits`, forget rows first."""
    others = [m for m in range(len(logits)) if m != model]
    n = len(labels)

    def row_scores(models: list[list[Row]], probability: bool) -> list[Row]:
        scored = [[phi(rows[i], labels[i]) for i in range(n)] for rows in models]
        if probability:
            return [[1 / (1 + math.exp(-value)) for value in row] for row in scored]
        return scored

    values: dict[str, float] = {}
    error = 0.0
    for probability in (True, False):
        scored = row_scores(logits, probability)
        means, spreads = null([scored[m] for m in others])
        trained = row_scores(originals, probability)
        d = [(fmean([row[i] for row in trained]) - means[i]) / spreads[i] for i in range(n_f)]
        raw = [(scored[model][i] - means[i]) / spreads[i] for i in range(n)]
        z = without_difficulty(raw, means, spreads, n_f)[:n_f]
        if probability:
            values["rho_p"], error, _ = rho(d, z, 3.0)
        else:
            values["rho"], _, _ = rho(d, z, None)
            bar = float(np.quantile(d, 0.9))
            top = [i for i in range(n_f) if d[i] >= bar]
            values["rho_top"], _, _ = rho([d[i] for i in top], [z[i] for i in top], None)
            forget, control = raw[:n_f], raw[n_f:]
    pairs = n_f * (n - n_f)
    values["zauc"] = half_logit(auc(forget, control) * pairs, pairs)
    values["dispersion"] = math.log(fmean([v * v for v in forget]) + 1e-12) - math.log(
        fmean([v * v for v in control]) + 1e-12
    )
    values["tpr1"] = half_logit(true_positives(forget, control), n_f)
    losses = [-loss(logits[model][i], labels[i]) for i in range(n)]
    values["loss_auc"] = half_logit(auc(losses[:n_f], losses[n_f:]) * pairs, pairs)
    own = [softmax(row) for row in logits[model]]
    classes = range(len(own[0]))
    mean = [[fmean([softmax(logits[m][i])[k] for m in others]) for k in classes] for i in range(n)]
    js = [js_bits(own[i], mean[i]) for i in range(n)]
    values["js"] = math.log(fmean(js[:n_f]) + 1e-12) - math.log(fmean(js[n_f:]) + 1e-12)
    spread_out = [entropy(row) for row in own]
    values["entropy"] = fmean(spread_out[:n_f]) - fmean(spread_out[n_f:])
    return values, error


def max_t_p_value(table: list[Row]) -> float:
    """Exact p-value that the last row is exchangeable with the others."""
    heights = []
    for m, row in enumerate(table):
        others = [other for k, other in enumerate(table) if k != m]
        distances = []
        for j, value in enumerate(row):
            column = [other[j] for other in others]
            distances.append(abs(value - fmean(column)) / math.sqrt(variance(column)))
        heights.append(max(distances))
    return (1 + sum(h >= heights[-1] for h in heights[:-1])) / len(table)
