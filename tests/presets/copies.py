"""Small copies of the papers' data, laid out as the presets expect them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from forget_audit.presets.catalogue import Preset
from forget_audit.presets.choices import choice
from forget_audit.seeds import generator
from tests.fixtures import formats

LABELS = (
    "Arched_Eyebrows", "Bald", "Big_Lips", "Brown_Hair", "Double_Chin", "Male", "No_Beard",
    "Oval_Face", "Pointy_Nose", "Young",
)  # fmt: skip
ROCKET, CIFAR100_ROWS = 69, 200


def make(root: Path) -> None:
    """Write all data sets into `root`, with rows of every class that a preset forgets."""
    formats.make_cifar10(root / "cifar-10", train=60, test=80)
    formats.make_cifar100(root / "cifar-100", train=CIFAR100_ROWS, test=400)
    formats.make_mnist(root / "mnist", train=40, test=60)
    formats.make_svhn(root / "svhn", train=40, test=60)
    formats.make_medmnist(root / "medmnist", train=44, test=44)
    formats.make_celeba(root / "celeba", train=40, test=20, valid=20)
    formats.make_utkface(root / "UTKFace", 120, side=16)
    formats.make_vggface2(root / "vggface2", people=63, per_person=9, side=16, others=1)
    formats.make_pins(root, people=44, per_person=8, side=16)
    formats.make_mufac(root / "mufac", train=64, test=48)
    formats.make_imagefolder(root / "imagenet-train", per_class=16, side=16)
    rockets = np.flatnonzero(formats.dealt("cifar100", CIFAR100_ROWS, 100) == ROCKET)
    ids = [f"cifar100-train-{place}" for place in rockets]
    (root / "rocket-worst-50.csv").write_text("\n".join(ids) + "\n", encoding="utf-8")
    rng = generator(0, "labels of faces")
    np.savez(
        root / "vggface2-attributes.npz",
        x=rng.random((60, 3, 8, 8)).astype(np.float32),
        y=rng.integers(0, 2, (60, len(LABELS))),
        labels=np.array(LABELS),
        split=np.repeat(["train", "test", "auxiliary"], [30, 15, 15]),
    )


def shares(presets: Mapping[str, Preset]) -> dict[str, tuple[str, ...]]:
    """Return which methods are tried with which preset.

    Each preset tries the method of its paper; every other method of a table, with its settings and
    kind of request, is tried with the first preset that has it.
    """
    seen: set[tuple[str, str]] = set()
    wanted = {}
    for name, preset in presets.items():
        scope, own = preset.tables["request"]["scope"], preset.tables["method"]["name"]
        chosen = []
        for text in preset.names.values():
            known = (scope, text) in seen
            if choice(text).kind == "method" and (choice(text).method == own or not known):
                chosen.append(text)
            seen.add((scope, text))
        wanted[name] = tuple(chosen)
    return wanted
