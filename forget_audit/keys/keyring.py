"""The keys of this account: the one in use, those retired before it, and changing them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forget_audit.errors import KeyFileError
from forget_audit.keys import folders as key_folders
from forget_audit.keys.signing import SigningKey, home
from forget_audit.keys.sources import public_half

CURRENT, RETIRED = "default", "retired-"
GIT_LIMIT_S = 10
GIT_SETTINGS = (  # nothing that the settings of a work tree name is run, or fetched
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "protocol.allow=never",
)
GIT_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}


@dataclass(frozen=True, kw_only=True)
class OwnKey:
    """A key of this account.

    Args:
        folder: Where it lies.
        public: Its public half.
        in_use: Whether it signs now; if not it is retired.
    """

    folder: Path
    public: SigningKey
    in_use: bool


def own_keys() -> Iterator[OwnKey]:
    """Yield the key in use, then those retired, newest certificate first.

    Raises:
        KeyFileError: If a folder holds no usable key.
    """
    place = home() / "keys"
    if (place / CURRENT).exists():
        public = public_half(place / CURRENT)
        yield OwnKey(folder=place / CURRENT, public=public, in_use=True)
    found = [(folder, public_half(folder)) for folder in place.glob(f"{RETIRED}*")]
    for folder, public in sorted(found, key=lambda item: item[1].not_before, reverse=True):
        yield OwnKey(folder=folder, public=public, in_use=False)


def install(write: Callable[[Path], None]) -> SigningKey | None:
    """Put a new key in use and retire the former one, which stays on disk.

    The new key is written whole before the former one is moved, so that there is a key whatever
    happens in between.

    Args:
        write: Writes the new key into a folder.

    Returns:
        Public half of the former key, if there was one.

    Raises:
        KeyFileError: If the new key cannot be written or the former one cannot be read.
    """
    place = home() / "keys"
    current = place / CURRENT
    former = public_half(current) if current.exists() else None
    retired = place / f"{RETIRED}{former.keyid[:16]}" if former else None
    if retired is not None and retired.exists():
        raise KeyFileError(f"{retired}: is there already; move it away, it holds the same key")
    try:
        staging = key_folders.staging()
        try:
            write(staging)
            if retired is not None:
                current.rename(retired)
            staging.rename(current)
        finally:
            if retired is not None and retired.exists() and not current.exists():
                retired.rename(current)
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise KeyFileError(f"{place}: the key cannot be written ({error.strerror})") from error
    return former


def open_to_git(folder: Path) -> bool:
    """Say whether git would take up the private key of a folder with the next `git add`.

    The work tree may be anybody's, and its settings can name programs, which are not run.
    """
    git = shutil.which("git")
    if git is None or not Path(git).is_absolute():  # from a folder of `PATH` that is here
        return False
    question = ["check-ignore", "--quiet", "--no-index", "--", key_folders.PRIVATE]
    settings = [part for setting in GIT_SETTINGS for part in ("-c", setting)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [git, *settings, "-C", str(folder), *question], stdin=subprocess.DEVNULL,
            capture_output=True, check=False, timeout=GIT_LIMIT_S, env={**own, **GIT_ENVIRONMENT},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 1  # 0 is ignored, 128 is outside every work tree
