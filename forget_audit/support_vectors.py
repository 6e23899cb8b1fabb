"""Many small support-vector machines at once: one feature, a radial kernel of width one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forget_audit.types import Floats

ENOUGH, MOST_STEPS, FLATTEST = 1e-5, 1_000_000, 1e-12
FEWER = 7 / 8  # machines that have settled are sorted out when the others are no more than this
AT_ONCE = 500_000  # numbers in the kernels that are held at the same time

Mask = npt.NDArray[np.bool_]


def decide_many(x: Floats, y: Mask, known: Mask, c: float) -> Floats:
    """Return the decision value of each row by each machine `(fits, n)`, positive for members.

    The machines of scikit-learn's `SVC(C=c, gamma=1)`, fitted as LIBSVM does and to the same
    tolerance: two rows at a time, the one that strays most and the one that gains most with it,
    until no two rows stray by more than `ENOUGH`. Machines take their steps side by side. They
    start with all weights at their bounds, where most of them end if classes overlap.

    Args:
        x: The feature `(fits, n)`, standardised.
        y: Who is a member `(n,)`.
        known: Which rows a machine learns from `(fits, n)`, of both classes; it judges all.
        c: Inverse strength of the penalty.

    References:
        Fan, Chen and Lin (2005), Working Set Selection Using Second Order Information for
        Training Support Vector Machines, JMLR 6, 1889-1918.
    """
    sign = np.where(y, 1.0, -1.0)
    most, least = np.where(known & y, c, 0.0), np.where(known & ~y, -c, 0.0)
    weight: Floats = np.where(_in_pairs(y, known), sign * c, 0.0)
    off = sign - _sums(x, weight)  # the label less the kernel sum
    found = np.zeros(x.shape)
    left, going = np.arange(len(x)), np.ones(len(x), dtype=bool)
    rise, fall = np.where(weight < most, 0.0, -np.inf), np.where(weight > least, 0.0, np.inf)
    for _ in range(MOST_STEPS):
        at, i = np.arange(len(left)), np.argmax(off + rise, axis=1)
        top, bottom = off[at, i], off + fall
        done = going & (top - bottom.min(axis=1) < ENOUGH)
        if done.any():
            found[left[done]] = _settled(sign, off[done], rise[done], fall[done])
            going &= ~done
        if going.sum() <= FEWER * len(left):
            if not going.any():
                return found
            x, weight, off, rise, fall, most, least = (
                values[going] for values in (x, weight, off, rise, fall, most, least)
            )
            left, going = left[going], np.ones(int(going.sum()), dtype=bool)
            continue
        near = _kernel(x, x[at, i, None])
        bend = np.maximum(2 - 2 * near, FLATTEST)
        gap = np.maximum(top[:, None] - bottom, 0)
        j = np.argmax(gap * gap / bend, axis=1)
        room = np.minimum(most[at, i] - weight[at, i], weight[at, j] - least[at, j])
        step = np.minimum(gap[at, j] / bend[at, j], room)
        off -= step[:, None] * (near - _kernel(x, x[at, j, None]))
        for row, change in ((i, step), (j, -step)):
            low, high = least[at, row], most[at, row]
            moved = weight[at, row] + change
            moved = np.where(high - moved < FLATTEST * c, high, moved)
            moved = np.where(moved - low < FLATTEST * c, low, moved)
            weight[at, row] = moved
            rise[at, row] = np.where(moved < high, 0.0, -np.inf)
            fall[at, row] = np.where(moved > low, 0.0, np.inf)
    raise ArithmeticError(f"{len(left)} machines did not settle in {MOST_STEPS} steps")


def _in_pairs(y: Mask, known: Mask) -> Mask:
    """Return as many known rows of either class `(fits, n)`, all of the smaller one."""
    members, others = np.cumsum(known & y, axis=1), np.cumsum(known & ~y, axis=1)
    pairs = np.minimum(members[:, -1:], others[:, -1:])
    return known & (np.where(y, members, others) <= pairs)


def _sums(x: Floats, weight: Floats) -> Floats:
    """Return the kernel sum of each row `(fits, n)`."""
    sums = np.empty(x.shape)
    several = max(AT_ONCE // x.shape[1] ** 2, 1)
    for start in range(0, len(x), several):
        part = slice(start, start + several)
        kernel = _kernel(x[part, :, None], x[part, None, :])
        sums[part] = np.einsum("fij,fj->fi", kernel, weight[part])
    return sums


def _kernel(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.exp(-((first - second) ** 2)))


def _settled(sign: Floats, off: Floats, rise: Floats, fall: Floats) -> Floats:
    """Return decision values: the kernel sum plus the offset that rows within bounds agree on."""
    free = (rise == 0) & (fall == 0)
    number = free.sum(axis=1)
    middle = (np.max(off + rise, axis=1) + np.min(off + fall, axis=1)) / 2
    agreed = np.sum(off * free, axis=1) / np.maximum(number, 1)
    return np.asarray(sign - off + np.where(number > 0, agreed, middle)[:, None])
