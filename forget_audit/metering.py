"""What a piece of work costs: processor time, and how far resident memory grows."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STATM = Path("/proc/self/statm")
EVERY_SECONDS = 0.002
MIB = 2**20


@dataclass(kw_only=True)
class Cost:
    """Filled when the metered body ends.

    Args:
        cpu_seconds: Processor time of all threads of the process.
        peak_mib: Largest growth of resident memory; none where it cannot be read.
    """

    cpu_seconds: float = 0.0
    peak_mib: float | None = None


@contextmanager
def metered() -> Iterator[Cost]:
    """Measure what the body costs.

    Freed memory is handed back to the system first, so that growth starts from what is in use.
    A thread then samples the resident memory; it takes a few thousandths of the processor time.
    """
    cost = Cost()
    _hand_back()
    start, done = resident(), threading.Event()
    seen = [start]

    def sample() -> None:
        while not done.wait(EVERY_SECONDS):
            seen.append(resident())

    watcher = threading.Thread(target=sample, daemon=True)
    if start is not None:
        watcher.start()
    began = time.process_time()
    try:
        yield cost
    finally:
        cost.cpu_seconds = time.process_time() - began
        known = [size for size in (*seen, resident()) if size is not None]
        done.set()
        if start is not None:
            watcher.join()
            cost.peak_mib = (max(known) - start) / MIB


def resident() -> int | None:
    """Return the resident memory of this process in bytes; none where it cannot be read."""
    try:
        pages = int(STATM.read_text("ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _hand_back() -> None:
    """Give freed memory back to the system, where the C library can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return
