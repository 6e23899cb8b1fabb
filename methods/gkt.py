"""GKT: a new network learns from the old one, on made-up inputs that pass a gate."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from forget_audit.contracts import MethodInfo, Unlearned
from forget_audit.errors import NotApplicable
from forget_audit.methods._fresh import fresh_network
from forget_audit.methods._generator import generator, map_distance, watching_maps
from forget_audit.methods._noise import Bounds, limits, normal_noise
from forget_audit.methods._settings import Presets, number, refuse_unserved, whole
from forget_audit.methods._steps import Course
from forget_audit.methods._teaching import distillation
from forget_audit.registry import method
from forget_audit.seeds import draw_seed, seeded_torch
from forget_audit.targets import device_of, evaluating
from forget_audit.training.loop import Index, Recipe, descend
from forget_audit.types import Case

# After so many pseudo-batches without a survivor the generator is put back.
PATIENCE = 100
# Pseudo-batches between two looks at the loss; two looks without progress halve the rates.
LOOK = 50


@method
@dataclass(frozen=True, kw_only=True)
class Gkt(Presets):
    """Distil the model into an untrained one, past a gate that stops the forgotten class.

    A generator makes inputs out of noise. Inputs to which the given model, the teacher, assigns
    more than a small probability of a forgotten class are dropped. On the others the student, an
    untrained network, learns the teacher's answers and, where both have convolutions, where it
    looks; the generator in turn learns to make inputs on which the two disagree. No row is read,
    only the shape of one. Whatever the gate lets through of the forgotten class is learnt again.

    Args:
        batches: Pseudo-batches; 0 leaves the model as it is.
        batch_size: Inputs made for each.
        student_steps: Steps of the student on each.
        gate: Most probability of each forgotten class that an input may have.
        beta: Weight of the distance of attention maps; without effect on models that have no
            convolutions.
        temperature: Divides the logits before the softmax.
        lr: Learning rate of the student, whose optimiser is Adam.
        generator_lr: Learning rate of the generator, likewise.
        clip_norm: Largest norm of either gradient.
        seeds: Numbers of noise that an input is made of.
        width: Channels, or hidden units, of the generator.
        bounds: Least and greatest value of an input, in the space of the features; unbounded if
            none. The default is for features from 0 to 1.

    Raises:
        ValueError: If a field is out of its range.
        NotApplicable: If the request names no class, no input passes the gate, or no untrained
            network can be built.

    References:
        Chundawat, Tarun, Mandal and Kankanhalli (2023), Zero-Shot Machine Unlearning,
        https://arxiv.org/abs/2201.05629; code at
        https://github.com/ayu987/zero-shot-unlearning.

    Departures:
        The release gates class 0 whatever is asked, divides the divergence by the number of
        classes as well, and leaves the student in evaluation mode after the first test; here
        each forgotten class is gated, the divergence is summed over classes, and the student
        trains in training mode, while the teacher, and the student that the generator is shown,
        are in evaluation mode. `beta` therefore weighs less than in the release. A pseudo-batch
        with fewer than two survivors is skipped and counts. Images are made by convolutions as
        published, other inputs by a perceptron. Rates are halved by the student's own loss. The
        4000 pseudo-batches of 256 of the paper (`paper`) take minutes on a small model; our
        default takes 15 of 128 at higher rates, enough to see the method work, not to get a
        good model: hence the low floor. Layers that do not require a gradient stay the
        teacher's. The need for retained rows on the card is for the shape of a row alone.
        Verification: gate, maps and loss compared with hand-made ones; generator, divergence and
        attention compared with a public port,
        https://github.com/jwf40/Information-Theoretic-Unlearning, settings not; published figures
        not reproduced.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="gkt",
        title="GKT: gated knowledge transfer",
        card="M25",
        paper="arXiv:2201.05629",
        needs=frozenset({"retain", "architecture"}),
        scopes=frozenset({"class"}),
        guarantee="none",
        presets={
            "paper": {
                "batches": 4000, "batch_size": 256, "lr": 1e-3, "generator_lr": 1e-3,
                "seeds": 128, "width": 128, "bounds": None,
            }
        },
        cost="for each pseudo-batch a step of the generator and ten of the student",
        floor=0.5,
        summary="Trains a new model on made-up inputs to answer like the old one, "
        "leaving out inputs of the class to forget.",
    )  # fmt: skip
    batches: int = 15
    batch_size: int = 128
    student_steps: int = 10
    gate: float = 0.01
    beta: float = 250.0
    temperature: float = 1.0
    lr: float = 0.03
    generator_lr: float = 0.01
    clip_norm: float = 5.0
    seeds: int = 32
    width: int = 64
    bounds: Bounds | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        whole("batches", self.batches, at_least=0)
        whole("batch_size", self.batch_size, at_least=2)
        for name in ("student_steps", "seeds", "width"):
            whole(name, getattr(self, name), at_least=1)
        for name in ("gate", "beta"):
            number(name, getattr(self, name), at_least=0)
        for name in ("temperature", "lr", "generator_lr", "clip_norm"):
            number(name, getattr(self, name), above=0)
        object.__setattr__(self, "bounds", limits(self.bounds))

    def unlearn(self, model: nn.Module, case: Case, rng: np.random.Generator) -> Unlearned:
        """Return the student."""
        refuse_unserved(self.info, case)
        if not case.classes:
            raise NotApplicable(
                "gkt needs the forgotten classes, found none in the class request; name them in "
                "case.classes"
            )
        course = Course(model, rng, ["train"])
        if not self.batches:
            return course.finish("all 0 pseudo-batches done")
        teacher = copy.deepcopy(model).eval().requires_grad_(False)
        _start_anew(course.model, case, draw_seed(rng))
        with seeded_torch(draw_seed(rng)):
            shape = case.retain.x.shape[1:]
            maker = generator(shape, self.seeds, self.width, self.bounds).to(device_of(model))
        optimizers = [
            Recipe(lr=lr).make_optimizer(parameters)
            for lr, parameters in (
                (self.lr, course.parameters),
                (self.generator_lr, [*maker.parameters()]),
            )
        ]
        plateaus = [ReduceLROnPlateau(each, factor=0.5, patience=2) for each in optimizers]
        kept, missed, losses, saved = 0, 0, [], copy.deepcopy(maker.state_dict())
        for number_ in range(self.batches):
            z = normal_noise(self.batch_size, (self.seeds,), model, rng)
            loss = self.round(teacher, course, maker, optimizers, z, case.classes)
            if loss is None:
                missed += 1
                if missed % PATIENCE == 0:
                    maker.load_state_dict(saved)
            else:
                kept, missed, saved = kept + 1, 0, copy.deepcopy(maker.state_dict())
                losses.append(loss)
            if (number_ + 1) % LOOK == 0 and losses:
                for plateau in plateaus:
                    plateau.step(float(np.mean(losses)))
                losses.clear()
        if not kept:
            raise NotApplicable(
                f"gkt needs inputs that pass the gate, found none in {self.batches} pseudo-batches "
                f"with gate {self.gate}; raise gate or batch_size"
            )
        return course.finish(
            f"all {self.batches} pseudo-batches done",
            f"{kept} of {self.batches} pseudo-batches had survivors",
        )

    def round(
        self,
        teacher: nn.Module,
        course: Course,
        maker: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        z: torch.Tensor,
        classes: tuple[int, ...],
    ) -> float | None:
        """Take one step of the generator and then some of the student on the same noise.

        Returns:
            The loss of the student's last step, or none if too few inputs passed the gate.
        """
        student = course.model

        def disagree(_: Index) -> torch.Tensor:
            x = maker(z)
            x = x[passing(teacher(x), classes, self.gate)]
            return -distillation(teacher(x), student(x), self.temperature)

        with torch.no_grad():
            survivors = int(passing(teacher(maker(z)), classes, self.gate).sum())
        if survivors < 2:
            return None
        with evaluating(student):
            descend(disagree, [np.arange(survivors)], optimizers[1], clip_norm=self.clip_norm)
        course.rows_touched += survivors
        with torch.no_grad(), watching_maps(teacher) as maps:
            x = maker(z)
            x = x[passing(teacher(x), classes, self.gate)]
            if len(x) < 2:
                return None
            answers, looks = teacher(x), maps()
        last = 0.0

        def agree(index: Index) -> torch.Tensor:
            nonlocal last
            with watching_maps(student) as own:
                loss = distillation(answers[index], student(x[index]), self.temperature)
                loss = loss + self.beta * map_distance(own(), looks)
            last = loss.item()
            return loss

        steps = [np.arange(len(x))] * self.student_steps
        course.run(agree, steps, optimizers[0], norms="train", clip_norm=self.clip_norm)
        return last


def passing(logits: torch.Tensor, classes: tuple[int, ...], gate: float) -> torch.Tensor:
    """Return which inputs have at most the probability `gate` of each of `classes`."""
    return (logits.softmax(1)[:, list(classes)] <= gate).all(1)


def _start_anew(student: nn.Module, case: Case, seed: int) -> None:
    """Give the student the weights of an untrained network, except where they are frozen."""
    own = student.state_dict()
    fresh = fresh_network("gkt", student, case.trainer, seed).state_dict()
    if {n: t.shape for n, t in fresh.items()} != {n: t.shape for n, t in own.items()}:
        fresh = fresh_network("gkt", student, None, seed).state_dict()
    frozen = {n: own[n] for n, p in student.named_parameters() if not p.requires_grad}
    student.load_state_dict({**fresh, **frozen})
