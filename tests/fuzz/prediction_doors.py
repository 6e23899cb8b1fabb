"""Doors of recorded answers: NPZ, CSV plain and packed, Parquet."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from forget_audit.predictions.content import read
from tests.fuzz.doors import Door
from tests.predictions.recorded import lines, tiny, write_csv, write_parquet

COLUMNS = (
    b"group", b"model", b"part", b"id", b"label", b"unit", b"p0", b"p1", b"p2", b"logit0",
    b"retrained", b"originals", b"audited", b"identity", b"forget", b"test", b"retain", b"other",
    b"auxiliary", b"# forget-audit-predictions 1\n", b"# forget-audit-predictions 2\n",
)  # fmt: skip


def entering(suffix: str) -> Callable[[bytes, Path], object]:
    """Return what writes a file of predictions, reads it, and looks at what came out."""

    def enter(data: bytes, folder: Path) -> object:
        path = folder / f"answers{suffix}"
        path.write_bytes(data)
        found = read(path)
        for part, rows in found.parts.items():
            assert len(rows) >= 2
            assert len(np.unique(rows.ids)) == len(rows.ids)
            assert all(text.encode() for text in rows.ids.tolist())
            assert 0 <= rows.labels.min() <= rows.labels.max() < found.n_classes
            for answers in found.answers.values():
                assert answers[part].shape[1:] == (len(rows), found.n_classes)
                assert np.isfinite(answers[part]).all()
        return found

    return enter


def archives() -> Sequence[bytes]:
    made = []
    for arrays in (
        tiny(),
        {n.replace("prob_", "logit_"): np.log(v) if n[0] == "p" else v
         for n, v in tiny(classes=2).items()},
        {**tiny(seed=2), **{f"unit_{p}": np.array([f"{p}{i // 2}" for i in range(n)])
                            for p, n in (("f", 8), ("t", 9), ("r", 7))}},
        {n: v.astype(np.float32) if n.startswith("prob") else v for n, v in tiny(a=5).items()},
    ):  # fmt: skip
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        made.append(buffer.getvalue())
    return made


def _written(suffix: str, mark: str = "") -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"answers{suffix}"
        table = lines(tiny(f=3, t=3, r=3), digits=9)
        if suffix == ".parquet":
            return write_parquet(path, table).read_bytes()
        return write_csv(path, table, mark).read_bytes()


def tables() -> Sequence[bytes]:
    return [_written(".csv"), _written(".csv", "# forget-audit-predictions 1\n")]


DOORS: tuple[Door, ...] = (
    Door(
        name="predictions-npz", seeds=archives, enter=entering(".npz"), suffix=".npz", share=0.4
    ),
    Door(
        name="predictions-csv", seeds=tables, enter=entering(".csv"), suffix=".csv",
        dictionary=COLUMNS,
    ),
    Door(
        name="predictions-csv-gz",
        seeds=lambda: [gzip.compress(table, mtime=0) for table in tables()],
        enter=entering(".csv.gz"),
        share=0.5,
    ),
    Door(
        name="predictions-parquet",
        seeds=lambda: [_written(".parquet")],
        enter=entering(".parquet"),
        dictionary=COLUMNS,
    ),
)  # fmt: skip
