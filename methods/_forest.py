"""A random forest as a module, whose every split is a function of its node's rows and a seed.

Because a split depends on nothing else, a node whose rows are unchanged has the split that
training without some rows of other nodes would give it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from forget_audit.seeds import derive, generator
from forget_audit.types import Features, Floats, Labels

Index = npt.NDArray[np.int64]
Split = tuple[int, np.float32]

LEAF = -1
SMOOTHING = 1e-3  # rows that each class is given on top in the probabilities of a leaf
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))  # of splitmix64


class Forest(nn.Module):
    """Trees in arrays; the children of node `i` are `2 i + 1` and `2 i + 2`.

    Args:
        trees: Number of trees.
        depth: Greatest depth of a leaf.
        n_classes: Number of outputs.
        seed: Of all splits.
        settings: Further whole numbers that deletions must be asked for with.
    """

    def __init__(
        self, trees: int, depth: int, n_classes: int, seed: int, settings: tuple[int, ...]
    ) -> None:
        super().__init__()
        nodes = 2 ** (depth + 1) - 1
        self.depth = depth
        self.feature: torch.Tensor
        self.threshold: torch.Tensor
        self.counts: torch.Tensor
        self.seed: torch.Tensor
        self.settings: torch.Tensor
        self.register_buffer("feature", torch.full((trees, nodes), LEAF))
        self.register_buffer("threshold", torch.zeros(trees, nodes))
        self.register_buffer("counts", torch.zeros(trees, nodes, n_classes, dtype=torch.int64))
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("settings", torch.tensor((trees, depth, *settings)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the mean over trees of the class shares in the leaf."""
        flat = x.flatten(1)
        tree = torch.arange(len(self.feature), device=x.device).expand(len(flat), -1)
        node = torch.zeros_like(tree)
        for _ in range(self.depth):
            feature = self.feature[tree, node]
            right = flat.gather(1, feature.clamp(min=0)) > self.threshold[tree, node]
            node = torch.where(feature == LEAF, node, 2 * node + 1 + right.long())
        counts = self.counts[tree, node].double() + SMOOTHING
        shares = counts / counts.sum(2, keepdim=True)
        return shares.mean(1).log().to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Grower:
    """Grows one tree of a forest, and takes rows out of it.

    Args:
        feature: Feature of each node, `LEAF` for leaves and places without a node.
        threshold: Rows at or below it go left.
        counts: Rows of each class in each node.
        depth: Greatest depth of a leaf.
        random_depth: Levels from the root whose splits are random.
        features: Features that compete in a split.
        thresholds: Most thresholds of each.
        seed: Of this tree.
        x: Features of all rows, flat.
        y: Their classes.
    """

    feature: Index
    threshold: Features
    counts: Index
    depth: int
    random_depth: int
    features: int
    thresholds: int
    seed: int
    x: Features
    y: Labels

    def grow(self, node: int, rows: Index) -> int:
        """Grow the subtree at `node` from `rows` and return how often a row met a split."""
        self.counts[node] = self.tally(rows)
        split = self.choose(node, rows)
        if split is None:
            return 0
        self.feature[node], self.threshold[node] = split
        left = self.x[rows, split[0]] <= split[1]
        below = self.grow(2 * node + 1, rows[left]) + self.grow(2 * node + 2, rows[~left])
        return len(rows) + below

    def remove(self, node: int, kept: Index, gone: Index) -> int:
        """Take rows out of the subtree at `node` and return how often a row met a new split.

        A subtree is grown anew where the split of the kept rows parts them in another way.

        Args:
            node: Root of the subtree.
            kept: Rows that stay in it.
            gone: Rows that leave it.
        """
        if not len(gone):
            return 0
        self.counts[node] -= self.tally(gone)
        old, new = (int(self.feature[node]), self.threshold[node]), self.choose(node, kept)
        if old[0] == LEAF and new is None:
            return 0
        if old[0] == LEAF or new is None:
            self.clear(node)
            return self.grow(node, kept)
        left = self.x[kept, old[0]] <= old[1]
        if old != new and not np.array_equal(left, self.x[kept, new[0]] <= new[1]):
            self.clear(node)
            return self.grow(node, kept)
        leaving = self.x[gone, old[0]] <= old[1]
        self.feature[node], self.threshold[node] = new
        return self.remove(2 * node + 1, kept[left], gone[leaving]) + self.remove(
            2 * node + 2, kept[~left], gone[~leaving]
        )

    def choose(self, node: int, rows: Index) -> Split | None:
        """Return the split of a node with these rows; none for a leaf."""
        level = int(node + 1).bit_length() - 1
        x, y = self.x[rows], self.y[rows]
        if level >= self.depth or len(rows) < 2 or (y == y[0]).all():
            return None
        rng = generator(self.seed, "node", node)
        order, place = rng.permutation(x.shape[1]), rng.random()
        low, high = x.min(0), x.max(0)
        order = order[low[order] < high[order]]
        if not len(order):
            return None
        if level < self.random_depth:
            first = int(order[0])
            at = np.float32(low[first] + place * (high[first] - low[first]))
            return first, at if at < high[first] else low[first]
        key = derive(self.seed, "threshold", node)
        best: tuple[float, Split] | None = None
        for feature in order[: self.features].tolist():
            scores, cuts = self.rate(x[:, feature], y, derive(key, feature))
            if len(scores) and (best is None or scores.min() < best[0]):
                best = float(scores.min()), (feature, cuts[scores.argmin()])
        return best[1] if best else None

    def rate(self, values: Features, y: Labels, key: int) -> tuple[Floats, Features]:
        """Return the impurity that remains after each competing cut of a feature, and the cuts.

        A cut between neighbouring values is valid if rows at either differ in class. Of all
        valid cuts those with the smallest hash compete.
        """
        distinct, place = np.unique(values, return_inverse=True)
        table = np.zeros((len(distinct), self.counts.shape[1]), dtype=np.int64)
        np.add.at(table, (place, y), 1)
        valid = np.flatnonzero(((table[:-1] + table[1:]) > 0).sum(1) > 1)
        if not len(valid):
            return np.zeros(0), distinct[:0]
        valid = valid[np.argsort(hashes(distinct[valid], distinct[valid + 1], key))]
        valid = valid[: self.thresholds]
        left = table.cumsum(0)[valid].astype(np.float64)
        right = table.sum(0) - left
        scores = sum(part.sum(1) - (part**2).sum(1) / part.sum(1) for part in (left, right))
        middle = (distinct[valid].astype(np.float64) + distinct[valid + 1]) / 2
        cuts = middle.astype(np.float32)
        return np.asarray(scores), np.where(cuts < distinct[valid + 1], cuts, distinct[valid])

    def tally(self, rows: Index) -> Index:
        """Return the number of rows of each class."""
        return np.bincount(self.y[rows], minlength=self.counts.shape[1])

    def clear(self, node: int) -> None:
        """Forget all of the subtree at `node`."""
        first, last = node, node
        while first < len(self.feature):
            for array, empty in ((self.feature, LEAF), (self.threshold, 0), (self.counts, 0)):
                array[first : last + 1] = empty
            first, last = 2 * first + 1, 2 * last + 2


def hashes(low: Features, high: Features, key: int) -> npt.NDArray[np.uint64]:
    """Return a number for each pair of values, as good as random."""
    pair = (low + np.float32(0)).view(np.uint32).astype(np.uint64) << np.uint64(32)
    mixed = pair | (high + np.float32(0)).view(np.uint32).astype(np.uint64)
    for shift, factor in ((0, key | 1), *MIX):
        if shift:
            mixed = mixed ^ (mixed >> np.uint64(shift))
        mixed = mixed * np.uint64(factor) + np.uint64(key)
    return mixed
