"""Small networks trained once by the recipe, and files of what they answer."""

import csv
import dataclasses
import gc
import gzip
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from forget_audit.audits import commission, predicted
from forget_audit.audits.commission import Commission
from forget_audit.audits.subject import make_subject
from forget_audit.plans.plan import Plan, check_plan
from forget_audit.predictions.arrays import LETTERS, PARTS
from forget_audit.targets import Target
from forget_audit.training.references import prepare_references
from forget_audit.verdict import scoretable
from forget_audit.verdict.policy import Weighed, weigh
from forget_audit.verdict.weighing import GROUPS, Group

Arrays = dict[str, npt.NDArray[Any]]
NAMES = {letter: part for part, letter in PARTS.items()}
ROLES = {"f": "forget", "t": "test", "r": "retain", "a": "auxiliary"}


@cache
def trained() -> Commission:
    """Return an ordinary black-box audit whose models are trained; the audited one is retrained."""
    plan = check_plan(
        {
            "request": {"reference": "REQ-1", "random": 60},
            "data": {"source": "digits", "label_noise": 0.15}
            | {"train": 300, "test": 150, "auxiliary": 100},
            "model": {"options": {"hidden": [32, 32]}},
            "training": {"epochs": 40, "lr": 0.01},
            "method": {"name": "retrain"},
            "references": {"retrained": 19, "originals": 4, "shadows": 0},
            "battery": {"access": "score"},
        },
        Path(),
    )
    ordered = commission.from_plan(plan)
    references = prepare_references(ordered.workshop(), ordered.counts)
    subject = make_subject(ordered, ordered.workshop(), lambda _: None)
    return dataclasses.replace(
        ordered, references=references, method=None, unlearned=subject.models
    )


def groups_of(ordered: Commission) -> Mapping[Group, tuple[Target, ...]]:
    assert ordered.references is not None
    pool = ordered.references.pool
    return {
        "retrained": pool.retrained,
        "originals": pool.originals,
        "audited": tuple(Target(model) for model in ordered.unlearned),
        "identity": ordered.references.identity,
    }


@cache
def logits() -> Mapping[str, npt.NDArray[Any]]:
    """Return the arrays of a file of logits, float64 as computed from float32."""
    ordered = trained()
    arrays: Arrays = {}
    for letter, role in ROLES.items():
        rows = getattr(ordered.case, role)
        arrays[f"y_{letter}"], arrays[f"id_{letter}"] = rows.y, rows.ids
        for group, targets in groups_of(ordered).items():
            name = f"logit_{LETTERS[group]}_{letter}"
            arrays[name] = np.stack([target.logits(rows) for target in targets])
    return arrays


def probabilities(dtype: type[np.floating[Any]] = np.float64) -> Arrays:
    return {
        name.replace("logit", "prob"): softmax(values, axis=-1).astype(dtype)
        if name.startswith("logit")
        else values
        for name, values in logits().items()
    }


def tiny(seed: int = 0, classes: int = 3, retrained: int = 6, **sizes: int) -> Arrays:
    """Return arrays of random probabilities that are in order and mean nothing."""
    rng = np.random.default_rng(seed)
    counts = {"R": retrained, "O": 2, "A": 1}
    arrays: Arrays = {}
    for letter, rows in {"f": 8, "t": 9, "r": 7, **sizes}.items():
        arrays[f"y_{letter}"] = rng.integers(0, classes, rows)
        arrays[f"id_{letter}"] = np.array([f"{NAMES[letter]}-{i}" for i in range(rows)])
        for group, models in counts.items():
            drawn = rng.normal(size=(models, rows, classes))
            arrays[f"prob_{group}_{letter}"] = softmax(drawn, axis=-1)
    return arrays


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return path


def lines(arrays: Mapping[str, npt.NDArray[Any]], digits: int = 17) -> list[dict[str, Any]]:
    """Return the lines of a long table; `digits` are significant ones."""
    found = []
    for name, values in arrays.items():
        if not name.startswith(("prob_", "logit_")):
            continue
        kind, group, part = name.split("_")
        ids, labels = arrays[f"id_{part}"], arrays[f"y_{part}"]
        word = next(word for word in GROUPS if LETTERS[word] == group)
        prefix = "p" if kind == "prob" else "logit"
        for k, answers in enumerate(values):
            for i, answer in enumerate(answers):
                line = {"group": word, "model": k + 1, "part": NAMES[part], "id": ids[i]}
                line["label"] = int(labels[i])
                if f"unit_{part}" in arrays:
                    line["unit"] = arrays[f"unit_{part}"][i]
                found.append(
                    line | {f"{prefix}{c}": f"{v:.{digits}g}" for c, v in enumerate(answer)}
                )
    return found


def write_csv(path: Path, table: list[dict[str, Any]], mark: str = "") -> Path:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        file.write(mark)
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


def write_parquet(path: Path, table: list[dict[str, Any]]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {name: [line[name] for line in table] for name in table[0]}
    for name in columns:
        if name.startswith(("p", "logit")) and name != "part":
            columns[name] = [float(value) for value in columns[name]]
    parquet.write_table(pa.table(columns), path)
    return path


def plan_of(path: Path, **sections: Any) -> Plan:
    tables = {"request": {"reference": "REQ-1"}, "predictions": {"file": path.name}}
    return check_plan({**tables, **sections}, path.parent)


def ordered_by(path: Path, **sections: Any) -> Commission:
    return predicted.from_plan(plan_of(path, **sections))


def weighed(ordered: Commission) -> Weighed:
    """Return the verdict with its statistics, without attacks and record."""
    arrays = scoretable.collect(groups_of(ordered), ordered.case, b"secret")
    models = scoretable.models_of(arrays)
    gc.freeze()  # statsmodels looks through all objects when it adjusts p-values
    try:
        return weigh(models, profile=ordered.profile, scope=ordered.case.scope)
    finally:
        gc.unfreeze()


def numbers(found: Weighed) -> dict[str, float]:
    """Return every number of a verdict that follows from the answers."""
    values = {
        f"{s.name}.{key}": getattr(s, key)
        for s in found.statistics
        for key in ("estimate", "reference_mean", "reference_sd", "difference", "p_value")
    }
    values |= {f"{s.name}.low": s.interval[0] for s in found.statistics}
    values |= {"p_value": found.verdict.p_value, "n_eff": found.control.n_eff}
    return values | {"detectable_share": found.verdict.detectable_share}
