"""Write predictions.csv: the answers of all models, one line for each model and row.

Any program in any language can write such a file; forget-audit reads nothing else of your models.
Lines marked EDIT come first.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingClassifier

FILE = Path("predictions.csv")
RETRAINED = 39  # EDIT models trained without the forget rows: the yardstick
IDENTITY = 2  # EDIT further ones, judged as if audited: the check of the audit itself
ORIGINALS = 8  # EDIT models trained with the forget rows
ROLES = {"retain": 160, "forget": 80, "test": 200}  # EDIT rows of each part


def train(x: np.ndarray, y: np.ndarray, seed: int) -> GradientBoostingClassifier:
    """Train a model on these rows; everything random must come from `seed`."""
    model = GradientBoostingClassifier(n_estimators=60, subsample=0.5, random_state=seed)
    return model.fit(x, y)  # EDIT your training


def lines() -> Iterator[list[object]]:
    """Yield group, model, part, id, label and probabilities for each model and row."""
    x, progress = load_diabetes(return_X_y=True)  # EDIT your rows
    y = (progress > 140).astype(int)
    order = np.random.default_rng(0).permutation(len(x))
    rows = dict(zip(ROLES, np.split(order, np.cumsum([*ROLES.values()])), strict=False))
    retain, everyone = rows["retain"], np.concatenate([rows["retain"], rows["forget"]])
    seeds = {
        "retrained": (retain, range(RETRAINED)),
        "identity": (retain, range(100, 100 + IDENTITY)),
        "originals": (everyone, range(200, 200 + ORIGINALS)),
        "audited": (retain, [1000]),  # EDIT your unlearned model; here one more that was retrained
    }
    for group, (trained, numbers) in seeds.items():
        for number, seed in enumerate(numbers):
            model = train(x[trained], y[trained], seed)
            for part, index in rows.items():
                for row, p in zip(index, model.predict_proba(x[index]), strict=True):
                    yield [group, number, part, f"row-{row}", y[row], *map(float, p)]


def main() -> None:
    """Write the file."""
    with FILE.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["group", "model", "part", "id", "label", "p0", "p1"])
        table.writerows(lines())


if __name__ == "__main__":
    main()
