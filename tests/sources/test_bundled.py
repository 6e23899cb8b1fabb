"""Data sets that come with scikit-learn and statsmodels."""

from pathlib import Path

import numpy as np
import pytest

from forget_audit.errors import CaseError
from forget_audit.sources.loading import LOADERS, load

# rows, features, classes or labels, equal records that were left out
KNOWN = {
    "digits": (1797, 64, 10, 0),
    "digit_groups": (1797, 64, 5, 0),
    "digit_attributes": (1797, 64, 4, 0),
    "fair": (4829, 8, 2, 1537),
    "anes96": (943, 10, 3, 1),
    "randhie": (2550, 9, 3, 16588),
    "breast_cancer": (569, 30, 2, 0),
}


def test_every_bundled_set_is_known() -> None:
    assert set(KNOWN) == set(LOADERS)


@pytest.mark.parametrize("name", KNOWN)
def test_bundled_sets(name: str) -> None:
    dataset = load(name, folder=Path())
    n, width, outputs, dropped = KNOWN[name]
    assert dataset.rows.x.shape == (n, width)
    assert dataset.n_classes == outputs
    assert dataset.duplicates_dropped == len(dataset.dropped) == dropped
    assert sum(dataset.sizes) == n
    assert len(np.unique(dataset.rows.x, axis=0)) == n
    assert dataset.rows.ids[0].startswith(f"{name.split('_')[0]}")
    if not name.startswith("digit"):
        assert dataset.rows.x.mean(axis=0) == pytest.approx(0, abs=0.35)
        with pytest.raises(CaseError, match="label noise is for digits only"):
            load(name, folder=Path(), label_noise=0.1)


def test_groups_of_digits_know_the_digits() -> None:
    fine, groups = (load(name, folder=Path()) for name in ("digits", "digit_groups"))
    assert groups.subclasses is not None
    assert np.array_equal(groups.subclasses, fine.rows.y)
    assert np.array_equal(groups.rows.y, fine.rows.y // 2)
