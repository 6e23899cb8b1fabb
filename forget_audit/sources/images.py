"""Pictures as rows `(channels, height, width)`, float32: of bytes in memory, or of files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forget_audit.errors import CaseError
from forget_audit.sources.files import reading, regular
from forget_audit.sources.options import ImageOptions
from forget_audit.streaming import Features, Streamed

Bytes = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP", "TIFF")
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
SEVERAL = ("TIFF", "WEBP", "PNG")  # formats of one picture or many
MOST_SCANS = 100  # a progressive JPEG has about ten
MOST_PIXELS = 50_000_000  # of one picture; more is taken for an attack on memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """Pictures that are held as bytes, a quarter of what the numbers take.

    Args:
        array: `(n, channels, height, width)`, or with one more axis for volumes.
        side: Side to which pictures are brought; as they are if left out.
        divisor: Bytes are divided by it.
    """

    array: Bytes
    side: int | None
    divisor: float

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> Features:
        picture = self.array[index]
        if self.side is not None and picture.shape[-2:] != (self.side, self.side):
            picture = _resized(picture, self.side)
        row: Features = picture.astype(np.float32) / np.float32(self.divisor)
        return row


@dataclass(frozen=True, kw_only=True, eq=False)
class Files:
    """Pictures that stay in their files.

    Args:
        folder: Where the names start.
        names: Relative paths.
        size: Width and height of every picture.
        fit: Whether pictures of another size are cropped and resized, or refused.
        grey: One channel instead of three.
        divisor: Bytes are divided by it.
    """

    folder: Path
    names: tuple[str, ...]
    size: tuple[int, int]
    fit: bool
    grey: bool
    divisor: float

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Features:
        name = self.names[index]
        picture = open_picture(self.folder, name, grey=self.grey)
        if picture.size != self.size:
            if not self.fit:
                raise CaseError(
                    f"pictures differ in size: {name} has {picture.size}, others {self.size}; "
                    "give all of them one side with options = { size = 64 }"
                )
            picture = _fitted(picture, self.size)
        pixels = np.asarray(picture, dtype=np.float32) / np.float32(self.divisor)
        return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaled:
    """Rows of mean 0 and spread 1 in each channel, made when they are read.

    Args:
        rows: Before scaling.
        mean: Of each channel, shaped like one row.
        spread: Of each channel, shaped like one row.
    """

    rows: Streamed
    mean: Features
    spread: Features

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Features:
        row: Features = (self.rows[index] - self.mean) / self.spread
        return row


def divisor(options: ImageOptions) -> float:
    """Return what bytes are divided by."""
    return 1.0 if options.normalise == "none" else 255.0


def pixels(array: Bytes, options: ImageOptions) -> Pixels:
    """Return pictures in memory as items.

    Raises:
        CaseError: If they cannot be brought to the wanted size.
    """
    if options.size is not None and (array.ndim != 4 or array.shape[1] not in (1, 3)):
        raise CaseError(
            f"only flat pictures of one or three channels can be resized, found {array.shape[1:]}"
        )
    return Pixels(array=array, side=options.size, divisor=divisor(options))


def files(
    folder: Path, names: Sequence[str], options: ImageOptions, *, grey: bool = False
) -> Files:
    """Return pictures in files as items; the first sets the size unless an option does.

    Raises:
        CaseError: If there is none, or the first cannot be read.
    """
    if not names:
        raise CaseError(f"{folder.name} holds no pictures; expected {', '.join(ENDINGS[:4])}, ...")
    side = options.size
    first = open_picture(folder, names[0], grey=grey).size
    return Files(
        folder=folder,
        names=tuple(names),
        size=first if side is None else (side, side),
        fit=side is not None,
        grey=grey,
        divisor=divisor(options),
    )


def open_picture(folder: Path, name: str, *, grey: bool) -> Any:
    """Return the picture in a file, decoded.

    Raises:
        CaseError: If it is no picture of a known format, is damaged, is enormous, or holds more
            than one picture of 8 bits a channel.
    """
    from PIL import Image

    regular(folder / name, "a picture")
    with (
        _whole_pictures(),
        reading(name, "a picture", Exception),  # Pillow raises whatever its formats run into
        Image.open(folder / name, formats=FORMATS) as picture,
    ):
        if picture.width * picture.height > MOST_PIXELS:
            raise CaseError(f"{name} has {picture.size} pixels, more than {MOST_PIXELS:,}")
        if picture.mode.startswith(("I", "F")):  # Pillow would cut off what is above 255
            raise ValueError(f"expected 8 bits a channel, found mode {picture.mode}; convert it")
        frames = getattr(picture, "n_frames", 1) if picture.format in SEVERAL else 1
        if frames > 1:
            raise ValueError(f"expected one picture, found {frames}")
        if picture.format == "JPEG" and _scans(folder / name) > MOST_SCANS:
            raise ValueError(f"expected at most {MOST_SCANS} passes over the picture")
        return picture.convert("L" if grey else "RGB")


@contextmanager
def _whole_pictures() -> Iterator[None]:
    """Refuse pictures that are cut off, also when another library has asked to accept them."""
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _scans(path: Path) -> int:
    """Return how often a JPEG file goes over its picture: each pass takes time and few bytes."""
    return path.read_bytes().count(b"\xff\xda")


def _resized(picture: Bytes, side: int) -> Bytes:
    from PIL import Image

    flat = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    fitted = np.asarray(_fitted(Image.fromarray(np.ascontiguousarray(flat)), (side, side)))
    return fitted[None] if fitted.ndim == 2 else fitted.transpose(2, 0, 1)


def _fitted(picture: Any, size: tuple[int, int]) -> Any:
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
