"""Partial amnesiac unlearning: subtract the part that was kept of the updates."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import nn

from forget_audit.contracts import MethodInfo
from forget_audit.errors import NotApplicable
from forget_audit.methods._settings import number, one_of, whole
from forget_audit.methods._subtraction import Subtraction
from forget_audit.registry import method
from forget_audit.seeds import derive
from forget_audit.training.log import Tensors, TrainingLog

Mode = Literal["random", "magnitude", "global"]
Mask = Literal["per_step", "per_layer_fixed"]
POSITIONS = ":positions"


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Keeps a part of the update of each weight tensor, and all other updates in full.

    Weight tensors are those of two or more dimensions. Of random masks only values are kept,
    positions follow from seed, step and name; the other modes keep them too, as int32.

    Args:
        mode: As in `PartialAmnesiac`, like the others.
        drop_first: In the first layer.
        drop_last: In the last layer.
        drop_overall: In all layers together.
        mask: How long a random mask holds.
        seed: Of random masks.
    """

    mode: Mode
    drop_first: float
    drop_last: float
    drop_overall: float
    mask: Mask
    seed: int

    def pack(self, step: int, updates: Tensors) -> Tensors:
        """Return the kept values, with their positions unless these follow from the seed."""
        weights = {name: t.flatten() for name, t in updates.items() if t.ndim > 1}
        packed = {name: t for name, t in updates.items() if name not in weights}
        for name, positions in self.kept(step, weights).items():
            packed[name] = weights[name][positions]
            if self.mode != "random":
                packed[name + POSITIONS] = positions.int()
        return packed

    def unpack(self, step: int, packed: Tensors, like: Tensors) -> Tensors:
        """Return the kept updates, zero where nothing was kept."""
        updates = {name: t for name, t in packed.items() if not name.endswith(POSITIONS)}
        for name, values in updates.items():
            if like[name].ndim > 1:
                n = like[name].numel()
                if self.mode == "random":
                    positions = self.drawn(step, name, n, len(values)).to(values.device)
                else:
                    positions = packed[name + POSITIONS].long()
                every = values.new_zeros(n)
                every[positions] = values
                updates[name] = every.view(like[name].shape)
        return updates

    def kept(self, step: int, weights: Tensors) -> dict[str, torch.Tensor]:
        """Return the positions to keep of each flattened weight tensor."""
        if self.mode == "global":
            return self.largest(weights)
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in weights))
        drops = np.linspace(self.drop_first, self.drop_last, len(layers)).tolist()
        positions = {}
        for name, values in weights.items():
            drop = drops[layers.index(name.rpartition(".")[0])]
            count = round((1 - drop) * len(values))
            if self.mode == "magnitude":
                positions[name] = values.abs().topk(count).indices
            else:
                positions[name] = self.drawn(step, name, len(values), count).to(values.device)
        return positions

    def drawn(self, step: int, name: str, n: int, count: int) -> torch.Tensor:
        """Return `count` random positions out of `n`.

        The raw numbers of a counter-based generator are used, being the same in every version
        of numpy: without them a log of values could not be read.
        """
        when = step if self.mask == "per_step" else "every step"
        tickets = np.random.Philox(key=derive(self.seed, when, name)).random_raw(n)
        return torch.from_numpy(np.argsort(tickets, kind="stable")[:count])

    def largest(self, weights: Tensors) -> dict[str, torch.Tensor]:
        """Return the positions of the largest values of all weight tensors together."""
        every = torch.cat([values.abs() for values in weights.values()])
        chosen = torch.zeros_like(every, dtype=torch.bool)
        chosen[every.topk(round((1 - self.drop_overall) * len(every))).indices] = True
        parts = torch.split(chosen, [len(values) for values in weights.values()])
        return {name: part.nonzero().flatten() for name, part in zip(weights, parts, strict=True)}


@method
@dataclass(frozen=True, kw_only=True)
class PartialAmnesiac(Subtraction):
    """Take back a part of what the training steps changed that held a row to forget.

    As amnesiac unlearning, but the log keeps of each update only a part of the weights, most
    being dropped in the first layers and fewest in the last; one-dimensional tensors such as
    biases are kept in full. The log is smaller and the subtraction gentler. If every step is
    affected, as for a class in random batches, random masks lead on average to `d` times the
    final plus `1 - d` times the initial weights, `d` being the dropped share of the layer: a
    step towards initialisation in which nothing is special to the forget rows. It can be
    selective only if the forget rows are few, or were kept together, see
    `training_log.Grouped`.

    Args:
        order: `all` subtracts every affected step; `reverse_epochs` goes back epoch by epoch,
            the latest first, and stops at `target`; before each it classifies the forget rows.
        target: Share of forget rows classified as labelled at which `reverse_epochs` stops.
        buffers: Whether changes of floating-point buffers, such as batch-norm statistics, are
            subtracted too; they must be in the log.
        repair_epochs: Passes over the retained rows afterwards; only they read rows.
        repair_lr: Learning rate of Adam in them.
        mode: What is kept: `random` weights, those of largest change in each tensor
            (`magnitude`), or of largest change over all tensors (`global`).
        drop_first: Share of weights dropped in the first layer; layers between the first and
            the last follow linearly. Not for `global`.
        drop_last: Share of weights dropped in the last layer. Not for `global`.
        drop_overall: Share of all weights that `global` drops.
        mask: Whether random masks are drawn anew `per_step`, or are `per_layer_fixed`.
        seed: Of random masks.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the log is of another model or storage, or lacks steps, rows or
            buffers.

    References:
        Gogineni and Nadimi (2025), Efficient Knowledge Deletion from Trained Models through
        Layer-wise Partial Machine Unlearning, https://arxiv.org/abs/2403.07611, Algorithm 1;
        no public code found.
        Graves, Nagisetty and Ganesh (2021), Amnesiac Machine Learning,
        https://arxiv.org/abs/2010.10981.

    Departures:
        The paper gives one example of shares, from about .9 in the first layers to .5 or .4 in
        the last, and tunes them to the largest that still forget; ours are .9 to .45, and
        tuning is left out, for the log is pruned while training. On small models these shares
        forget little even in grouped batches; lower ones do. Whether a mask holds for a
        step or for the whole training is open in the paper: `mask` chooses. Layers are counted
        in the order in which the model registers them, usually that in which they run. Only
        random masks save the dropped share: the other modes store a position with each value,
        which doubles what is kept. The paper's curves of affected batches suggest that rows
        were grouped; it does not say how. For a class in random batches the result is close to
        the initial weights in some layers, so no accuracy on retained rows is promised.
        Verification: sizes of the log, both ends of the shares, thresholds and the average
        over seeds equal what they must; published figures not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="partial_amnesiac",
        title="Partial amnesiac unlearning: subtract a part of recorded updates",
        card="M20",
        paper="arXiv:2403.07611",
        needs=frozenset({"log"}),
        scopes=frozenset({"instance", "class", "subclass"}),
        heads=frozenset({"single", "multi"}),
        guarantee="none",
        presets={"magnitude": {"mode": "magnitude"}, "global": {"mode": "global"}},
        cost="no pass; storage of about a quarter of a model a recorded step",
        reconstructed="how batches were composed, the shares by layer, how long a mask holds",
        errata=("E39", "E40", "E41", "E44", "E47", "E48"),
        floor=0.0,
        summary="Subtracts from the weights a recorded part of what the training steps with the "
        "rows to forget had added.",
    )
    mode: Mode = "random"
    drop_first: float = 0.9
    drop_last: float = 0.45
    drop_overall: float = 0.75
    mask: Mask = "per_step"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("mode", self.mode, get_args(Mode))
        one_of("mask", self.mask, get_args(Mask))
        whole("seed", self.seed, at_least=0)
        for name in ("drop_first", "drop_last", "drop_overall"):
            number(name, getattr(self, name), at_least=0, at_most=1)

    def storage(self) -> Pruned:
        """Return how the update of a step is stored."""
        return Pruned(
            mode=self.mode,
            drop_first=self.drop_first,
            drop_last=self.drop_last,
            drop_overall=self.drop_overall,
            mask=self.mask,
            seed=self.seed,
        )

    def check(self, model: nn.Module, log: TrainingLog) -> None:
        """Check that `log` can be of the training of `model`, with the storage of the method.

        Raises:
            NotApplicable: If not.
        """
        if log.storage != self.storage():
            raise NotApplicable(
                f"{self.info.name} expected a record kept with {self.storage()}, found "
                f"{log.storage}; train the original with record(..., storage=method.storage())"
            )
        super().check(model, log)
