"""Write predictions.csv: what trees answer about the affairs of 600 women (statsmodels)."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from sklearn.ensemble import ExtraTreesClassifier

table = sm.datasets.fair.load_pandas().data.drop_duplicates()
table = table.sample(n=600, random_state=1)
x = table.drop(columns="affairs").to_numpy()
y = (table["affairs"] > 0).astype(int).to_numpy()  # classes are counted from 0
part = np.repeat(["retain", "forget", "test"], [250, 100, 250])
retain, trained = part == "retain", part != "test"


def answers(group: str, rows: np.ndarray, seeds: range) -> Iterator[list[object]]:
    """Train models on some rows, and yield what each of them answers to all."""
    for seed in seeds:
        model = ExtraTreesClassifier(n_estimators=50, random_state=seed).fit(x[rows], y[rows])
        for row, p in enumerate(model.predict_proba(x)):
            yield [group, seed, part[row], f"woman-{row}", y[row], float(p[0]), float(p[1])]


with Path("predictions.csv").open("w", newline="", encoding="utf-8") as file:
    lines = csv.writer(file)
    lines.writerow(["group", "model", "part", "id", "label", "p0", "p1"])
    lines.writerows(answers("retrained", retain, range(39)))
    lines.writerows(answers("identity", retain, range(100, 102)))
    lines.writerows(answers("originals", trained, range(200, 208)))
    lines.writerows(answers("audited", retain, range(1000, 1001)))  # your unlearned model
