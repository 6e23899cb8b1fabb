"""Handwritten digits that come with scikit-learn, under three kinds of labels."""

from dataclasses import replace

import numpy as np

from forget_audit.datasets import Dataset, positioned
from forget_audit.seeds import generator
from forget_audit.sources.noise import refuse_noise
from forget_audit.types import Rows


def digits(seed: int, label_noise: float) -> Dataset:
    """Digits: 1,797 handwritten ones of 8 x 8 pixels (scikit-learn, from UCI).

    Args:
        seed: Draws the label noise.
        label_noise: Share of labels drawn uniformly from all classes, so that there is
            something to memorise; without it the digits carry too little signal.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.data / 16, np.asarray(bunch.target).copy()
    rng = generator(seed, "label noise")
    noisy = rng.random(len(y)) < label_noise
    y[noisy] = rng.integers(0, 10, int(noisy.sum()))
    title = "Optical recognition of handwritten digits (UCI), as bundled with scikit-learn"
    dataset = positioned("digits", title, x, y)
    return replace(dataset, sizes=(700, 400, 697), label_noise=label_noise)


def digit_groups(seed: int, label_noise: float) -> Dataset:
    """The digits under five labels, {0, 1}, {2, 3}, ..., with the digits as sub-classes."""
    refuse_noise("digit_groups", label_noise)
    fine = digits(seed, 0.0)
    rows = fine.rows
    return replace(
        fine,
        name="digit_groups",
        title=f"{fine.title}, in five groups of two",
        rows=Rows(x=rows.x, y=rows.y // 2, ids=rows.ids),
        subclasses=rows.y,
    )


def digit_attributes(seed: int, label_noise: float) -> Dataset:
    """The digits under four yes-or-no labels: even, at least five, has a loop, prime."""
    refuse_noise("digit_attributes", label_noise)
    fine = digits(seed, 0.0)
    rows, y = fine.rows, fine.rows.y
    columns = [y % 2 == 0, y >= 5, np.isin(y, (0, 6, 8, 9)), np.isin(y, (2, 3, 5, 7))]
    return replace(
        fine,
        name="digit_attributes",
        title=f"{fine.title}, under four labels",
        rows=Rows(x=rows.x, y=np.stack(columns, axis=1).astype(np.int64), ids=rows.ids),
        labels=("even", "at least five", "has a loop", "prime"),
    )
