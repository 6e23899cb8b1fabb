"""Files that unpack to far more than they are: refused before anything is unpacked."""

from __future__ import annotations

import pickletools
import zipfile
from typing import IO, Any

LARGEST = 32 * 2**30  # bytes of one array: beyond it a header is taken for a lie
MODEST, MOST_TIMES = 256 * 2**20, 200  # bytes that anything may unpack to, and else how often
MOST_INSIDE = 10**6  # values that one tuple of a pickled file may hold, those in its parts too
MARK = -1


def check_unpacked(size: int, packed: int) -> None:
    """Refuse a file that unpacks to what no memory holds, or to far more than data do.

    Args:
        size: Bytes that it promises to unpack to.
        packed: Bytes that it takes on the disk.

    Raises:
        ValueError: If that is too much.
    """
    if size > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST // 2**30} GiB")
    if size > MODEST and size > MOST_TIMES * packed:
        raise ValueError(
            f"it unpacks to {size / 2**20:,.0f} MiB, {size // max(packed, 1):,} times its size; "
            "if the data are really so, write them without compression"
        )


def check_archive(file: IO[bytes], packed: int) -> None:
    """Refuse a ZIP archive whose members unpack to far more than it is.

    Args:
        file: The archive.
        packed: Its bytes.

    Raises:
        ValueError: If they do.
        BadZipFile: If it is no such archive.
    """
    with zipfile.ZipFile(file) as archive:
        check_unpacked(sum(item.file_size for item in archive.infolist()), packed)


def check_pickle(file: IO[bytes]) -> None:
    """Refuse a pickled value whose tuples hold each other so often that hashing never ends.

    A tuple of one tuple twice, which is a tuple of one tuple twice, and so on forty times, takes
    a hundred bytes; its hash takes years. Nothing is unpickled: the instructions are listed by
    the standard library, and only the sizes are followed.

    Args:
        file: At the first instruction; it is read to the last one.

    Raises:
        ValueError: If they do, or the instructions are damaged.
    """
    stack: list[int] = []
    memo: dict[Any, int] = {}
    try:
        for opcode, argument, _ in pickletools.genops(file):
            _follow(opcode, argument, stack, memo)
    except (IndexError, KeyError) as error:
        raise ValueError(f"damaged: {error}") from error


def _follow(opcode: Any, argument: Any, stack: list[int], memo: dict[Any, int]) -> None:
    name, before, after = opcode.name, opcode.stack_before, opcode.stack_after
    if name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
        return
    if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if argument is None else argument] = stack[-1]
        return
    if name == "MARK":
        stack.append(MARK)
        return
    inside = 0
    below = len(before)
    if pickletools.markobject in before:
        below = before.index(pickletools.markobject)
        while (size := stack.pop()) != MARK:
            inside += size
    for _ in range(below):
        inside += max(stack.pop(), 0)
    if not name.startswith("TUPLE"):
        inside = 0  # lists and tables cannot be hashed
    if inside > MOST_INSIDE:
        raise ValueError(f"a tuple holds {inside:,} values, most of them many times")
    stack.extend([1 + inside] * len(after))
