"""Data sets by name: bundled ones, files in the formats of the papers, and the user's own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from forget_audit.datasets import Dataset
from forget_audit.errors import CaseError
from forget_audit.registry import unknown
from forget_audit.sources import (
    bundled,
    celeba,
    cifar,
    idx,
    imagefolder,
    medmnist,
    mufac,
    people,
    svhn,
    tables,
    text,
    utkface,
)
from forget_audit.sources.noise import refuse_noise
from forget_audit.sources.options import no_options
from forget_audit.sources.own import from_function

Loader = Callable[[int, float], Dataset]
Reader = Callable[[Path, Mapping[str, object]], Dataset]

LOADERS: Mapping[str, Loader] = {
    "digits": bundled.digits,
    "digit_groups": bundled.digit_groups,
    "digit_attributes": bundled.digit_attributes,
    "fair": people.fair,
    "anes96": people.anes96,
    "randhie": people.randhie,
    "breast_cancer": people.breast_cancer,
}
READERS: Mapping[str, Reader] = {
    "npz": tables.npz,
    "csv": tables.from_csv,
    "parquet": tables.parquet,
    "text": text.text,
    "imagefolder": imagefolder.imagefolder,
    "cifar10": cifar.cifar10,
    "cifar100": cifar.cifar100,
    "cifar20": cifar.cifar20,
    "mnist": idx.mnist,
    "fashion_mnist": idx.fashion_mnist,
    "svhn": svhn.svhn,
    "celeba": celeba.celeba,
    "utkface": utkface.utkface,
    "vggface2": imagefolder.vggface2,
    "pins": imagefolder.pins,
    "mufac": mufac.mufac,
    "mucac": mufac.mucac,
    "medmnist": medmnist.medmnist,
}
SOURCES: Mapping[str, Loader | Reader] = {**LOADERS, **READERS}


def load(
    source: str,
    *,
    folder: Path,
    seed: int = 0,
    label_noise: float = 0.0,
    options: Mapping[str, object] = MappingProxyType({}),
) -> Dataset:
    """Load a bundled data set, a copy in a known format, or what a function returns.

    Args:
        source: `digits`, `cifar10:PATH`, `csv:PATH`, `package.module:function`, ...
        folder: Where relative paths start.
        seed: Draws label noise, and whatever a reader draws.
        label_noise: Of `digits` only.
        options: Of the reader, such as the side of images, or of the function.

    Raises:
        CaseError: If the source is unknown or its content does not fit.
    """
    if source in LOADERS:
        no_options(source, options)
        return LOADERS[source](seed, label_noise)
    refuse_noise(source, label_noise)
    kind, _, rest = source.partition(":")
    if kind in READERS:
        if not rest:
            raise CaseError(f"{kind} needs a path: {kind}:PATH")
        return READERS[kind](folder / rest, {"seed": seed, **options})
    if rest:
        return from_function(source, options)
    named = ", ".join(f"{name}:PATH" for name in READERS)
    raise CaseError(f"{unknown('data set', source, LOADERS)}, package.module:function, {named}")
