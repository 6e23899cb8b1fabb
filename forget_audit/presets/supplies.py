"""Where the data of the papers come from, and how they must lie in the user's folder.

Nothing is fetched. Keepers are named so that people know whom to ask; some want a form signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forget_audit.errors import PlanError, Problem
from forget_audit.plans.plan import Plan, check_plan
from forget_audit.presets.catalogue import Preset


@dataclass(frozen=True, kw_only=True)
class Supply:
    """A data set that a preset reads.

    Args:
        title: What it is called.
        files: What must lie in the folder of the preset.
        keeper: Who gives it out.
    """

    title: str
    files: str
    keeper: str


SUPPLIES: Mapping[str, Supply] = {
    "cifar10": Supply(
        title="CIFAR-10",
        files="cifar-10-batches-bin or cifar-10-batches-py, as the archive unpacks",
        keeper="Alex Krizhevsky's page at the University of Toronto",
    ),
    "cifar100": Supply(
        title="CIFAR-100",
        files="cifar-100-binary or cifar-100-python, as the archive unpacks",
        keeper="Alex Krizhevsky's page at the University of Toronto",
    ),
    "cifar20": Supply(
        title="CIFAR-100 under its 20 coarse classes",
        files="cifar-100-binary or cifar-100-python, as the archive unpacks",
        keeper="Alex Krizhevsky's page at the University of Toronto",
    ),
    "mnist": Supply(
        title="MNIST",
        files="train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
        "t10k-labels-idx1-ubyte, packed with gzip or not",
        keeper="Yann LeCun's page on MNIST, or the mirror that torchvision names",
    ),
    "svhn": Supply(
        title="SVHN, cropped digits",
        files="train_32x32.mat and test_32x32.mat",
        keeper="the page on SVHN of Stanford University",
    ),
    "medmnist": Supply(
        title="MedMNIST, OrganAMNIST",
        files="organamnist_224.npz, or organamnist.npz with small pictures",
        keeper="the MedMNIST v2 record on Zenodo",
    ),
    "celeba": Supply(
        title="CelebA",
        files="img_align_celeba, list_attr_celeba.txt and list_eval_partition.txt",
        keeper="the Multimedia Laboratory of the Chinese University of Hong Kong, for research",
    ),
    "utkface": Supply(
        title="UTKFace",
        files="pictures called age_gender_race_date.jpg, aligned and cropped",
        keeper="Zhang and Qi's page on UTKFace, for research",
    ),
    "vggface2": Supply(
        title="VGGFace2",
        files="a folder a person, n000002 and so on, or train with them",
        keeper="the Visual Geometry Group of the University of Oxford, which has stopped giving "
        "it out; ask the authors",
    ),
    "pins": Supply(
        title="Pins face recognition",
        files="a folder a person, pins_Adriana Lima and so on",
        keeper="Kaggle, data set hereisburak/pins-face-recognition",
    ),
    "mufac": Supply(
        title="MUFAC",
        files="custom_train_dataset.csv with train_images, and the same for val and test",
        keeper="Choi and Na, repository ndb796/MachineUnlearning on GitHub",
    ),
    "imagefolder": Supply(
        title="ImageNet, ILSVRC 2012, training images",
        files="a folder a class, n01440764 and so on",
        keeper="image-net.org, for research",
    ),
    "npz": Supply(
        title="pictures of VGGFace2 under ten labels, made by you",
        files="arrays x, y, labels and split in one npz file",
        keeper="nobody: the paper does not say where its labels come from",
    ),
}


def checked(preset: Preset, tables: Mapping[str, Any], folder: Path) -> Plan:
    """Return the plan of a preset on the files in `folder`.

    Raises:
        PlanError: If files are missing or do not fit; the message says which and who has them.
    """
    try:
        return check_plan(tables, folder)
    except PlanError as error:
        if not {problem.place for problem in error.problems} & {"data.source", "request.forget"}:
            raise
        raise PlanError([*error.problems, *missing(preset, folder)]) from error


def missing(preset: Preset, folder: Path) -> Sequence[Problem]:
    """Return what must be brought into `folder` for a preset, as problems of the plan."""
    supply = SUPPLIES[preset.reader]
    place = preset.tables["data"]["source"].partition(":")[2]
    found = [
        Problem(
            preset.name,
            f"expected {supply.title} in {place} of the folder given with --data: {supply.files}. "
            f"Nothing is fetched; it is given out by {supply.keeper}",
        )
    ]
    ids = preset.tables["request"].get("forget")
    if ids and not (folder / ids).is_file():
        found.append(Problem(preset.name, f"expected the ids to forget in {ids}, one a line"))
    return found
