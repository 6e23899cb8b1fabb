"""Folders and processes that are gone when this process is, however it ended."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

WATCH = """
import shutil, sys
sys.stdin.buffer.read()
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


@cache
def scratch() -> Path:
    """Return a folder of this process.

    A process that is killed removes nothing. So another one waits for the end of a pipe, which
    comes when this process and those forked from it are gone, and removes the folder then.
    """
    folder = Path(tempfile.mkdtemp(prefix="forget-audit-fuzz-"))
    watch = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", WATCH, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,  # signals to all processes of a terminal do not reach it
    )  # fmt: skip
    atexit.register(_end, watch, os.getpid())
    return folder


def settle() -> None:
    """Let this program, and whatever it starts, keep all its files in `scratch()`."""
    tempfile.tempdir = os.environ["TMPDIR"] = str(scratch())
    os.environ["FORGET_AUDIT_HOME"] = str(scratch() / "home")


def _end(watch: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner and watch.stdin is not None:
        watch.stdin.close()
        watch.wait()


def die_with(parent: int) -> None:
    """End this forked process as soon as its parent has ended, even within a case that hangs.

    On systems other than Linux it ends when it next waits for a case.

    Args:
        parent: Its number, asked for before the fork.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
